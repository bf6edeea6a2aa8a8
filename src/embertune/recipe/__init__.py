"""The recipe: typed sections, loading and checking, the rules that fill in `auto`, and writing it out with reasons."""

from embertune.recipe.load import load_recipe, parse_setting, replace
from embertune.recipe.sections import Recipe

__all__ = ["Recipe", "load_recipe", "parse_setting", "replace"]
