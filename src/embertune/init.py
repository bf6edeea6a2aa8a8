"""Writing a complete recipe for some data: the guidance's decisions, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embertune.errors import Problem, RecipeError, RunFolderError, TrainingError
from embertune.findrate import find_rate
from embertune.plan import plan
from embertune.recipe import load_recipe, replace
from embertune.recipe.distance import BY_DISTANCE
from embertune.recipe.explain import to_yaml
from embertune.recipe.optimizers import OPTIMIZERS
from embertune.recipe.scaling import reasons_of_rate, scale_of
from embertune.recipe.sections import TrainSection
from embertune.report.ratecurve import to_svg
from embertune.rundir import write_text
from embertune.training.ranging import Found
from embertune.watch import Watcher

RATE, FLOOR = "train.learning_rate", "train.floor"
#: What stands in a recipe whose rate is still to be found: the range test goes over it.
_UNTIL_FOUND = {RATE: 1e-4, FLOOR: None}


@dataclass(frozen=True)
class Begun:
    """A recipe that was written, and the rate that was found for it, with its drawing, where one was looked for."""

    text: str
    found: Found | None = None
    drawing: Path | None = None


def write_recipe(
    data: str, path: Path, settings: Mapping[str, Any], watch: Watcher, *, with_rate: bool = False
) -> Begun:
    """Decide everything for `data`, write it to `path`, and return what was written; no file is replaced.

    `with_rate` also looks for a learning rate, by a range test.
    """
    drawing = path.with_suffix(".rate.svg")
    for one in (path, drawing) if with_rate else (path,):
        if one.exists():
            raise RunFolderError(str(one), "exists already", "choose another --out, or remove it")
    if with_rate and RATE in settings:
        raise RecipeError(
            Problem(RATE, "is set, and --find-rate looks for one", "leave one of them out"), "command line"
        )
    asked = {"data.train": data, **_by_distance(settings), **settings}
    planned = plan(load_recipe(set={**asked, **(_UNTIL_FOUND if with_rate else {})}), None, None, watch)
    found = find_rate(planned, watch) if with_rate else None
    leaves: dict[str, Any] = {"data.train": data}
    reasons = dict(planned.resolved.reasons)
    if found is not None:
        leaves |= {RATE: _rate(found, planned.resolved.recipe.train), FLOOR: settings.get(FLOOR)}
        reasons[RATE] = found.reason
    recipe = replace(planned.resolved.recipe, leaves)
    header = "Written by `embertune init`: every setting with its value, every decision with its reason."
    text = to_yaml(recipe, reasons | reasons_of_rate(recipe.train), header)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    if found is not None:
        write_text(drawing, to_svg(found))
    return Begun(text, found, drawing if found else None)


def _rate(found: Found, train: TrainSection) -> float | str:
    """What stands in the recipe: the rate found, before it is scaled, or auto; TrainingError where auto knows none."""
    if found.rate is not None:
        return float(f"{found.rate / scale_of(train):.2g}")
    if not OPTIMIZERS[train.optimizer].published:
        raise TrainingError("--find-rate", found.reason, f"write {RATE} yourself")
    return "auto"


def _by_distance(settings: Mapping[str, Any]) -> dict[str, str]:
    """What to measure the distance for: freezing and rates by layer, where `settings` say nothing of them."""
    said = [path for path in settings if path.startswith((*BY_DISTANCE, "train.unfreeze", "train.layer_rates"))]
    return {} if said else dict.fromkeys(BY_DISTANCE, "auto")
