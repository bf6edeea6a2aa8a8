"""The trials of a search: what is varied of a recipe, and short ordinary runs of it, judged on dev as they go."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embertune.apart import Worker
from embertune.data.prepare import Data
from embertune.errors import Problem, RecipeError, TrainingError
from embertune.evaluate.scene import arrange
from embertune.model.layers import find_layers
from embertune.plan import facts_of, plan
from embertune.recipe import Recipe
from embertune.recipe import replace as vary
from embertune.recipe.budget import ENOUGH
from embertune.recipe.check import check
from embertune.recipe.guidance import decide
from embertune.recipe.load import get
from embertune.recipe.measured import Measured
from embertune.recipe.searching import rows_of_trial
from embertune.recipe.space import named, point_of, space_of, widened, with_point
from embertune.report.story import story
from embertune.report.tried import Origin, Tried
from embertune.rundir import CHECKPOINTS, HISTORY, MODEL
from embertune.study import Point, Space, Study, Trial
from embertune.training.looking import LOSS
from embertune.watch import Watcher

#: Looks at dev in a trial, at equal distances, the last at its end.
LOOKS = 4
#: What the guidance decides from the number of rows: trials have what is right for all rows, not for theirs.
_BY_ROWS = ("train.batch_size", "train.epochs", "train.learning_rate")
#: What is measured for each run by itself, since it hangs on batches and frozen layers.
_BY_RUN = ("train.chunk", "train.prefix_cache")
#: Failed trials in a row after which a search ends: what they say is not chance.
FAILURES = 5
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Ground:
    """What all trials share: the recipe as it was written and its rows, what is varied of it, and how it is judged.

    `metric` is the dev metric (short name), of which more is better. `rows` are those a trial trains on, None for all
    `of`; `why` says why. `measured` are the decisions that were measured, which hold for all.
    """

    recipe: Recipe
    data: Data
    space: Space
    metric: str
    rows: int | None
    of: int
    why: str
    measured: Mapping[str, Measured]


def ground_of(recipe: Recipe, data: Data, known: Mapping[str, Measured], watch: Watcher) -> Ground:
    """Plan a run on all rows, and find what may be varied of it.

    The first trials are the recipe as it is written and, where they differ, the defaults of what is varied.
    Raises RecipeError for a space that cannot be, and where there is no dev to compare trials on.
    """
    plain = vary(recipe, {"search": None})
    if data.sides.dev is None:
        raise RecipeError(Problem("data.dev", "there is none, and trials are compared on it", "write auto, or a path"))
    planned = plan(plain, data, None, watch, known)
    resolved = planned.resolved.recipe
    metric = resolved.guard.metric
    if metric is None or metric == LOSS:
        found = f"found {metric}, and losses of different settings cannot be compared"
        raise RecipeError(Problem("guard.metric", found, "write auto, or a metric such as cosine_accuracy"))
    facts = replace(
        facts_of(data, arrange(data.sides, recipe.evaluate.similarity)),
        blocks=len(find_layers(planned.built.model).blocks),
    )
    measured = planned.resolved.measured
    fixed = {path: get(resolved, path) for path in _BY_ROWS if get(plain, path) == "auto"}
    fixed |= {path: one.value for path, one in measured.items() if path not in _BY_RUN}
    base = vary(named(recipe, resolved), {**fixed, "guard.metric": metric})
    dimensions = space_of(recipe, resolved, facts)
    default = _without(vary(plain, dict(data.settings)), [one.setting for one in dimensions])
    if plain.model.dropout == "auto":
        default = vary(default, {"model.dropout": resolved.model.dropout})  # the model's own
    points = [point_of(dimensions, one) for one in (resolved, decide(default, facts).recipe)]
    dimensions = widened(dimensions, points)
    own, defaults = (with_point(base, point) for point in points)
    first: tuple[tuple[Origin, Point], ...] = (("defaults", points[1]),)
    if own != defaults:
        first = (("recipe", points[0]), *first)
    rows, why = rows_of_trial(recipe.search, len(data.sides.train))
    space = Space(base, dimensions, first)
    return Ground(plain, data, space, metric, rows, len(data.sides.train), why, measured)


def _without(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe as if nothing had been written of these settings, nor of the options of what they name."""
    raw = recipe.model_dump(exclude_unset=True)
    for path in (name for setting in settings for name in (setting, f"{setting}_options")):
        place: Any = raw
        *sections, last = path.split(".")
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)
    return check(raw)


def trial_recipe(ground: Ground, settings: Mapping[str, Any]) -> Recipe:
    """An ordinary recipe for a trial: a part of the rows, a few looks at always the same dev items, nothing of test."""
    recipe = with_point(ground.space.base, settings)
    leaves = {
        "data.subset": ground.rows,
        "guard.eval_every": _quarter(recipe),
        "guard.budget": None,
        "guard.items": ENOUGH,
        "train.keep_general": None,
        "evaluate.retention": None,
        "report.examples": False,
    }
    return vary(unread(recipe), leaves)


def unread(recipe: Recipe) -> Recipe:
    """The recipe of a run that reads nothing of test, and that no tracker follows."""
    nothing = {"evaluate.primary": "auto", "train.report_to": ()}
    return vary(recipe, nothing if recipe.data.test == "none" else {**nothing, "evaluate.test": False})


def _quarter(recipe: Recipe) -> str:
    """A part of training, as `guard.eval_every` spells it."""
    train = recipe.train
    if train.max_steps is not None:
        return f"{math.ceil(train.max_steps / LOOKS)} steps"
    assert isinstance(train.epochs, int | float)
    return f"{train.epochs / LOOKS:g} epoch"


def make_trial(ground: Ground, study: Study, trial: Trial, worker: Worker, stop: Stop) -> None:
    """Run a trial in its folder, watch it on dev, end it early where others did better, and write down what it was.

    Left undone where `stop` says so. What it leaves behind is a run's folder without the model.
    """
    recipe, out = trial_recipe(ground, trial.settings), folder_of(study, trial.number)
    began = time.monotonic()
    size = 0

    def ended_early() -> bool:
        nonlocal size
        history = out / HISTORY
        now = history.stat().st_size if history.is_file() else 0
        if now == size:
            return stop()
        size = now
        return stop() or study.falls_behind(trial, looks_of(out, recipe))

    ended = worker.run(recipe, out, ended_early)
    if not ended.done and not ended.error and stop():
        return
    looks, seconds = looks_of(out, recipe), time.monotonic() - began
    if ended.error:
        study.end(trial, "failed", None, seconds, ended.error)
    elif study.falls_behind(trial, looks):
        study.end(trial, "pruned", None, seconds)
    elif not looks or not math.isfinite(looks[-1][1]):
        study.end(trial, "failed", None, seconds, f"{ground.metric} on dev was never a number")
    else:
        study.end(trial, "complete", looks[-1][1], seconds)
    for name in (MODEL, CHECKPOINTS):
        shutil.rmtree(out / name, ignore_errors=True)


def folder_of(study: Study, number: int) -> Path:
    """Where a trial is run."""
    return study.folder / "trials" / f"trial-{number:03}"


def looks_of(out: Path, recipe: Recipe) -> list[tuple[float, float]]:
    """What the history of a run says so far: (share of training done, best value of dev up to there)."""
    if not (out / HISTORY).is_file():
        return []
    whole = (out / HISTORY).read_text(encoding="utf-8").split("\n")[:-1]  # what follows is being written
    metric, train = recipe.guard.metric, recipe.train
    found: list[tuple[float, float]] = []
    for look in story([json.loads(line) for line in whole], metric).looks:
        if look.step == 0:
            continue
        value = look.value if look.value is not None and math.isfinite(look.value) else -math.inf
        share = look.step / train.max_steps if train.max_steps else look.epoch / float(train.epochs or 1)
        found.append((min(1.0, share), max([value, *(best for _, best in found[-1:])])))
    return found


def base_of(study: Study, ground: Ground) -> float:
    """What the model as it came reaches on the dev items of trials, NaN before any was measured."""
    history = folder_of(study, 0) / HISTORY
    if not history.is_file():
        return math.nan
    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()[:1]]
    values = (look.value for look in story(lines, ground.metric).looks if look.step == 0)
    return next((value for value in values if value is not None), math.nan)


def refuse_failures(tried: tuple[Tried, ...]) -> None:
    """TrainingError where the first trial failed, or so many after each other that it is no chance."""
    last = [one for one in tried if one.state != "failed"][-1:]
    failed = [one for one in tried if one.state == "failed" and (not last or one.number > last[0].number)]
    if failed and (failed[0].number == 0 or len(failed) >= FAILURES):
        which = "the first trial" if failed[0].number == 0 else f"the last {len(failed)} trials"
        raise TrainingError(
            "search", f"{which} failed: {failed[-1].error}", "mend the recipe, and choose another --out"
        )
