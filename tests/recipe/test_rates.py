"""What cannot stand together in rate, optimizer and schedule, and what is worth a note."""

from __future__ import annotations

from typing import Any

import pytest

from embertune.errors import RecipeError
from embertune.recipe import Recipe, load_recipe
from embertune.recipe.budget import Cost
from embertune.recipe.guidance import decide
from embertune.recipe.load import replace
from embertune.recipe.losses import LOSSES
from embertune.recipe.optimizers import OPTIMIZERS, OptimizerOptions, optimizer_options
from embertune.recipe.rules import Facts
from embertune.recipe.scaling import highest_rate
from embertune.recipe.schedules import SCHEDULES, ScheduleOptions, schedule_options


def recipe(**leaves: Any) -> Recipe:
    return load_recipe(set={path.replace("__", "."): value for path, value in leaves.items()})


def problems(**leaves: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipe(**leaves)
    return [str(problem) for problem in caught.value.problems]


def notes(shape: str = "pairs", **leaves: Any) -> tuple[str, ...]:
    facts = Facts(shape, shape, 1_000, (), classes=20)
    return decide(recipe(data__dev="none", **leaves), facts).notes


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"train__schedule": "constant"}, "train.floor: has no effect on constant; leave it out, or write linear"),
        (
            {"train__learning_rate": 1e-6},
            "train.floor: found 1e-06, and the highest rate is 1e-06; write less, such as",
        ),
        (
            {"train__learning_rate": 1e-6, "train__scale_rate": 64, "train__batch_size": 32},
            "train.floor: found 1e-06, and the highest rate is 5e-07; write less, such as 2e-08",
        ),
    ],
)
def test_a_floor_that_is_none_is_refused(leaves: dict[str, Any], message: str) -> None:
    (problem,) = problems(train__floor=1e-6, **leaves)
    assert problem.startswith(message)


def test_a_floor_above_a_rate_that_is_decided_later_is_refused_then() -> None:
    undecided = recipe(train__floor=1e-4)
    with pytest.raises(RecipeError, match="the highest rate is 2e-05"):
        replace(undecided, {"train.learning_rate": 2e-5})


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"data__dev": "none"}, "train.schedule: found plateau without dev rows to decide it; give data.dev"),
        (
            {"guard__patience": "2 evaluations", "train__schedule_options": {"patience": "2 evaluations"}},
            "train.schedule_options.patience: found '2 evaluations', and training stops after '2 evaluations'; "
            "write guard.patience: 5 evaluations",
        ),
    ],
)
def test_a_plateau_that_could_never_come_is_refused(leaves: dict[str, Any], message: str) -> None:
    assert any(problem.startswith(message) for problem in problems(train__schedule="plateau", **leaves))


def test_one_cycle_without_a_rise_is_refused() -> None:
    assert problems(train__schedule="one_cycle", train__warmup=0.0) == [
        "train.warmup: found 0, and one_cycle rises over the warm-up; write a share such as 0.3"
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_option_that_has_no_effect_on_the_optimizer_is_refused(name: Any) -> None:
    some = {"betas": [0.8, 0.9], "epsilon": 1e-6, "momentum": 0.5, "nesterov": True, "alpha": 0.9}
    assert set(some) == set(OptimizerOptions.model_fields)
    given = {"train__optimizer": name, "train__learning_rate": 1e-3}
    for option, value in some.items():
        leaf = {f"train__optimizer_options__{option}": value}
        if option in OPTIMIZERS[name].options:
            train = recipe(**given, **leaf).train
            assert optimizer_options(name, train.optimizer_options)[option] != OPTIMIZERS[name].options[option].default
        else:
            (problem,) = problems(**given, **leaf)
            assert f"train.optimizer_options.{option}: has no effect on {name}; leave it out" in problem


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_option_that_has_no_effect_on_the_schedule_is_refused(name: Any) -> None:
    some = {"cycles": 2, "div_factor": 10.0, "factor": 0.1, "patience": "2 evaluations"}
    assert set(some) == set(ScheduleOptions.model_fields)
    for option, value in some.items():
        leaf = {f"train__schedule_options__{option}": value}
        if option in SCHEDULES[name].options:
            train = recipe(train__schedule=name, **leaf).train
            assert schedule_options(name, train.schedule_options)[option] == value
        else:
            (problem,) = problems(train__schedule=name, **leaf)
            assert f"train.schedule_options.{option}: has no effect on {name}; leave it out" in problem


def test_looking_ahead_along_no_momentum_is_refused() -> None:
    options = {"momentum": 0.0, "nesterov": True}
    found = problems(train__optimizer="sgd", train__learning_rate=0.1, train__optimizer_options=options)
    assert found == ["train.optimizer_options.nesterov: has no effect without momentum; leave it out, or give momentum"]


def test_sgd_wants_a_rate_because_none_is_published() -> None:
    (problem,) = problems(train__optimizer="sgd")
    assert problem.startswith("train.learning_rate: found auto, and no rate is published for sgd")
    assert notes(train__optimizer="sgd", train__learning_rate=0.1) == ()


def test_the_highest_rate_is_scaled_and_judged_as_it_is_scaled() -> None:
    leaves = {"train__learning_rate": 5e-5, "train__scale_rate": 16, "train__batch_size": 64}
    assert highest_rate(recipe(**leaves).train) == 2e-4
    assert highest_rate(recipe(train__scale_rate=16, train__learning_rate=5e-5).train) is None
    (note,) = notes(**leaves)
    assert note.startswith("train.learning_rate: 0.0002 is unusual; 1e-06 to 0.0001 is published")


@pytest.mark.parametrize("name", LOSSES)
def test_accumulating_is_said_to_be_no_larger_batch_where_a_loss_compares_rows(name: Any) -> None:
    shape = LOSSES[name].shapes[0]
    leaves = {"train__loss": name, "train__accumulate": 4, "train__batch_size": 16}
    found = [note for note in notes(shape, **leaves) if note.startswith("train.accumulate")]
    assert len(found) == (0 if LOSSES[name].by_row else 1)
    assert all(
        "are no batch of 64" in note and "train.batch_size: 64, which train.chunk fits" in note for note in found
    )


def test_a_batch_larger_than_the_data_allows_is_not_offered() -> None:
    (note,) = notes("classes", train__loss="multiple_negatives_ranking", train__accumulate=4, train__batch_size=16)
    assert note.endswith("compares a row with those of its own batch only")


@pytest.mark.parametrize(
    ("leaf", "value"),
    [("optimizer_options__momentum", 0.2), ("schedule_options__cycles", 30), ("schedule_options__factor", 0.01)],
)
def test_an_option_outside_its_published_range_gets_one_note(leaf: str, value: float) -> None:
    given: dict[str, Any] = {
        "optimizer_options__momentum": {"train__optimizer": "sgd", "train__learning_rate": 0.1},
        "schedule_options__cycles": {"train__schedule": "cosine_with_restarts"},
        "schedule_options__factor": {"train__schedule": "plateau"},
    }[leaf]
    facts = Facts("pairs", "pairs", 1_000, (), looking=Cost(2, 2, 50), dev_metric="m")
    found = decide(recipe(**given, **{f"train__{leaf}": value}), facts).notes
    assert len(found) == 1
    assert f"train.{leaf.replace('__', '.')}: {value} is unusual" in found[0]


def test_rates_of_no_layer_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"train\.layer_rates: found \{\}; write null or a mapping"):
        load_recipe(set={"train.layer_rates": {}})
