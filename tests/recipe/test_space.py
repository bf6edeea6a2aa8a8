"""What a search varies: the ready space fits data and model, every point of it is a recipe, and mistakes are told."""

from __future__ import annotations

from dataclasses import replace as vary
from typing import Any, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embertune.errors import RecipeError
from embertune.recipe import Recipe, load_recipe, replace
from embertune.recipe.distance import BY_DISTANCE
from embertune.recipe.guidance import decide
from embertune.recipe.load import get
from embertune.recipe.rules import RANGES, Facts
from embertune.recipe.sections import Shape
from embertune.recipe.space import (
    Dimension,
    applies,
    facts_with,
    named,
    point_of,
    space_of,
    widened,
    with_point,
)
from tests.recipe.test_guidance import facts

MODEL = {"model.dropout": {"hidden": 0.1, "attention": 0.0}}
SHAPES = [shape for shape in get_args(Shape) if shape != "nli"]
LIMITS = {one.setting: one for one in RANGES}


def resolved_of(recipe: Recipe, made: Facts) -> Recipe:
    """What `plan` would decide, with a dropout of the model's own and what rests on a distance left at null."""
    own = MODEL if recipe.model.dropout == "auto" else {}
    found = decide(replace(recipe, {**own, "search": None}), made).recipe
    return replace(found, {path: None for path in BY_DISTANCE if get(found, path) == "auto"})


def space(made: Facts, **leaves: Any) -> dict[str, Dimension]:
    recipe = load_recipe(set={path.replace("__", "."): value for path, value in leaves.items()})
    return {one.setting: one for one in space_of(recipe, resolved_of(recipe, made), made)}


def drawn(draw: st.DrawFn, one: Dimension) -> Any:
    if one.kind == "choice":
        return draw(st.sampled_from(one.choices))
    if one.kind == "whole":
        return draw(st.integers(int(one.low), int(one.high)))
    return draw(st.floats(one.low, one.high))


@st.composite
def places(draw: st.DrawFn) -> tuple[Recipe, Facts]:
    """A recipe with some leaves of its own, and rows of some shape and number for it."""
    shape = draw(st.sampled_from(SHAPES))
    classes = draw(st.integers(2, 200)) if shape == "classes" else 0
    made = facts(shape, draw(st.integers(20, 50_000)), blocks=draw(st.integers(0, 24)), classes=classes)
    if shape == "triplets":
        made = vary(made, origin=draw(st.sampled_from(["triplets", "nli"])), texts_per_row=draw(st.integers(3, 5)))
    leaves: dict[str, Any] = draw(st.sampled_from(OWN))
    return load_recipe(set=leaves), made


OWN: list[dict[str, Any]] = [
    {},
    {"train.floor": 1e-6},
    {"train.schedule": "one_cycle", "train.schedule_options.div_factor": 10.0},
    {"train.schedule": "plateau"},
    {"train.freeze": 1, "train.unfreeze": "1 epoch"},
    {"train.freeze": 2, "train.prefix_cache": "float16"},
    {"train.optimizer": "sgd", "train.learning_rate": 0.1, "train.optimizer_options.momentum": 0.8},
    {"train.max_steps": 20},
    {"train.warmup": "5 steps", "train.batch_size": 10},
    {"train.layer_rates": {"embeddings": 1e-6}},
    {"model.dropout": None},
    {"train.learning_rate": 1e-3, "train.epochs": 2.5},
]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(places(), st.data())
def test_every_point_of_the_ready_space_is_a_recipe_that_can_be_decided(
    place: tuple[Recipe, Facts], data: st.DataObject
) -> None:
    recipe, made = place
    try:
        resolved = resolved_of(recipe, made)
    except RecipeError:
        return  # these leaves are not for these rows
    found = widened(space_of(recipe, resolved, made), [point_of(space_of(recipe, resolved, made), resolved)])
    point = {one.setting: data.draw(st.builds(lambda: None).map(lambda _, one=one: one)) for one in found}
    point = {name: data.draw(_values(one)) for name, one in point.items()}
    chosen = with_point(named(recipe, resolved), point)
    again = decide(chosen, facts_with(chosen, made)).recipe
    for one in found:
        if applies(one.setting, again):
            assert _same(chosen, one.setting, point[one.setting])


def _values(one: Dimension) -> st.SearchStrategy[Any]:
    if one.kind == "choice":
        return st.sampled_from(one.choices)
    return st.integers(int(one.low), int(one.high)) if one.kind == "whole" else st.floats(one.low, one.high)


def _same(recipe: Recipe, setting: str, value: Any) -> bool:
    return replace(recipe, {setting: value}) == recipe
