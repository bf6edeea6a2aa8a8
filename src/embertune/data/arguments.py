"""Files named one after the other, sorted into the sides of the data by their place and their names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embertune.data.spec import SPLIT_WORDS, stem
from embertune.errors import Problem, RecipeError

RECIPES = (".yaml", ".yml", ".toml")


def sorted_files(data: Sequence[str], dev: str | None, test: str | None) -> dict[str, Any]:
    """What `recipe`, `train`, `dev` and `test` are: a recipe alone, or the first is train and the others are by name.

    A file called `dev`, `validation` and the like is dev, every other one a test set under its own name. Raises
    RecipeError where a side is named twice.
    """
    first, *others = data
    if Path(first).suffix.lower() in RECIPES:
        if others:
            raise RecipeError(Problem("audit", f"found {others[0]!r} beside a recipe", "name files in the recipe"))
        return {"recipe": first, "train": None}
    devs = [one for one in others if SPLIT_WORDS.get(stem(Path(one)).lower()) == "dev"]
    tests = [one for one in others if one not in devs]
    for side, named, given in (
        ("dev", devs[1:] or devs, dev if devs else None),
        ("test", tests, test if tests else None),
    ):
        if given or len(devs) > 1:
            raise RecipeError(Problem(f"data.{side}", f"found {named[0]!r} beside another", "name it once"))
    names = [stem(Path(one)) for one in tests]
    if len(set(names)) < len(names):
        raise RecipeError(Problem("data.test", f"two files are called {names[0]!r}", "use data.test: {name: path}"))
    several = json.dumps(dict(zip(names, tests, strict=True)), ensure_ascii=False)
    return {
        "recipe": None,
        "train": first,
        "dev": devs[0] if devs else dev,
        "test": (tests[0] if len(tests) == 1 else several) if tests else test,
    }
