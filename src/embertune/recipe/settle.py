"""Settings that only a measurement can decide: measured once, when a run begins, and binding when it goes on.

A measurement differs a little every time. A run that was interrupted would otherwise resolve to another recipe when it
is started again, and its own folder would refuse it. So the run folder's manifest keeps what was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from embertune.errors import RecipeError
from embertune.recipe.guidance import Resolved
from embertune.recipe.load import get
from embertune.recipe.load import replace as with_leaves
from embertune.recipe.measured import Measured
from embertune.recipe.sections import Recipe

#: Measures for a recipe in which every leaf before the one that is asked for is decided.
Ask = Callable[[Recipe], Measured]


def settle(resolved: Resolved, known: Mapping[str, Measured], asks: Mapping[str, Ask]) -> Resolved:
    """Decide the leaves of `asks` (dotted path to measurement) that are still `auto`, in their order.

    What `known` says of a leaf was measured when the run began and is taken as it is; the others are measured now. A
    leaf that is written in the recipe keeps its value, and what is known of it is kept while both agree.
    """
    recipe, reasons, measured = resolved.recipe, dict(resolved.reasons), dict(resolved.measured)
    for path, ask in asks.items():
        written = get(recipe, path)
        if written == "auto":
            measured[path] = known[path] if path in known else ask(recipe)
            recipe = with_leaves(recipe, {path: measured[path].value})
            reasons[path] = measured[path].reason
        elif path in known and _says(recipe, path, known[path].value):
            measured[path] = known[path]
    return replace(resolved, recipe=recipe, reasons=reasons, measured=measured)


def _says(recipe: Recipe, path: str, value: Any) -> bool:
    """Whether a leaf has a value, however it is spelled."""
    try:
        return with_leaves(recipe, {path: value}) == recipe
    except RecipeError:
        return False
