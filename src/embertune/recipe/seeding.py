"""A recipe with several seeds: recipes that differ in what training draws, and in nothing else."""

from __future__ import annotations

from embertune.errors import Problem, RecipeError
from embertune.recipe.load import replace
from embertune.recipe.sections import Recipe


def seeded(recipe: Recipe, seeds: int) -> dict[int, Recipe]:
    """Recipes by seed, from `train.seed` (or `seed`) upwards; `RecipeError` for fewer than two."""
    if seeds < 2:
        remedy = "ask for at least 2 seeds, or leave it out for a plain run"
        raise RecipeError(Problem("seeds", f"found {seeds}", remedy), "run")
    first = recipe.training_seed
    return {number: replace(recipe, {"train.seed": number}) for number in range(first, first + seeds)}
