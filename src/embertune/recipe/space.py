"""What a search varies: the settings of a space with their ranges, and recipes as points in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from embertune.errors import Problem, RecipeError
from embertune.recipe.check import check
from embertune.recipe.conditions import applies, option_at, pointed, rank, value_at
from embertune.recipe.misfits import misfits_of_data, misfits_of_loss
from embertune.recipe.overriding import overridden
from embertune.recipe.ready import ready
from embertune.recipe.rules import Facts
from embertune.recipe.searchable import reaches_of, unmended
from embertune.recipe.searching import Kind, Reach
from embertune.recipe.sections import Recipe

__all__ = ["Dimension", "applies", "named", "point_of", "space_of", "widened", "with_point"]


@dataclass(frozen=True)
class Dimension:
    """A setting and what it may become: numbers from `low` to `high`, both included, or one of `choices`.

    Choices are as a recipe spells them. `source` says where the range comes from.
    """

    setting: str
    kind: Kind
    low: float
    high: float
    choices: tuple[Any, ...]
    source: str

    def __str__(self) -> str:
        if self.kind == "choice":
            return ", ".join(map(_word, self.choices))
        return f"{self.low:g} to {self.high:g}" + (" (log)" if self.kind == "log" else "")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_word(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_word, value))}]"
    return "null" if value is None else str(value)


def space_of(recipe: Recipe, resolved: Recipe, facts: Facts) -> tuple[Dimension, ...]:
    """The settings that a search of `recipe` varies, those that others need before them.

    `recipe` is as it was written, `resolved` the same with every `auto` decided on all rows, `facts` those of the rows
    and the model. A space in the recipe takes the place of the ready one; `RecipeError` where it cannot be with the
    data.
    """
    base = named(recipe, resolved)
    if asked := reaches_of(recipe):
        if problems := list(_misfits(asked, base, facts)):
            raise RecipeError(problems)
        found = [_dimension(setting, reach, "search.space of the recipe") for setting, reach in asked.items()]
    else:
        whole = resolved.model_copy(update={"search": recipe.search})
        rows = ((row, _possible(row.setting, reach, base, facts)) for row, reach in ready(facts, whole))
        found = [_dimension(row.setting, reach, f"{row.words} ({row.source})") for row, reach in rows if reach]
    return tuple(sorted(found, key=lambda one: rank(one.setting)))


def named(recipe: Recipe, resolved: Recipe) -> Recipe:
    """`recipe`, without its search, with the loss that was decided: what points are put into."""
    plain = check({**recipe.model_dump(exclude_unset=True), "search": None})
    return with_point(plain, {"train.loss": resolved.train.loss})


def _dimension(setting: str, reach: Reach, source: str) -> Dimension:
    return Dimension(setting, reach.kind, reach.low, reach.high, reach.choices, source)


def _told(base: Recipe, point: Mapping[str, Any], facts: Facts) -> Sequence[Problem]:
    """The problems of a point with the data."""
    try:
        recipe = with_point(base, point)
    except RecipeError as error:
        return error.problems
    there = facts_with(recipe, facts)
    return [*misfits_of_data(recipe, there), *misfits_of_loss(recipe, there)]


def facts_with(recipe: Recipe, facts: Facts) -> Facts:
    """The facts of rows of pairs with the negatives that a recipe mines, or without them; of others as they are."""
    if facts.origin not in ("pairs", "retrieval"):
        return facts
    section = recipe.data.negatives
    roles = tuple(role for role in facts.roles if role != "negative")
    if section is None:
        return dataclasses.replace(facts, shape=facts.origin, texts_per_row=2, roles=roles)
    return dataclasses.replace(
        facts, shape="triplets", texts_per_row=2 + section.num_negatives, roles=(*roles, "negative")
    )


def _misfits(asked: Mapping[str, Reach], base: Recipe, facts: Facts) -> list[Problem]:
    """What of a space in a recipe cannot be with the data, or has no effect with the loss that was decided."""
    idle = [
        Problem(f"search.space.{setting}", f"has no effect on {base.train.loss}", "leave it out, or search train.loss")
        for setting in asked
        if setting.startswith("train.loss_options.") and "train.loss" not in asked and not applies(setting, base)
    ]
    tries = {setting: reach.ends() for setting, reach in asked.items()}
    return [*idle, *unmended(tries, lambda point: _told(base, point, facts))]


def _possible(setting: str, reach: Reach, base: Recipe, facts: Facts) -> Reach | None:
    """What of a ready range can be with the rest of the recipe; None for nothing to vary."""
    fits = tuple(value for value in reach.ends() if not _told(base, {setting: value}, facts))
    if reach.kind != "choice":
        return reach if len(fits) == 2 else None
    return Reach("choice", choices=fits) if len(fits) > 1 else None


def widened(space: Sequence[Dimension], settings: Sequence[Mapping[str, Any]]) -> tuple[Dimension, ...]:
    """The space with ranges and choices made to hold the values of points, which are by setting.

    Whole numbers become any numbers where a point has a fraction. A value that is no number cannot be in a range.
    """
    for point in settings:
        space = [_holding(one, point[one.setting]) if one.setting in point else one for one in space]
    return tuple(space)


def _holding(one: Dimension, value: Any) -> Dimension:
    if one.kind == "choice":
        known = _spelled(one, value)
        return one if known is not None else dataclasses.replace(one, choices=(*one.choices, value))
    if type(value) not in (int, float) or (one.kind == "log" and value <= 0):
        return one
    kind: Kind = "uniform" if one.kind == "whole" and value != int(value) else one.kind
    return dataclasses.replace(one, kind=kind, low=min(one.low, value), high=max(one.high, value))


def _spelled(one: Dimension, value: Any) -> tuple[Any] | None:
    """The choice that is `value`, however a recipe spells it; None where there is none."""
    wanted = _leaf(one.setting, value)
    for choice in one.choices:
        leaf = _leaf(one.setting, choice)
        if type(leaf) is type(wanted) and leaf == wanted:
            return (choice,)
    return None


def _leaf(setting: str, value: Any) -> Any:
    return value_at(Recipe.model_validate(overridden({}, {setting: value})), setting)


def point_of(space: Sequence[Dimension], recipe: Recipe) -> dict[str, Any]:
    """The values that a resolved recipe has for the settings of the space that apply to it.

    An option that is null has the default of the named row. What a range cannot hold, such as null, is left out.
    """
    point: dict[str, Any] = {}
    for one in space:
        value = _value(one.setting, recipe)
        if not applies(one.setting, recipe):
            continue
        if one.kind == "choice":
            known = _spelled(one, value)
            if known is not None or value != "auto":
                point[one.setting] = value if known is None else known[0]
        elif type(value) in (int, float):
            whole = one.kind == "whole" and value == int(value)
            point[one.setting] = int(value) if whole else value
    return point


def _value(setting: str, recipe: Recipe) -> Any:
    value, option = value_at(recipe, setting), option_at(recipe, setting)
    if value is None and option is not None:
        value = option.default
    return _as_written(value)


def _as_written(value: Any) -> Any:
    """A leaf as a recipe spells it."""
    if isinstance(value, BaseModel):
        return _as_written(value.model_dump(exclude_unset=True))
    if isinstance(value, Mapping):
        return {key: _as_written(one) for key, one in value.items()}
    return [_as_written(one) for one in value] if isinstance(value, list | tuple) else value


def with_point(recipe: Recipe, point: Mapping[str, Any]) -> Recipe:
    """The recipe with the settings of a point, as far as they apply, checked anew.

    Options that the chosen loss, schedule or optimizer does not take are taken out, and so is what needs a setting that
    the point leaves out, such as thawing where nothing is frozen.
    """
    return check(pointed(recipe.model_dump(exclude_unset=True), point))
