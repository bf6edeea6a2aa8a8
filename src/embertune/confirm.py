"""The best trials on all rows with several seeds: which is the winner on dev, and what it gains on test."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from embertune.apart import Worker
from embertune.engine.published import locked
from embertune.errors import TrainingError
from embertune.evaluate.proof import prove
from embertune.evaluate.scene import Scene, arrange
from embertune.evaluate.score import Scores
from embertune.evaluate.seeds import Joint, joint
from embertune.evaluated import scored
from embertune.recipe import Recipe
from embertune.recipe.seeding import seeded
from embertune.recipe.space import with_point
from embertune.report.tried import Candidate, Tried
from embertune.rundir import METRICS, MODEL, read_json, write_json
from embertune.trials import Ground, Stop, unread
from embertune.watch import Watcher

#: How many trials are tried on all rows, besides the defaults.
BEST = 3
DEFAULTS = "defaults"
_FOLDER, _DEV = "confirm", "dev.json"


@dataclass(frozen=True)
class Wanted:
    """What is tried on all rows: a trial's settings, under the name of its folder."""

    name: str
    trial: int
    settings: Mapping[str, Any]


def wanted(tried: Sequence[Tried]) -> tuple[Wanted, ...]:
    """The defaults, then the best of the other trials that went to their end, none of them twice."""
    first = next(one for one in tried if one.origin == "defaults")
    found = [Wanted(DEFAULTS, first.number, first.settings)]
    whole = [one for one in tried if one.state == "complete" and one.value is not None]
    for one in sorted(whole, key=lambda one: (-cast(float, one.value), one.number)):
        if len(found) <= BEST and one.settings not in [other.settings for other in found]:
            found.append(Wanted(f"trial-{one.number:03}", one.number, one.settings))
    return tuple(found)


def jobs_of(candidates: Sequence[Wanted], ground: Ground, out: Path, seeds: int) -> dict[Path, Recipe]:
    """By folder, the runs on all rows; nothing of test is read in them."""
    return {
        out / _FOLDER / one.name / f"seed-{seed}": recipe
        for one in candidates
        for seed, recipe in seeded(unread(with_point(ground.space.base, one.settings)), seeds).items()
    }


def make_runs(jobs: Mapping[Path, Recipe], worker: Worker, stop: Stop, watch: Watcher) -> None:
    """Make the runs that nobody else makes, and wait for those that others do. TrainingError where one fails."""
    while not stop():
        missing = [path for path in jobs if not (path / METRICS).is_file()]
        if not missing:
            return
        for path in missing:
            path.parent.mkdir(parents=True, exist_ok=True)
            mine = locked(path.parent / f"{path.name}.claim", alone=True, wait=False)
            if mine is None or stop():
                continue
            try:
                if not (path / METRICS).is_file():
                    watch.stage("confirm", f"{path.parent.name}, {path.name}, all rows")
                    ended = worker.run(jobs[path], path, stop)
                    if ended.error:
                        remedy = "run the same command again, or begin anew elsewhere"
                        raise TrainingError(str(path), f"failed: {ended.error}", remedy)
            finally:
                mine.release()
        time.sleep(1 if [path for path in jobs if not (path / METRICS).is_file()] else 0)


def on_dev(
    candidates: Sequence[Wanted], jobs: Mapping[Path, Recipe], ground: Ground, watch: Watcher
) -> list[Candidate]:
    """The candidates with what their saved models reach on the whole of dev, by seed."""
    scene = _without_test(ground)
    found = []
    for one in candidates:
        folders = [path for path in jobs if path.parent.name == one.name]
        values = []
        for path in folders:
            kept = path.parent / f"{path.name}.{_DEV}"
            if not kept.is_file():
                watch.stage("dev", f"{one.name}, {path.name}")
                dev, _ = scored(str(path), jobs[path], scene, watch)
                assert dev is not None
                write_json(kept, {ground.metric: dev.values[f"{dev.name}_{ground.metric}"]})
            values.append(float(read_json(kept)[ground.metric]))
        found.append(Candidate(one.name, one.trial, one.settings, tuple(values)))
    return found


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate with the best mean on dev; the defaults, the first, where none is better than they are."""
    return max(candidates, key=lambda one: one.mean)


@dataclass(frozen=True)
class Gain:
    """What the winner gains on test, over the defaults (None where it is they) and over the model as it came."""

    over_defaults: Joint | None
    over_base: Joint


def on_test(winner: Candidate, jobs: Mapping[Path, Recipe], ground: Ground, watch: Watcher) -> Gain | None:
    """Read test, once: for the winner, for the defaults, and for the model as it came; None without test."""
    scene = arrange(ground.data.sides, ground.recipe.evaluate.similarity)
    if not scene.tests:
        return None

    def measured(name: str) -> list[tuple[Scores, ...]]:
        found = []
        for path in (path for path in jobs if path.parent.name == name):
            watch.stage("test", f"{name}, {path.name}")
            found.append(scored(str(path), jobs[path], scene, watch)[1])
        return found

    tuned = measured(winner.name)
    watch.stage("test", "the model as it came")
    base = scored(ground.recipe.model.name or "", ground.recipe, scene, watch)[1]
    over_base = _joined([base] * len(tuned), tuned, scene, ground)
    if winner.name == DEFAULTS:
        return Gain(None, over_base)
    return Gain(_joined(measured(DEFAULTS), tuned, scene, ground), over_base)


def _joined(
    before: Sequence[tuple[Scores, ...]], after: Sequence[tuple[Scores, ...]], scene: Scene, ground: Ground
) -> Joint:
    """The change from one model to another, seed by seed."""
    asked = ground.recipe.evaluate.primary
    primary = scene.test_headline if asked in (None, "auto") else asked
    proofs = [prove(one, other, primary, ground.recipe.seed) for one, other in zip(before, after, strict=True)]
    test = max((one for one in scene.tests if primary.startswith(f"{one.name}_")), key=lambda one: len(one.name))
    return joint(proofs, test.name, test.shape)


def _without_test(ground: Ground) -> Scene:
    scene = arrange(ground.data.sides, ground.recipe.evaluate.similarity)
    return Scene(scene.dev, (), scene.similarities)


def without_model(winner: Candidate, jobs: Mapping[Path, Recipe]) -> dict[Path, Recipe]:
    """The runs of the winner whose models were removed when another had won; they are made again, the same."""
    lost = {path: jobs[path] for path in jobs if path.parent.name == winner.name and not (path / MODEL).is_dir()}
    for path in lost:
        shutil.rmtree(path)
    return lost


def forget_losers(candidates: Sequence[Candidate], winner: Candidate, out: Path) -> None:
    """Remove the models that did not win, but for those of the defaults; what is told of them stays."""
    for one in candidates:
        if one.name not in (winner.name, DEFAULTS):
            for model in (out / _FOLDER / one.name).glob(f"seed-*/{MODEL}"):
                shutil.rmtree(model, ignore_errors=True)


def model_of(winner: Candidate, ground: Ground, out: Path) -> Path:
    """The winner's model that is best on dev."""
    seeds = range(ground.recipe.training_seed, ground.recipe.training_seed + len(winner.dev))
    best = max(zip(winner.dev, seeds, strict=True), key=lambda pair: (pair[0], -pair[1]))[1]
    return out / _FOLDER / winner.name / f"seed-{best}" / MODEL
