"""embertune: fine-tune a Sentence Transformer on your own data, and know whether it got better.

Importing the package is quick: every name is loaded when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embertune.crossval import CrossValidated, cross_validate
    from embertune.engine.pack import pack, unpack
    from embertune.errors import EmbertuneError
    from embertune.recipe import Recipe, load_recipe, replace
    from embertune.result import Result
    from embertune.run import run
    from embertune.search import Found, search
    from embertune.seeds import Seeded, run_seeds

__all__ = [
    "CrossValidated",
    "EmbertuneError",
    "Found",
    "Recipe",
    "Result",
    "Seeded",
    "cross_validate",
    "load_recipe",
    "pack",
    "replace",
    "run",
    "run_seeds",
    "search",
    "unpack",
]

_HOME = {
    "CrossValidated": "embertune.crossval",
    "EmbertuneError": "embertune.errors",
    "Found": "embertune.search",
    "Recipe": "embertune.recipe",
    "Result": "embertune.result",
    "Seeded": "embertune.seeds",
    "cross_validate": "embertune.crossval",
    "load_recipe": "embertune.recipe",
    "pack": "embertune.engine.pack",
    "replace": "embertune.recipe",
    "run_seeds": "embertune.seeds",
    "unpack": "embertune.engine.pack",
}


class _Package(ModuleType):
    """`embertune.run` and `.search` are the functions, also after the modules of the same names were imported."""

    @property
    def run(self) -> Any:
        return import_module("embertune.run").run

    @run.setter
    def run(self, module: ModuleType) -> None:
        """The import system puts the module here; it stays reachable as `from embertune.run import …`."""

    @property
    def search(self) -> Any:
        return import_module("embertune.search").search

    @search.setter
    def search(self, module: ModuleType) -> None:
        """As for `run`."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'embertune' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


sys.modules[__name__].__class__ = _Package
