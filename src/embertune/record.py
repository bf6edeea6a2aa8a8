"""What a run writes down beside its model: manifest and audit at its start, the facts of its report at its end."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from embertune.choose import Choice
from embertune.data.audit import audit_record
from embertune.data.prepared import Note
from embertune.data.shapes import describe
from embertune.data.spec import parse
from embertune.engine.paths import path_of
from embertune.evaluate.proof import Proof
from embertune.evaluate.score import Scores
from embertune.evaluate.seen import Seen
from embertune.lessons import lessons
from embertune.manifest import hardware, manifest, versions
from embertune.plan import Plan
from embertune.recipe.explain import to_yaml
from embertune.recipe.measured import as_record
from embertune.report import Facts, Side
from embertune.report.agreement import disagreeing, saved
from embertune.report.evidence import gather
from embertune.report.sizes import size_points
from embertune.report.story import story
from embertune.rundir import AUDIT, HISTORY, MANIFEST, MODEL, Asked, RunDir, write_json
from embertune.training.fit import Fit


class Clock:
    """Seconds per stage, in the order of the stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, stage: str) -> None:
        """The stage that went on until now is called `stage`."""
        now = time.perf_counter()
        self.seconds[stage], self._last = now - self._last, now


def write_start(folder: RunDir, planned: Plan, asked: Asked) -> None:
    """Write manifest.json and audit.json; what was asked for stands in the manifest, so that it is known again."""
    data, recipe = planned.data, planned.resolved.recipe
    record = manifest(
        fingerprint=planned.fingerprint,
        data=data.fingerprints,
        model=planned.built.source,
        seed=recipe.seed,
        machine=_machine(planned),
        measured=as_record(planned.resolved.measured),
    )
    write_json(folder.file(MANIFEST), {**record, "asked": asked.as_record()})
    write_json(folder.file(AUDIT), audit_of(planned))


def audit_of(planned: Plan) -> dict[str, Any]:
    """What audit.json holds."""
    audit = audit_record(planned.data.notes, planned.findings, examples=planned.resolved.recipe.report.examples)
    return audit | ({"negatives": planned.mined} if planned.mined else {})


def _machine(planned: Plan) -> dict[str, Any]:
    """The machine, and the path on which the model runs there."""
    model = planned.built.model
    path = path_of(model)
    return {**hardware(str(model.device), torch.get_num_threads()), "forward": path.name if path else "plain"}


def facts_of_run(planned: Plan, folder: RunDir, fitted: Fit, choice: Choice, proof: Proof, clock: Clock) -> Facts:
    """Everything that report and model card are drawn from."""
    resolved, built = planned.resolved, planned.built
    history = [json.loads(line) for line in folder.file(HISTORY).read_text(encoding="utf-8").splitlines()]
    told = story(history, resolved.recipe.guard.metric)
    return Facts(
        title=planned.data.sides.train.name,
        base_model=resolved.recipe.model.name or "a model handed over from Python",
        recipe_yaml=to_yaml(resolved.recipe, resolved.reasons),
        proof=proof,
        choice=choice,
        steps=fitted.steps,
        best_step=fitted.best_step,
        stopped=fitted.stopped,
        sides=_sides(planned),
        rows=describe(planned.data.sides.train),
        notes=[*planned.data.notes, *(Note("model", text) for text in built.notes), *fitted.notes],
        findings=planned.findings,
        negatives=planned.mined,
        layers=fitted.layers,
        history=history,
        timing=dict(clock.seconds),
        environment={**versions(), **{name: str(value) for name, value in _machine(planned).items()}},
        model_path=folder.file(MODEL),
        examples=resolved.recipe.report.examples,
        metric=resolved.recipe.guard.metric,
        advice=lessons(planned, fitted, proof, told, history),
        datasets=_of_the_hub(resolved.recipe.data.train),
    )


def _of_the_hub(train: str | Sequence[str] | None) -> tuple[str, ...]:
    """The data sets among the places of training rows that are neither files nor folders."""
    places = (train,) if isinstance(train, str) else train or ()
    specs = [parse(place) for place in places]
    return tuple(dict.fromkeys(spec.place for spec in specs if not spec.is_local))


def seen_of(planned: Plan, proof: Proof, before: Sequence[Scores], after: Sequence[Scores]) -> Seen | None:
    """What was seen on test beside figures, with the model as it came and with the saved one; None without tests."""
    recipe, scene = planned.resolved.recipe, planned.scene
    seen = gather(scene, before, after, recipe.report.examples)
    if seen is None or scene.shown is None:
        return None
    told = disagreeing(proof, scene.shown, scene.similarities)
    function = saved(scene.shown, planned.built.model.similarity_fn_name)
    sizes = size_points(scene, before, after, planned.smaller.record(), recipe.seed)
    return dataclasses.replace(seen, sizes=sizes, similarities=(*told, function))


def further(facts: Facts, thresholds: Mapping[str, Any], size: Mapping[str, Any]) -> dict[str, Any]:
    """What metrics.json keeps beside scores and choice; `size` is that of the baseline and of the trained model."""
    told = story(facts.history, facts.metric).as_record()
    advice = [one.as_record() for one in facts.advice]
    said = {"similarities": facts.seen.similarities if facts.seen else (), "advice": advice}
    return {"thresholds": thresholds, "timing": facts.timing, "size": size, **told, **said}


def _sides(planned: Plan) -> list[Side]:
    """The sides under the names that their metrics begin with."""
    sides = planned.data.sides
    held = [("train", sides.train.name, sides.train)]
    held += [("dev", f"{sides.dev.name}-dev", sides.dev)] if sides.dev else []
    held += [("test", f"{name}-test", prepared) for name, prepared in sides.tests.items()]
    found = [Side(role, name, prepared.shape, len(prepared)) for role, name, prepared in held]
    of_tests = {side.name: side for side in found if side.role == "test"}
    parts = [Side("test", part.name, of_tests[part.whole].shape, len(part)) for part in planned.scene.parts]
    short = [
        dataclasses.replace(side, name=f"{side.name}-{length}", length=length)
        for side in of_tests.values()
        for length in planned.scene.lengths
    ]
    return found + parts + short
