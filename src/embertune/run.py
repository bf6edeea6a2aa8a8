"""The main flow: a recipe in; a folder with a model, a verdict and a report out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.candidates import Start, settle_on
from embertune.choose import Choice
from embertune.data.prepare import Given
from embertune.engine.pack import unpack
from embertune.enlarge import copying
from embertune.evaluate.between import Between, between, said
from embertune.evaluate.proof import Proof, prove
from embertune.evaluate.retention import retained
from embertune.evaluate.scene import measure, measure_dev, measure_retention, short, thresholds_at_lengths
from embertune.evaluate.score import Scores
from embertune.model.prompts import column_prompts
from embertune.model.save import save
from embertune.model.states import copied
from embertune.negatives import mining_anew
from embertune.plan import Plan, inputs, plan, read, with_audit, with_own_loss
from embertune.recipe import Recipe
from embertune.record import Clock, facts_of_run, further, seen_of, write_start
from embertune.report import to_card, write
from embertune.report.facts import Facts
from embertune.report.kept import keep_facts
from embertune.result import Result, keep, read_result
from embertune.rundir import (
    CHECKPOINTS,
    HISTORY,
    MODEL,
    Asked,
    RunDir,
    claim,
    forget_checkpoints,
    is_finished,
    measured_in,
    told_plainly,
)
from embertune.training.caching import prefix_cache
from embertune.training.checkpoint import checkpoints_of
from embertune.training.fit import Fit, fit
from embertune.training.looking import LOSS, Dev
from embertune.training.reporting import Tell, reporting
from embertune.training.session import Surroundings
from embertune.watch import Silent, Watcher

LossMaker = Callable[[SentenceTransformer], nn.Module]


def run(  # noqa: PLR0913 the one public entry: what a recipe cannot hold is handed over here, by name
    recipe: Recipe,
    out: str | Path,
    *,
    train: Any = None,
    dev: Any = None,
    test: Any = None,
    model: SentenceTransformer | None = None,
    loss: LossMaker | None = None,
    watch: Watcher | None = None,
) -> Result:
    """Train by `recipe`, measure before and after on the same test rows, and leave everything in the folder `out`.

    The same call again goes on with an unfinished run from its last checkpoint, which ends in the same place, bit for
    bit, and returns the result of a finished one. While steps are taken, the first Ctrl-C or SIGTERM ends the run after
    the step, with a checkpoint, as `Interrupted`. `train`, `dev` and `test` are rows handed over (a Dataset, a
    DataFrame, a list of dicts), `model` a loaded model, which is trained in place, `loss` a function that makes a loss
    of one's own for it. `watch` is told what happens. Raises `EmbertuneError` for all that a user can put right.
    """
    watch, clock = watch or Silent(), Clock()
    data = read(recipe, Given(train, dev, test), watch)
    asked = Asked(recipe, inputs(data, model, loss))
    if is_finished(Path(out), asked):
        return finished(Path(out), watch)
    planned = with_own_loss(plan(recipe, data, model, watch, measured_in(Path(out))), loss)
    folder = claim(Path(out), planned.resolved, planned.fingerprint)
    if folder.finished:
        return finished(folder.path, watch)
    trackers = reporting(planned.resolved.recipe, folder.path, planned.built.model, watch.note)
    with told_plainly(folder.path), trackers as tell:
        planned = with_audit(planned, watch)
        write_start(folder, planned, asked)
        clock.mark("prepare")

        watch.stage("baseline", ", ".join(evalset.name for evalset in planned.scene.tests) or "nothing of test")
        base_dev, baseline, before = as_it_came(planned)
        start = start_of(planned, base_dev, before)
        clock.mark("baseline")

        watch.stage("train", f"{len(planned.data.sides.train):,} rows, {planned.course.steps:,} steps")
        fitted = teach(planned, folder, base_dev, loss, watch, tell)
        clock.mark("train")

        choice, after = settle_on(planned, fitted, start)
        clock.mark("choose")

        watch.stage("measure", f"{choice.chosen}: {choice.reason}")
        cuts = cuts_for_test(planned, look(planned)) if thresholds(base_dev) else {}
        tuned = on_test(planned, choice, baseline, cuts)
        proof = with_retention(proved(planned, baseline, tuned), before, after, recipe.seed)
        seen = seen_of(planned, proof, baseline, tuned)
        clock.mark("measure")

        watch.stage("save", str(folder.path))
        facts = dataclasses.replace(facts_of_run(planned, folder, fitted, choice, proof, clock), seen=seen)
        put_down(facts, planned.built.model, folder)
        result = keep(folder.path, proof, choice, further(facts, cuts, planned.smaller.record()))
        forget_checkpoints(folder.path)
        return result


def finished(out: Path, watch: Watcher) -> Result:
    """What the finished run in `out` came to."""
    watch.stage("finished", f"{out} holds this run already")
    forget_checkpoints(out)
    return read_result(out)


def as_it_came(planned: Plan) -> tuple[Scores | None, tuple[Scores, ...], tuple[Scores, ...]]:
    """What the model as it came, whole, reaches on dev, on test, and on what it should still be able to do."""
    with planned.smaller.whole():
        dev = look(planned)
        tests = measure(planned.encode, planned.scene, cuts_for_test(planned, dev))
        return dev, tests, measure_retention(planned.encode, planned.scene)


def start_of(planned: Plan, dev: Scores | None, retention: tuple[Scores, ...]) -> Start:
    """The model before training, to choose against."""
    recipe = planned.resolved.recipe
    metric = recipe.guard.metric

    def score() -> Dev:
        return told_by(look(planned), metric)

    weights = None if recipe.train.keep_general is None else copied(planned.built.model)
    return Start(weights, told_by(dev, metric), retention, score, error_of(dev, metric))


def on_test(planned: Plan, choice: Choice, baseline: tuple[Scores, ...], cuts: Mapping[str, Any]) -> tuple[Scores, ...]:
    """The chosen state on test: what was measured already, where that is the model as it came."""
    return baseline if choice.chosen == "base" else measure(planned.encode, planned.scene, cuts)


def proved(planned: Plan, baseline: tuple[Scores, ...], tuned: tuple[Scores, ...]) -> Proof:
    """The chosen state on test against the model as it came."""
    recipe = planned.resolved.recipe
    return prove(baseline, tuned, recipe.evaluate.primary, recipe.seed)


def with_retention(proof: Proof, before: tuple[Scores, ...], after: tuple[Scores, ...], seed: int) -> Proof:
    """The proof with what the chosen state can still do of what the model could `before`."""
    return dataclasses.replace(proof, retention=retained(before, after, seed))


def put_down(facts: Facts, model: SentenceTransformer, folder: RunDir) -> None:
    """Write the model and the reports; the model is unpacked, in place."""
    save(model, folder.file(MODEL), card=to_card(facts))
    keep_facts(facts, folder.path)
    write(facts, folder.path)
    unpack(model)


def teach(
    planned: Plan,
    folder: RunDir,
    base_dev: Scores | None,
    loss: LossMaker | None,
    watch: Watcher,
    tell: Tell | None = None,
) -> Fit:
    """Train the model in place, looking at dev on the way; `tell` hears every line of the history."""

    def score() -> Dev:
        return told_by(look(planned), metric)

    metric = planned.resolved.recipe.guard.metric
    side = planned.data.sides.train
    planned.smaller.begin(side, planned.encode, planned.resolved.recipe.seed)
    start = look(planned) if planned.smaller and base_dev else base_dev
    cache = prefix_cache(planned.prefix, planned.built.model, planned.resolved.recipe, watch)
    around = Surroundings(
        score=score if start else None,
        history=folder.file(HISTORY),
        watch=watch,
        prompts=column_prompts(planned.built.role_prompts, side.text_columns),
        base=told_by(start, metric),
        loss=loss,
        tokens=planned.tokens,
        encode=planned.smaller.as_whole(planned.encode),  # for a guide: the model as it came
        renew=mining_anew(planned.resolved.recipe, planned.encode, watch),
        prefix=cache,
        checkpoints=checkpoints_of(folder.file(CHECKPOINTS), planned.resolved.recipe.train, planned.course.per_epoch),
        augment=copying(planned.data.sides, planned.resolved.recipe.training_seed),
        dev=planned.data.sides.dev,
        error=error_of(start, metric),
        tell=tell,
    )
    fitted = fit(planned.built.model, side, planned.resolved.recipe, around, planned.course)
    for note in fitted.notes:
        watch.note(note.text)
    return dataclasses.replace(fitted, notes=(*fitted.notes, *cache.notes)) if cache else fitted


def look(planned: Plan) -> Scores | None:
    """The model as it stands on dev, in the precision of training; None without dev."""
    metric = planned.resolved.recipe.guard.metric
    if metric == LOSS:
        metric = planned.scene.dev_headline  # measured all the same; the loss is not the business of evaluation
    return measure_dev(planned.encode_dev, planned.scene, metric) if metric else None


def told_by(dev: Scores | None, metric: str | None) -> Dev:
    """What steers training: dev metrics by their short names, and what `metric` is made of."""
    if dev is None or metric is None:
        return Dev({})
    return Dev(short(dev.name, dev), said(dev, f"{dev.name}_{metric}") if metric != LOSS else None)


def error_of(dev: Scores | None, metric: str | None) -> Between | None:
    """How sure a change of `metric` between two looks at dev is; None where dev does not measure it."""
    return between(dev, f"{dev.name}_{metric}") if dev and metric != LOSS else None


def cuts_for_test(planned: Plan, dev: Scores | None) -> Mapping[str, Any]:
    """The thresholds of labelled pairs, from float32 vectors, as test has them; `dev` is a look just taken."""
    resolved = planned.resolved.recipe
    if not (found := thresholds(dev)):
        return {}
    if resolved.train.precision != "float32":
        assert resolved.guard.metric is not None
        found = thresholds(measure_dev(planned.encode, planned.scene, resolved.guard.metric))
    return {**found, **thresholds_at_lengths(planned.encode, planned.scene)}


def thresholds(dev: Scores | None) -> Mapping[str, Any]:
    """What dev fitted for labelled pairs; empty where it fitted nothing."""
    return dev.thresholds if dev else {}
