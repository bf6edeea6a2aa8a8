"""Everything that is settled before a run folder is touched: data, model, what is measured, every `auto` decided."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from embertune import caches
from embertune.data.prepare import Data, Given, prepare
from embertune.data.prepared import Prepared
from embertune.data.shapes import describe
from embertune.data.store import batches
from embertune.engine.pack import choose_path
from embertune.engine.precision import PARITY_TEXTS
from embertune.engine.tokens import TokenStore
from embertune.errors import Problem, RecipeError
from embertune.evaluate.scene import Scene, arrange, metric_names
from embertune.evaluate.score import Encode
from embertune.manifest import hardware, machine_of
from embertune.model.build import POOLINGS, Built, adopt, build, pooling_of
from embertune.model.encode import count_tokens, make_encode
from embertune.model.precision import ask_precision, device_of, notes_on, refuse_idle
from embertune.model.prompts import prompt_of
from embertune.model.save import fingerprint as weights
from embertune.model.tokens import open_tokens
from embertune.recipe import Recipe, replace
from embertune.recipe.guidance import Facts, Resolved, decide
from embertune.recipe.measured import Measured
from embertune.recipe.sections import ModelSection
from embertune.recipe.settle import Ask, settle
from embertune.training.fit import Course, host_arguments, plan_course
from embertune.training.free import free_bytes
from embertune.training.memory import Memory, no_trial, refuse
from embertune.training.memory import decide as decide_chunk
from embertune.training.weigh import Lengths, make_trial, weigh
from embertune.watch import Watcher

#: Arguments of the trainer under which models keep their padding until packing has been tested with them.
_UNTESTED = ("fsdp", "deepspeed", "parallelism_config", "torch_compile")

#: Arguments of the trainer that compute activations anew instead of keeping them.
_UNCOUNTED = ("gradient_checkpointing", "activation_checkpointing")

#: Seconds after which somebody who waits for tokens is told how far they are.
TELL_EVERY = 10.0


@dataclass(frozen=True)
class Plan:
    """A run that is ready to begin. `encode` is for test and float32, `encode_dev` in the precision of training.

    Both use the weights that `built.model` has at the time of the call.
    `fingerprint` stands for all that decides over the outcome and is not in the resolved recipe. `tokens` are those of
    the texts, for models whose texts can be stored so. `memory` is what a step needs, `free` the bytes that are there
    (None where nothing tells).
    """

    data: Data
    built: Built
    scene: Scene
    encode: Encode
    encode_dev: Encode
    resolved: Resolved
    course: Course
    fingerprint: str
    tokens: TokenStore | None
    memory: Memory | None = None
    free: int | None = None


def plan(
    recipe: Recipe,
    given: Given | None,
    model: SentenceTransformer | None,
    watch: Watcher,
    known: Mapping[str, Measured] | None = None,
) -> Plan:
    """Prepare the data, load the model, and decide everything that is still `auto`; nothing is written but tokens.

    `known` are decisions that were measured when this run began; they are taken as they are.
    """
    watch.stage("data", str(recipe.data.train or "handed over"))
    data = prepare(recipe, given)
    watch.rows(data.origin, _sizes(data), describe(data.sides.train) if recipe.report.examples else ())
    watch.stage("model", str(recipe.model.name if model is None else "handed over"))
    built = _load(recipe.model, model)
    built = _on_fastest_path(built, recipe)
    scene = arrange(data.sides, recipe.evaluate.similarity)
    resolved = _resolve(recipe, data, built, scene, handed_over=model is not None)
    sample = _sample(data.sides.train)
    refuse_idle(resolved, built.model)
    resolved = settle(resolved, known or {}, _asks(built, sample))
    refuse_idle(resolved, built.model)
    course = plan_course(data.sides.train, resolved.recipe)
    data = dataclasses.replace(data, sides=dataclasses.replace(data.sides, notes=data.sides.notes + course.notes))
    resolved = dataclasses.replace(resolved, notes=(*resolved.notes, *notes_on(resolved.recipe, built.model, sample)))
    for text in (*(note.text for note in data.notes), *built.notes, *resolved.notes):
        watch.note(text)
    fingerprint = _fingerprint(data, None if model is None else built)
    tokens = open_tokens(built.model)
    encoders = _encoders(built, resolved.recipe, tokens)
    planned = Plan(data, built, scene, *encoders, resolved, course, fingerprint, tokens)
    tokenise(planned, watch)
    return _in_memory(planned, known or {})


def _in_memory(planned: Plan, known: Mapping[str, Measured]) -> Plan:
    """The same plan, `train.chunk` decided by what the longest batch needs; `TrainingError` where nothing fits."""
    built, recipe, train = planned.built, planned.resolved.recipe, planned.data.sides.train
    device = device_of(recipe, built.model)
    prompts = column_prompts(built, train.text_columns)
    memory = weigh(built.model, train, recipe, prompts, _lengths(planned))
    free = None if any(recipe.train.extra.get(name) for name in _UNCOUNTED) else free_bytes(device)
    trial = make_trial(built.model, train, recipe, prompts, memory) if device.type == "cuda" else no_trial
    machine = machine_of(hardware(str(device), torch.get_num_threads()))

    def ask(_: Recipe) -> Measured:
        return dataclasses.replace(decide_chunk(memory, free, trial), machine=machine)

    resolved = settle(planned.resolved, known, {"train.chunk": ask})
    chunk = resolved.recipe.train.chunk
    assert chunk != "auto"
    refuse(memory, chunk, free, trial if recipe.train.chunk != "auto" else no_trial)
    return dataclasses.replace(planned, resolved=resolved, memory=memory, free=free)


def _lengths(planned: Plan) -> Lengths:
    """How many tokens the model reads of texts."""
    if planned.tokens is not None:
        return planned.tokens.lengths
    model = planned.built.model
    limit = model.max_seq_length or np.iinfo(np.int64).max
    return lambda texts, prompt: np.minimum(count_tokens(model, texts, prompt), limit)


def _on_fastest_path(built: Built, recipe: Recipe) -> Built:
    """The same model, packed in place where that gives the same results; notes tell where it does not."""
    if untested := [name for name in _UNTESTED if recipe.train.extra.get(name)]:
        notes = [f"runs with padding: it has not been tested without under train.extra.{untested[0]}"]
    else:
        notes = choose_path(built.model)
    return dataclasses.replace(built, notes=(*built.notes, *notes))


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


def _resolve(recipe: Recipe, data: Data, built: Built, scene: Scene, handed_over: bool) -> Resolved:
    """Every `auto` decided, with all reasons; also refuses now what the trainer would refuse later."""
    facts = facts_of(data, scene)
    leaves, why = _model_leaves(recipe.model, built, facts.roles, handed_over)
    decided = decide(replace(recipe, {**data.settings, **leaves}), facts)
    host_arguments(decided.recipe, ".")
    reasons = {path: reason for path, reason in {**data.reasons, **why, **decided.reasons}.items() if reason}
    return Resolved(decided.recipe, reasons, decided.notes)


def _asks(built: Built, sample: Sequence[str]) -> dict[str, Ask]:
    """The settings that only a measurement can decide, in the order in which they are decided."""
    return {"train.precision": ask_precision(built.model, sample)}


def _fingerprint(data: Data, handed_over: Built | None) -> str:
    """Of the data, and of the weights of a model that is handed over."""
    if handed_over is None:
        return data.fingerprint
    return hashlib.sha256(f"{data.fingerprint} {weights(handed_over.model)}".encode()).hexdigest()


def with_own_loss(planned: Plan, loss: object) -> Plan:
    """The same plan, with a loss handed over from Python instead of the recipe's, which must not name one."""
    if "train.loss" not in planned.resolved.reasons:
        raise RecipeError(Problem("train.loss", "is named, and a loss is handed over too", "leave one of them out"))
    planned = _uncut(planned)
    resolved = planned.resolved
    why = f"a loss handed over from Python takes the place of {resolved.recipe.train.loss}, with its batches"
    resolved = dataclasses.replace(resolved, reasons={**resolved.reasons, "train.loss": why})
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    fingerprint = hashlib.sha256(f"{planned.fingerprint} {name}".encode()).hexdigest()
    return dataclasses.replace(planned, resolved=resolved, fingerprint=fingerprint)


def _uncut(planned: Plan) -> Plan:
    """The same plan without chunks, for a loss that may ask the model for anything; errors where it must have them."""
    resolved, chunk = planned.resolved, planned.resolved.recipe.train.chunk
    if "train.chunk" not in resolved.reasons and chunk is not None:
        found = f"found {chunk}, and a loss is handed over, which may not bear it"
        raise RecipeError(Problem("train.chunk", found, "write train.chunk: null"))
    if planned.memory is not None:
        refuse(dataclasses.replace(planned.memory, chunks=False), None, planned.free)
    if chunk is None:
        return planned
    why = "a loss handed over from Python takes the batch as it is"
    measured = {path: found for path, found in resolved.measured.items() if path != "train.chunk"}
    recipe, reasons = replace(resolved.recipe, {"train.chunk": None}), {**resolved.reasons, "train.chunk": why}
    resolved = dataclasses.replace(resolved, recipe=recipe, reasons=reasons, measured=measured)
    return dataclasses.replace(planned, resolved=resolved)


def _load(section: ModelSection, model: SentenceTransformer | None) -> Built:
    if model is None:
        if section.name is None:
            raise RecipeError(Problem("model.name", "found null", "write a local folder or a Hub id"))
        return build(section.name, pooling=section.pooling, prompts=section.prompts, max_length=section.max_length)
    for name in ("pooling", "max_length"):
        if getattr(section, name) != "auto":
            found = f"found {getattr(section, name)!r} for a model that is handed over"
            raise RecipeError(Problem(f"model.{name}", found, "set it on the model, and leave it out here"))
    return adopt(model, section.prompts)


def _model_leaves(
    section: ModelSection, built: Built, roles: tuple[str, ...], handed_over: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """The model section with every `auto` replaced by what the model has, and why."""
    leaves: dict[str, Any] = {"model.name": None} if handed_over else {}
    if handed_over:
        return leaves, {"model.name": "handed over from Python"}
    why = {}
    pooling, length = pooling_of(built.model), built.model.max_seq_length
    if section.pooling == "auto" and pooling in POOLINGS:
        leaves["model.pooling"], why["model.pooling"] = pooling, "the model's own"
    if section.max_length == "auto" and length is not None:
        leaves["model.max_length"], why["model.max_length"] = length, "the model's own"
    if section.prompts == "auto":
        own = {role: prompt for role, prompt in built.role_prompts.items() if role in roles}
        leaves["model.prompts"], why["model.prompts"] = own or "none", "the model's own"
    return leaves, why


def facts_of(data: Data, scene: Scene) -> Facts:
    """What guidance decides from."""
    train, dev = data.sides.train, scene.dev
    dev_metrics = metric_names(dev, scene.similarities) if dev else ()
    tests = [metric_names(evalset, scene.similarities) for evalset in scene.tests]
    return Facts(
        shape=train.shape,
        origin=data.origin,
        rows=len(train),
        roles=tuple(dict.fromkeys(_role(column) for column in train.text_columns)),
        classes=len(train.classes),
        texts_per_row=2 if train.shape == "classes" else len(train.text_columns),
        dev_texts=dev.texts_to_encode if dev else 0,
        dev_metric=scene.dev_headline,
        dev_metrics=tuple(name.removeprefix(f"{dev.name}_") for name in dev_metrics) if dev else (),
        test_metric=scene.test_headline,
        test_metrics=tuple(name for names in tests for name in names),
    )


def _role(column: str) -> str:
    return "negative" if column.startswith("negative_") else column


def column_prompts(built: Built, columns: tuple[str, ...]) -> Mapping[str, str]:
    """Column to prompt, for columns that have one."""
    found = {column: built.role_prompts.get(_role(column), "") for column in columns}
    return {column: prompt for column, prompt in found.items() if prompt}


def tokenise(planned: Plan, watch: Watcher) -> None:
    """Tokenise every text of the run that the cache does not have yet, so that no step has to."""
    if planned.tokens is None:
        return
    seen, told = 0, time.perf_counter()

    def telling(texts: Iterable[str]) -> Iterator[str]:
        nonlocal seen, told
        for text in texts:
            yield text
            seen += 1
            if seen % 1000 == 0 and time.perf_counter() - told > TELL_EVERY:
                told = time.perf_counter()
                watch.note(f"{seen:,} texts are tokenised, once for all epochs and later runs")

    for prompt, texts in _texts(planned):
        planned.tokens.add(telling(texts), prompt)
    if planned.tokens.trouble:
        watch.note(f"tokens stay in memory, the cache cannot be written: {planned.tokens.trouble}")
    caches.trim()


def _texts(planned: Plan) -> Iterator[tuple[str, Iterable[str]]]:
    """All that training and measuring will read: prompts, and the texts that go with each."""
    train, built, scene = planned.data.sides.train, planned.built, planned.scene
    prompts = column_prompts(built, train.text_columns)
    for column in train.text_columns:
        pieces = batches(train.rows, column)
        yield prompts.get(column, ""), itertools.chain.from_iterable(piece.to_pylist() for piece in pieces)
    for evalset in (*((scene.dev,) if scene.dev else ()), *scene.tests):
        for role, texts in evalset.texts.items():
            yield prompt_of(built.role_prompts, role), texts
