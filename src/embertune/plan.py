"""Everything that is settled before a run folder is touched: data, model, what is measured, every `auto` decided."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentence_transformers import SentenceTransformer

from embertune.budget import Count, Looks, Within, cost_of, counting, within_budget
from embertune.data.balance import balanced
from embertune.data.findings import Finding
from embertune.data.prepare import Data, Given, prepare
from embertune.data.prepared import Prepared, Sides
from embertune.data.shapes import describe
from embertune.domain import asks_on_distance
from embertune.engine.precision import PARITY_TEXTS
from embertune.engine.tokens import TokenStore
from embertune.enlarge import enlarged, tools_of
from embertune.errors import Problem, RecipeError
from embertune.evaluate.scene import Scene, arrange, metric_names, showing, test_metrics
from embertune.evaluate.score import Encode
from embertune.examine import examine
from embertune.mining import check_shape
from embertune.model.build import Built
from embertune.model.encode import make_encode
from embertune.model.freezing import find_frozen
from embertune.model.layers import find_layers
from embertune.model.load import leaves_of, load, on_fastest_path
from embertune.model.precision import ask_precision, notes_on, refuse_idle
from embertune.model.prompts import role_of
from embertune.model.save import fingerprint as weights
from embertune.model.tokens import open_tokens
from embertune.negatives import with_negatives
from embertune.recipe import Recipe, replace
from embertune.recipe.budget import Cost
from embertune.recipe.guidance import Resolved, decide
from embertune.recipe.measured import Measured
from embertune.recipe.reporting import problems_of_trackers
from embertune.recipe.rules import Facts
from embertune.recipe.searchable import refuse_search
from embertune.recipe.settle import Ask, settle
from embertune.recipe.smaller import MATRYOSHKA
from embertune.smaller import Smaller, lengths_asked, lengths_of, make_smaller
from embertune.tokenise import texts_of, tokenise
from embertune.training.course import Course, plan_course
from embertune.training.layering import foresee
from embertune.training.looking import LOSS
from embertune.training.memory import Memory
from embertune.training.prefix import Asked, PrefixPlan, Reader, find_prefix
from embertune.training.probes import check_loss_of
from embertune.training.renewal import check_every
from embertune.training.room import find_room, uncut
from embertune.training.session import host_arguments
from embertune.watch import LayerLine, Watcher


@dataclass(frozen=True)
class Plan:
    """A run that is ready to begin. `encode` is for test and float32, `encode_dev` in the precision of training.

    Both use the weights that `built.model` has at the time of the call.
    `fingerprint` stands for all that decides over the outcome and is not in the resolved recipe. `tokens` are those of
    the texts, for models whose texts can be stored so. `memory` is what a step needs, `free` the bytes that are there
    (None where nothing tells). `plain` are the sides before negatives, copies and balance changed train, `mined` is
    what is kept of the mining of negatives, ready for JSON, `findings` are those of the audit, once it was made.
    `smaller` is what makes the model smaller than the one that came, which it is from here on. `prefix` says which
    states of frozen layers are kept, `looks` what looking at dev takes; None for none.
    """

    data: Data
    plain: Sides
    built: Built
    scene: Scene
    encode: Encode
    encode_dev: Encode
    resolved: Resolved
    course: Course
    fingerprint: str
    tokens: TokenStore | None
    memory: Memory
    free: int | None
    smaller: Smaller
    mined: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = ()
    layers: tuple[LayerLine, ...] = ()
    prefix: PrefixPlan | None = None
    looks: Looks | None = None


def read(recipe: Recipe, given: Given | None, watch: Watcher) -> Data:
    """The rows of a run by side, before anything is added to train."""
    watch.stage("data", str(recipe.data.train or "handed over"))
    data = prepare(recipe, given)
    watch.rows(data.origin, _sizes(data), describe(data.sides.train) if recipe.report.examples else ())
    return data


def plan(
    recipe: Recipe,
    given: Given | Data | None,
    model: SentenceTransformer | None,
    watch: Watcher,
    known: Mapping[str, Measured] | None = None,
) -> Plan:
    """Prepare the data, load the model, and decide everything that is still `auto`; nothing is written but tokens.

    `given` may be what `read` gave already. `known` are decisions that were measured when this run began; they are
    taken as they are.
    """
    refuse_search(recipe)
    data = given if isinstance(given, Data) else read(recipe, given, watch)
    plain = data.sides
    scene = arrange(plain, recipe.evaluate.similarity, lengths_asked(recipe))
    facts = facts_of(data, scene)
    _foresee(recipe, data, facts)
    watch.stage("model", str(recipe.model.name if model is None else "handed over"))
    built = on_fastest_path(load(recipe.model, model), recipe)
    smaller = make_smaller(built.model, recipe)
    scene, facts = _at_lengths(scene, facts, smaller.lengths)
    data, mined = _with_more_rows(data, recipe, built, watch)
    fingerprint = inputs(data, model)
    smaller.shrink()
    built = dataclasses.replace(built, notes=(*built.notes, *smaller.notes()))
    tokens = open_tokens(built.model)
    tokenise(tokens, texts_of(data.sides.train, scene, built.role_prompts), watch)
    count = counting(built, tokens)
    facts = dataclasses.replace(
        _of_rows(facts, data.sides.train), looking=_cost(scene, data, count, recipe.guard.items)
    )
    resolved = _resolve(recipe, data, built, facts, handed_over=model is not None)
    within = within_budget(Within(data, scene, resolved), plain.train, facts, count)
    data, resolved = within.data, within.resolved
    scene = showing(within.scene, resolved.recipe.evaluate.primary)
    sample = _sample(data.sides.train)
    asks = {**_asks(built, sample), **asks_on_distance(built, plain.train, scene, smaller, facts)}
    resolved = _settled(resolved, built, asks, known or {})
    table = find_layers(built.model)
    course = plan_course(data.sides.train, resolved.recipe, find_frozen(table, resolved.recipe.train.freeze))
    layers = foresee(built.model, resolved.recipe, course)
    data = dataclasses.replace(data, sides=dataclasses.replace(data.sides, notes=data.sides.notes + course.notes))
    resolved = dataclasses.replace(resolved, notes=(*resolved.notes, *notes_on(resolved.recipe, built.model, sample)))
    _tell((*(note.text for note in data.notes), *built.notes, *resolved.notes), watch)
    encoders = _encoders(built, resolved.recipe, tokens)
    resting = course.last_frozen(resolved.recipe.train.unfreeze).names(table)
    room = find_room(built, data.sides.train, resolved, known or {}, tokens, resting)
    reader = Reader(tokens, built.role_prompts, scene.dev.texts if scene.dev else {}) if tokens else None
    resolved, prefix = find_prefix(built.model, data.sides.train, room.resolved, course, Asked(known or {}, reader))
    _tell(resolved.notes[len(room.resolved.notes) :], watch)
    settled = (*encoders, resolved, course, fingerprint, tokens, room.memory, room.free, smaller)
    return Plan(data, plain, built, scene, *settled, mined, layers=layers, prefix=prefix, looks=within.looks)


def _tell(notes: Sequence[str], watch: Watcher) -> None:
    for text in dict.fromkeys(notes):
        watch.note(text)


def _with_more_rows(data: Data, recipe: Recipe, built: Built, watch: Watcher) -> tuple[Data, Mapping[str, Any] | None]:
    """The data with mined negatives, changed copies and balance in train, and what is kept of the mining."""
    tools = tools_of(recipe, built)  # refused before anything is mined
    mined = with_negatives(data, recipe, built, watch)
    data = enlarged(mined.data, recipe, tools)
    return dataclasses.replace(data, sides=balanced(data.sides, recipe.data.balance, recipe.seed)), mined.record


def _settled(resolved: Resolved, built: Built, asks: Mapping[str, Ask], known: Mapping[str, Measured]) -> Resolved:
    """What only a measurement can decide, decided; what can have no effect is refused before it and after."""
    refuse_idle(resolved, built.model)
    resolved = settle(resolved, known, asks)
    refuse_idle(resolved, built.model)
    return resolved


def with_audit(planned: Plan, watch: Watcher) -> Plan:
    """The same plan with what the audit finds in its data."""
    found = examine(planned.plain, planned.resolved.recipe, planned.built, planned.tokens, watch)
    return dataclasses.replace(planned, findings=found)


def _encoders(built: Built, recipe: Recipe, tokens: TokenStore | None) -> tuple[Encode, Encode]:
    """For test, always float32; and for dev, in the precision of training."""
    assert recipe.train.precision != "auto"
    steering = make_encode(built.model, built.role_prompts, precision=recipe.train.precision, tokens=tokens)
    return make_encode(built.model, built.role_prompts, tokens=tokens), steering


def _sample(train: Prepared) -> list[str]:
    """A few texts of every column, from the first rows."""
    rows = train.rows[: max(1, PARITY_TEXTS // len(train.text_columns))]
    return [text for column in train.text_columns for text in rows[column]]


def _sizes(data: Data) -> dict[str, int]:
    sides = data.sides
    held = {"dev": len(sides.dev)} if sides.dev else {}
    return {"train": len(sides.train), **held, **{f"test {name}": len(rows) for name, rows in sides.tests.items()}}


def _foresee(recipe: Recipe, data: Data, facts: Facts) -> None:
    """Refuse what the rows, as they will be, rule out: before a model is loaded and negatives are mined with it."""
    if missing := list(problems_of_trackers(recipe.train.report_to)):
        raise RecipeError(missing)
    section = recipe.data.negatives
    if section is not None:
        check_shape(facts.shape)
        texts, roles = facts.texts_per_row + section.num_negatives, (*facts.roles, "negative")
        facts = dataclasses.replace(facts, shape="triplets", texts_per_row=texts, roles=roles)
    train = decide(replace(recipe, dict(data.settings)), facts).recipe.train
    if section is not None and section.every is not None and isinstance(train.epochs, int | float):
        check_every(section.every, math.ceil(train.epochs))


def _at_lengths(scene: Scene, facts: Facts, lengths: tuple[int, ...]) -> tuple[Scene, Facts]:
    """The same, with the lengths of vectors that the model turned out to have besides the whole one."""
    scene = dataclasses.replace(scene, lengths=lengths)
    return scene, dataclasses.replace(facts, test_metrics=test_metrics(scene))


def _resolve(recipe: Recipe, data: Data, built: Built, facts: Facts, handed_over: bool) -> Resolved:
    """Every `auto` decided, with all reasons; also refuses now what the trainer would refuse later."""
    leaves, why = leaves_of(recipe.model, built, facts.roles, handed_over)
    nested, told = lengths_of(recipe, built.model)
    decided = decide(replace(recipe, {**data.settings, **leaves, **nested}), facts)
    if decided.recipe.guard.metric == LOSS and data.sides.dev is not None:
        check_loss_of(data.sides.dev, data.sides.train, decided.recipe)
    host_arguments(decided.recipe, ".")
    reasons = {path: reason for path, reason in {**data.reasons, **why, **told, **decided.reasons}.items() if reason}
    return Resolved(decided.recipe, reasons, decided.notes)


def _asks(built: Built, sample: Sequence[str]) -> dict[str, Ask]:
    """The settings that only a measurement can decide, in the order in which they are decided."""
    return {"train.precision": ask_precision(built.model, sample)}


def inputs(data: Data, model: SentenceTransformer | None, loss: object = None) -> str:
    """One sha256 of the rows, of the weights of a model that is handed over, and of the name of such a loss."""
    found = data.fingerprint
    if model is not None:
        found = hashlib.sha256(f"{found} {weights(model)}".encode()).hexdigest()
    return found if loss is None else _with_loss(found, loss)


def _with_loss(fingerprint: str, loss: object) -> str:
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    return hashlib.sha256(f"{fingerprint} {name}".encode()).hexdigest()


def with_own_loss(planned: Plan, loss: object | None) -> Plan:
    """The same plan, with a loss handed over from Python, if any, instead of the recipe's, which must not name one."""
    if loss is None:
        return planned
    if "train.loss" not in planned.resolved.reasons:
        raise RecipeError(Problem("train.loss", "is named, and a loss is handed over too", "leave one of them out"))
    if planned.resolved.recipe.train.known_positives == "mask":
        found = "found mask, and a loss is handed over, which embertune cannot mask"
        raise RecipeError(
            Problem("train.known_positives", found, "write apart or ignore, which decide over its batches")
        )
    if planned.resolved.recipe.train.matryoshka is not None:
        found = "is asked for, and a loss is handed over, which may not bear it"
        raise RecipeError(
            Problem(MATRYOSHKA, found, "leave it out, and put sentence-transformers' MatryoshkaLoss around")
        )
    resolved = uncut(planned.resolved, planned.memory, planned.free)
    why = f"a loss handed over from Python takes the place of {resolved.recipe.train.loss}, with its batches"
    resolved = dataclasses.replace(resolved, reasons={**resolved.reasons, "train.loss": why})
    return dataclasses.replace(planned, resolved=resolved, fingerprint=_with_loss(planned.fingerprint, loss))


def facts_of(data: Data, scene: Scene) -> Facts:
    """What guidance decides from."""
    dev = scene.dev
    dev_metrics = metric_names(dev, scene.similarities) if dev else ()
    facts = Facts(
        shape="",
        origin=data.origin,
        rows=0,
        roles=(),
        looking=_cost(scene, data),
        dev_metric=scene.dev_headline,
        dev_metrics=tuple(name.removeprefix(f"{dev.name}_") for name in dev_metrics) if dev else (),
        test_metric=scene.test_headline,
        test_metrics=test_metrics(scene),
    )
    return _of_rows(facts, data.sides.train)


def _cost(scene: Scene, data: Data, count: Count | None = None, items: int | None = None) -> Cost | None:
    """What a look at dev, or at so many of its items, costs; None without dev."""
    train, dev = data.sides.train, data.sides.dev
    if dev is None or scene.dev is None:
        return None
    sides = 1 + ((dev.shape, dev.text_columns) == (train.shape, train.text_columns))
    return cost_of(scene.dev, train, sides, count).at(items)


def _of_rows(facts: Facts, train: Prepared) -> Facts:
    """The same facts, with those of the rows as they stand now."""
    return dataclasses.replace(
        facts,
        shape=train.shape,
        rows=len(train),
        roles=tuple(dict.fromkeys(role_of(column) for column in train.text_columns)),
        classes=len(train.classes),
        texts_per_row=2 if train.shape == "classes" else len(train.text_columns),
    )
