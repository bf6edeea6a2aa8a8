"""Writing a complete recipe for some data: the guidance's decisions, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embertune.errors import RunFolderError
from embertune.plan import plan
from embertune.recipe import load_recipe, replace
from embertune.recipe.distance import BY_DISTANCE
from embertune.recipe.explain import to_yaml
from embertune.rundir import write_text
from embertune.watch import Watcher


def write_recipe(data: str, path: Path, settings: Mapping[str, Any], watch: Watcher) -> str:
    """Decide everything for `data`, write it to `path`, and return what was written; no file is replaced."""
    if path.exists():
        raise RunFolderError(str(path), "exists already", "choose another --out, or remove it")
    asked = {"data.train": data, **_by_distance(settings), **settings}
    planned = plan(load_recipe(set=asked), None, None, watch)
    resolved = planned.resolved
    header = "Written by `embertune init`: every setting with its value, every decision with its reason."
    text = to_yaml(replace(resolved.recipe, {"data.train": data}), resolved.reasons, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return text


def _by_distance(settings: Mapping[str, Any]) -> dict[str, str]:
    """What to measure the distance for: freezing and rates by layer, where `settings` say nothing of them."""
    said = [path for path in settings if path.startswith((*BY_DISTANCE, "train.unfreeze", "train.layer_rates"))]
    return {} if said else dict.fromkeys(BY_DISTANCE, "auto")
