"""Writing a complete recipe for some data: the guidance's decisions, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embertune.errors import RunFolderError
from embertune.plan import plan
from embertune.recipe import load_recipe, replace
from embertune.recipe.explain import to_yaml
from embertune.rundir import write_text
from embertune.watch import Watcher


def write_recipe(data: str, path: Path, settings: Mapping[str, Any], watch: Watcher) -> str:
    """Decide everything for `data`, write it to `path`, and return what was written; no file is replaced."""
    if path.exists():
        raise RunFolderError(str(path), "exists already", "choose another --out, or remove it")
    planned = plan(load_recipe(set={"data.train": data, **settings}), None, None, watch)
    resolved = planned.resolved
    header = "Written by `embertune init`: every setting with its value, every decision with its reason."
    text = to_yaml(replace(resolved.recipe, {"data.train": data}), resolved.reasons, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return text
