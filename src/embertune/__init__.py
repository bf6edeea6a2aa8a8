"""embertune: fine-tune a Sentence Transformer on your own data, and know whether it got better.

Importing the package is quick: what needs torch is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from embertune.errors import EmbertuneError
from embertune.recipe import Recipe, load_recipe, replace

if TYPE_CHECKING:
    from embertune.result import Result
    from embertune.run import run

__all__ = ["EmbertuneError", "Recipe", "Result", "load_recipe", "replace", "run"]

_LATER = {"run": "embertune.run", "Result": "embertune.result"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'embertune' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
