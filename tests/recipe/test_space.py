"""The space of a search: ranges fit rows and model, every point of it is a recipe, and what has no effect is left."""

from __future__ import annotations

from dataclasses import replace as vary
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embertune.errors import RecipeError
from embertune.recipe import Recipe, load_recipe, replace
from embertune.recipe.check import known_paths
from embertune.recipe.conditions import CONDITIONS, rank
from embertune.recipe.distance import BY_DISTANCE
from embertune.recipe.guidance import decide
from embertune.recipe.load import get
from embertune.recipe.losses import LOSSES
from embertune.recipe.ready import MOST_EPOCHS, READY
from embertune.recipe.rules import RANGES, Facts
from embertune.recipe.searchable import why_not
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
from tests.recipe.test_guidance import RANKING, facts

SHAPES = [shape for shape in get_args(Shape) if shape != "nli"]
LIMITS = {one.setting: one for one in RANGES}
OF_MODEL = {"hidden": 0.1, "attention": 0.0}


def written(**leaves: Any) -> Recipe:
    return load_recipe(set={path.replace("__", "."): value for path, value in leaves.items()})


def resolved_of(recipe: Recipe, made: Facts) -> Recipe:
    """What planning would decide, with dropout of the model's own, and null for what rests on the distance of texts."""
    own = {"model.dropout": OF_MODEL} if recipe.model.dropout == "auto" else {}
    found = decide(replace(recipe, {**own, "search": None}), made).recipe
    return replace(found, {path: None for path in BY_DISTANCE if get(found, path) == "auto"})


def space(made: Facts, **leaves: Any) -> dict[str, Dimension]:
    recipe = written(**leaves)
    return {one.setting: one for one in space_of(recipe, resolved_of(recipe, made), made)}


#: Leaves that are somebody's own, each with something in it that could trip over what is chosen beside it.
OWN: list[dict[str, Any]] = [
    {},
    {"train.floor": 1e-5},
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
    {"train.loss": RANKING, "train.loss_options": {"scale": 35.0, "symmetric": True}},
    {"train.loss": "triplet", "train.loss_options": {"distance": "euclidean", "margin": 5.0}},
    {"train.known_positives": "mask", "train.guide": "base", "train.guide_margin": 0.1},
    {"data.negatives": {"num_negatives": 2, "every": 1}},
]


@st.composite
def places(draw: st.DrawFn) -> tuple[Recipe, Facts]:
    """Somebody's recipe, and rows of some shape and number for it."""
    shape = draw(st.sampled_from(SHAPES))
    more: dict[str, Any] = {"blocks": draw(st.integers(0, 24))}
    if shape == "classes":
        more["classes"] = draw(st.integers(2, 200))
    if shape == "triplets":
        more["texts_per_row"] = draw(st.integers(3, 5))
    return load_recipe(set=draw(st.sampled_from(OWN))), facts(shape, draw(st.integers(20, 50_000)), **more)


def values_of(one: Dimension) -> st.SearchStrategy[Any]:
    if one.kind == "choice":
        return st.sampled_from(one.choices)
    return st.integers(int(one.low), int(one.high)) if one.kind == "whole" else st.floats(one.low, one.high)


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(places(), st.data())
def test_every_point_of_the_ready_space_is_a_recipe_that_can_be_decided(
    place: tuple[Recipe, Facts], data: st.DataObject
) -> None:
    recipe, made = place
    made = facts_with(recipe, made)
    try:
        resolved = resolved_of(recipe, made)
    except RecipeError:
        return  # leaves that are not for such rows
    found = space_of(recipe, resolved, made)
    found = widened(found, [point_of(found, resolved)])
    point = {one.setting: data.draw(values_of(one)) for one in found}
    chosen = with_point(named(recipe, resolved), point)
    decided = decide(chosen, facts_with(chosen, made)).recipe
    for setting, value in point.items():
        if applies(setting, chosen):
            assert get(decided, setting) == get(replace(chosen, {setting: value}), setting)


@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(places())
def test_the_point_of_a_recipe_gives_that_recipe_again(place: tuple[Recipe, Facts]) -> None:
    recipe, made = place
    made = facts_with(recipe, made)
    try:
        resolved = resolved_of(recipe, made)
    except RecipeError:
        return
    found = space_of(recipe, resolved, made)
    found = widened(found, [point_of(found, resolved)])
    point = point_of(found, resolved)
    again = resolved_of(with_point(named(recipe, resolved), point), made)
    assert point_of(found, again) == point
    for one in found:
        if one.setting in point and not one.setting.startswith("train.loss_options."):
            assert get(again, one.setting) == get(resolved, one.setting)


@pytest.mark.parametrize("rows", [30, 300, 2_500, 60_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_ready_space_is_around_what_guidance_gives_and_within_what_is_published(shape: str, rows: int) -> None:
    made = facts(shape, rows, blocks=6)
    resolved = resolved_of(Recipe(), made)
    found = {one.setting: one for one in space_of(Recipe(), resolved, made)}
    for setting, value in point_of(list(found.values()), resolved).items():
        one = found[setting]
        assert value in one.choices if one.kind == "choice" else one.low <= value <= one.high, setting
    for setting in found.keys() & LIMITS.keys():
        ends = found[setting].choices or (found[setting].low, found[setting].high)
        assert all(LIMITS[setting].low <= end <= LIMITS[setting].high for end in ends) or rows == 30
    guided = resolved.train.learning_rate
    assert isinstance(guided, float)
    rate = found["train.learning_rate"]
    assert (rate.kind, rate.low, rate.high) == ("log", guided / 4, min(1e-4, guided * 4))
    assert found["train.epochs"].high <= MOST_EPOCHS


def test_settings_that_others_need_come_before_them() -> None:
    for shape in SHAPES:
        names = list(space(facts(shape, blocks=6)))
        assert names == sorted(names, key=rank)
    names = list(space(facts("labelled")))
    assert names.index("train.loss") < names.index("train.loss_options.margin")
    assert [rank(name) for name in ("train.loss", "train.guide_margin", "train.unfreeze.patience")] == [0, 3, 3]


@pytest.mark.parametrize(
    ("made", "leaves", "setting", "shown"),
    [
        (facts("triplets"), {}, "train.loss", f"{RANKING}, triplet"),
        (facts("triplets", texts_per_row=4), {}, "train.loss", None),
        (facts("pairs"), {}, "train.loss", None),
        (facts("pairs"), {}, "train.loss_options.scale", "10 to 80 (log)"),
        (facts("pairs"), {}, "train.loss_options.margin", None),
        (facts("scored"), {}, "train.loss", "cosent, angle, cosine_similarity"),
        (facts("labelled"), {}, "train.loss_options.margin", "0.125 to 2 (log)"),
        (facts("triplets"), {}, "train.loss_options.margin", "0 to 0.5"),
        (facts("classes", classes=15), {}, "train.loss", "batch_all_triplet, batch_semi_hard_triplet, batch_hard_trip"),
        (facts("classes", classes=16), {}, "train.loss", f"{RANKING}, batch_all_triplet"),
        (facts(rows=5_000), {}, "train.learning_rate", "5e-06 to 8e-05 (log)"),
        (facts(rows=5_000), {"train__floor": 1e-5}, "train.learning_rate", "2e-05 to 8e-05 (log)"),
        (facts(rows=5_000), {"train__floor": 5e-5, "train__learning_rate": 1e-3}, "train.learning_rate", None),
        (facts(rows=20_000), {}, "train.batch_size", "32, 64, 128, 256"),
        (facts(rows=20_000), {"search__rows": 600}, "train.batch_size", "32, 64, 128"),
        (facts("scored", rows=20_000), {}, "train.batch_size", "32, 64, 128"),
        (facts("classes", rows=9_000, classes=20), {}, "train.batch_size", "16, 20"),
        (facts(rows=20), {}, "train.batch_size", None),
        (facts(rows=500), {}, "train.epochs", "1 to 10"),
        (facts(rows=20_000), {}, "train.epochs", "1 to 2"),
        (facts(), {"train__max_steps": 9}, "train.epochs", None),
        (facts(), {"data__negatives": {"every": 1}}, "train.epochs", "2 to 10"),
        (facts(), {}, "train.schedule", "linear, cosine, constant"),
        (facts(), {"train__floor": 1e-6}, "train.schedule", "linear, cosine"),
        (facts(), {}, "train.warmup", "0 to 0.3"),
        (facts(), {"train__warmup": "5 steps"}, "train.warmup", None),
        (facts(), {"train__schedule": "one_cycle"}, "train.warmup", "0.01 to 0.3"),
        (facts(), {}, "train.weight_decay", "0 to 0.1"),
        (facts(), {}, "model.dropout", "{hidden: 0.1, attention: 0.0}, 0.0, 0.1, 0.2"),
        (facts(), {"model__dropout": 0.1}, "model.dropout", "0.1, 0.0, 0.2"),
        (facts(), {"model__dropout": None}, "model.dropout", None),
        (facts(blocks=12), {}, "train.freeze", "null, 4, 6"),
        (facts(blocks=2), {}, "train.freeze", None),
        (facts(blocks=12), {"train__freeze": 6, "train__unfreeze": "1 epoch"}, "train.freeze", None),
        (facts(blocks=6), {}, "train.layer_decay", "null, 0.95, 0.8"),
        (facts(blocks=6), {"train__freeze": "all but 1"}, "train.layer_decay", None),
        (facts(blocks=6), {"train__layer_rates": {"top": 1e-4}}, "train.layer_decay", None),
        (facts("retrieval"), {}, "data.negatives", "null, {}"),
        (facts("triplets"), {}, "data.negatives", None),
    ],
)
def test_what_is_varied_hangs_on_rows_model_and_recipe(
    made: Facts, leaves: dict[str, Any], setting: str, shown: str | None
) -> None:
    found = space(facts_with(written(**leaves), made), **leaves).get(setting)
    assert (found is None) == (shown is None)
    assert found is None or str(found).startswith(shown or "-")


def test_every_row_of_the_ready_space_is_searchable_has_a_source_and_comes_up() -> None:
    seen = {name for shape in SHAPES for name in space(facts(shape, 5_000, blocks=6))}
    assert seen == {row.setting for row in READY}
    assert all(row.source and row.words and not why_not(row.setting) for row in READY)


def test_a_space_in_the_recipe_takes_the_place_of_the_ready_one() -> None:
    asked = {"train.loss_options.margin": {"uniform": [0, 1]}, "train.loss": ["cosent", "contrastive"]}
    found = space(facts("labelled"), search__space=asked)
    assert list(found) == ["train.loss", "train.loss_options.margin"]
    assert str(found["train.loss"]) == "cosent, contrastive"
    assert {one.source for one in found.values()} == {"search.space of the recipe"}


@pytest.mark.parametrize(
    ("made", "asked", "message"),
    [
        (
            facts("pairs"),
            {"train.loss": [RANKING, "cosent"]},
            "search.space.train.loss: cosent takes scored, labelled, and the data is pairs; write one of",
        ),
        (
            facts("scored"),
            {"train.loss_options.margin": {"uniform": [0, 1]}},
            "search.space.train.loss_options.margin: has no effect on cosent; leave it out, or search train.loss",
        ),
        (
            facts("classes", classes=20),
            {"train.batch_size": [16, 32]},
            "search.space.train.batch_size: found 32, and a batch holds one pair of each of 20 classes",
        ),
        (facts("scored"), {"data.balance": [None, "weights"]}, "search.space.data.balance: found weights, and scored"),
    ],
)
def test_what_of_a_space_cannot_be_with_the_rows_is_told(made: Facts, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        space(made, search__space=asked)
    (problem,) = caught.value.problems
    assert str(problem).startswith(message)


def test_a_value_that_another_searched_setting_makes_possible_is_no_mistake() -> None:
    asked = {"train.batch_size": [16, 32], "train.loss": [RANKING, "batch_all_triplet"]}
    assert list(space(facts("classes", classes=20), search__space=asked)) == ["train.batch_size", "train.loss"]


def test_a_point_takes_along_what_it_leaves_without_effect() -> None:
    own = written(
        train__loss=RANKING,
        train__loss_options={"scale": 30.0, "margin": 0.1},
        train__known_positives="mask",
        train__guide="base",
        train__schedule="cosine_with_restarts",
        train__schedule_options={"cycles": 2},
        train__freeze=3,
        train__unfreeze="1 epoch",
        train__prefix_cache="float32",
    )
    point = {"train.loss": "triplet", "train.schedule": "linear", "train.freeze": None, "train.loss_options.scale": 9.0}
    train = with_point(own, point).train
    assert train.loss_options is None  # a margin of cosines under one loss is none of another
    assert (train.known_positives, train.guide, train.schedule_options, train.unfreeze) == ("auto", None, None, None)
    assert train.prefix_cache == "auto"
    same = {"train.loss": RANKING, "train.loss_options.scale": 9.0}
    assert with_point(own, same) == replace(own, {"train.loss_options.scale": 9.0})
    assert with_point(own, {}) == own


def test_leaves_of_a_section_are_set_where_the_section_is_there() -> None:
    point = {"data.negatives.num_negatives": 3, "data.negatives": {}}
    section = with_point(Recipe(), point).data.negatives
    assert section is not None
    assert section.num_negatives == 3
    assert with_point(Recipe(), {**point, "data.negatives": None}).data.negatives is None


@pytest.mark.parametrize(
    ("setting", "without", "beside"),
    [
        ("train.loss_options.scale", {"train.loss": "triplet"}, {"train.loss": "cosent"}),
        ("train.loss_options.scale", {}, {"train.loss": RANKING}),
        ("train.schedule_options.cycles", {}, {"train.schedule": "cosine_with_restarts"}),
        ("train.optimizer_options.betas", {"train.optimizer": "sgd", "train.learning_rate": 0.1}, {}),
        ("train.known_positives", {"train.loss": "triplet"}, {"train.loss": RANKING}),
        ("train.guide", {}, {"train.known_positives": "mask"}),
        ("train.guide_margin", {}, {"train.known_positives": "mask", "train.guide": "base"}),
        ("train.floor", {"train.schedule": "constant"}, {}),
        ("train.epochs", {"train.max_steps": 5}, {}),
        ("train.unfreeze", {}, {"train.freeze": 2}),
        ("train.unfreeze", {"train.freeze": {"patterns": ["*.bias"]}}, {"train.freeze": 0.5}),
        ("train.unfreeze.until", {"train.freeze": 2}, {"train.freeze": 2, "train.unfreeze": "1 epoch"}),
        (
            "train.unfreeze.patience",
            {"train.freeze": 2, "train.unfreeze": "1 epoch"},
            {"train.freeze": 2, "train.unfreeze": "plateau"},
        ),
        ("train.matryoshka.weights", {}, {"train.matryoshka": [64]}),
        ("data.negatives.random", {}, {"data.negatives": {}}),
        ("data.augment.copies", {}, {"data.augment": {"swap": 0.1}}),
        ("model.layers.choose", {}, {"model.layers": 3}),
        ("guard.remedies", {}, {"guard.on_overfit": "regularise"}),
        ("guard.min_change", {"guard.patience": None}, {}),
        ("train.prefix_cache", {}, {"train.freeze": 2}),
        ("train.freeze.embeddings", {}, {"train.freeze": 2}),
    ],
)
def test_a_setting_applies_only_beside_what_it_needs(
    setting: str, without: dict[str, Any], beside: dict[str, Any]
) -> None:
    assert not applies(setting, load_recipe(set=without))
    assert applies(setting, load_recipe(set=beside))


def test_conditions_name_settings_that_there_are() -> None:
    paths = set(known_paths())
    assert {one.setting.removesuffix(".") for one in CONDITIONS} | {one.on for one in CONDITIONS} <= paths


def dimension(setting: str, *choices: Any, low: float = 0, high: float = 0, kind: Any = "choice") -> Dimension:
    return Dimension(setting, kind, low, high, choices, "")


def test_a_space_is_made_to_hold_points() -> None:
    narrow = [
        dimension("train.learning_rate", low=1e-5, high=1e-4, kind="log"),
        dimension("train.epochs", low=1, high=3, kind="whole"),
        dimension("train.freeze", None, 3),
        dimension("train.layer_decay", low=0.8, high=0.9, kind="uniform"),
    ]
    points = [{"train.learning_rate": 1e-3, "train.freeze": {"layers": 3}}, {"train.epochs": 2.5, "train.freeze": 0.5}]
    shown = [str(one) for one in widened(narrow, [*points, {"train.layer_decay": None, "elsewhere": 1}])]
    assert shown == ["1e-05 to 0.001 (log)", "1 to 3", "null, 3, 0.5", "0.8 to 0.9"]
    assert [one.kind for one in widened(narrow, points)] == ["log", "uniform", "choice", "uniform"]


def test_a_point_has_defaults_of_the_table_for_options_and_choices_as_they_are_spelled() -> None:
    dimensions = [
        dimension("train.loss_options.scale", low=1, high=50, kind="uniform"),
        dimension("train.loss_options.margin", low=0, high=1, kind="uniform"),
        dimension("train.freeze", None, 3),
        dimension("train.epochs", low=1, high=5, kind="whole"),
        dimension("model.dropout", "auto", 0.1),
        dimension("train.layer_decay", low=0.8, high=0.9, kind="uniform"),
    ]
    recipe = written(train__loss="cosent", train__freeze={"layers": 3}, train__epochs=2)
    point = point_of(dimensions, recipe)
    assert point == {
        "train.loss_options.scale": 20.0, "train.freeze": 3, "train.epochs": 2, "model.dropout": "auto"
    }  # fmt: skip
    assert type(point["train.epochs"]) is int


def test_a_dimension_is_shown_as_a_recipe_spells_it() -> None:
    assert str(dimension("x", None, True, {"hidden": 0.1}, [1, 2], "auto")) == "null, true, {hidden: 0.1}, [1, 2], auto"
    assert str(dimension("x", low=1e-5, high=2e-4, kind="log")) == "1e-05 to 0.0002 (log)"


def test_every_loss_but_the_one_for_comparison_is_tried_on_some_rows() -> None:
    made = [facts(shape) for shape in SHAPES] + [facts("classes", classes=5)]
    tried = {name for one in made if "train.loss" in (found := space(one)) for name in found["train.loss"].choices}
    assert tried == LOSSES.keys() - {"softmax"}
    assert "train.loss" not in space(vary(facts("nli"), origin="nli"), train__loss="softmax")
