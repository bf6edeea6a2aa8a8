"""The rate of every step is that of the field's own schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_cosine_with_min_lr_schedule_with_warmup,
    get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup,
)

from embertune.errors import RecipeError
from embertune.recipe.schedules import SCHEDULES, ScheduleName, schedule_options, warmup_steps
from embertune.recipe.sections import TrainSection
from embertune.training.schedule import Schedule, rate_factor, schedule_of
from tests import tiny
from tests.training.made import planned, trained

#: Schedules that end in the last step of the run and begin with a straight rise.
PLAIN: tuple[ScheduleName, ...] = ("linear", "cosine", "constant", "cosine_with_restarts")


def way(name: ScheduleName, steps: int, rising: int, floor: float | None = None, **options: Any) -> Schedule:
    return Schedule(name, steps, rising, floor, schedule_options(name, None) | options)


def optimizer() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def of_transformers(name: str, rising: int, steps: int) -> Callable[[int], float]:
    if name == "constant":
        return get_constant_schedule_with_warmup(optimizer(), rising).lr_lambdas[0]
    if name == "cosine_with_restarts":
        return get_cosine_with_hard_restarts_schedule_with_warmup(optimizer(), rising, steps, 3).lr_lambdas[0]
    makers = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}
    return makers[name](optimizer(), rising, steps).lr_lambdas[0]


@given(st.data(), st.sampled_from(PLAIN), st.integers(1, 5000), st.floats(0, 0.99))
def test_the_factor_of_every_step_is_that_of_transformers(
    data: st.DataObject, name: ScheduleName, steps: int, warmup: float
) -> None:
    step, rising = data.draw(st.integers(0, steps)), warmup_steps(warmup, steps, 1.0)
    theirs = of_transformers(name, rising, steps)(step)
    assert rate_factor(way(name, steps, rising), step) == pytest.approx(theirs, abs=1e-12)


@given(st.data(), st.sampled_from(["linear", "cosine"]), st.integers(2, 5000), st.floats(0.001, 0.9))
def test_with_a_floor_the_factor_is_that_of_the_schedules_of_transformers_that_have_one(
    data: st.DataObject, name: ScheduleName, steps: int, floor: float
) -> None:
    step, rising = data.draw(st.integers(0, steps)), data.draw(st.integers(0, steps - 1))
    theirs = (
        get_polynomial_decay_schedule_with_warmup(optimizer(), rising, steps, lr_end=floor, power=1.0)
        if name == "linear"
        else get_cosine_with_min_lr_schedule_with_warmup(optimizer(), rising, steps, min_lr_rate=floor)
    )
    assert rate_factor(way(name, steps, rising, floor), step) == pytest.approx(theirs.lr_lambdas[0](step), abs=1e-12)


@pytest.mark.parametrize("floor", [None, 0.05])
@pytest.mark.parametrize(
    ("steps", "rising", "divide"), [(100, 30, 25.0), (57, 19, 4.0), (10, 2, 25.0), (200, 199, 10.0)]
)
def test_one_cycle_is_that_of_torch(steps: int, rising: int, divide: float, floor: float | None) -> None:
    stepped = optimizer()
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        stepped,
        max_lr=1.0,
        total_steps=steps,
        pct_start=rising / steps,
        cycle_momentum=False,
        div_factor=divide,
        final_div_factor=1e4 if floor is None else 1 / divide / floor,
    )
    ours = way("one_cycle", steps, rising, floor, div_factor=divide)
    for step in range(steps):
        assert rate_factor(ours, step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        stepped.step()
        if step < steps - 1:
            theirs.step()


@given(st.integers(0, 20), st.floats(0.1, 0.9), st.floats(0.001, 1.0))
def test_a_plateau_lowers_the_rate_as_torch_does(stalls: int, factor: float, floor: float) -> None:
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer(), "max", factor=factor, patience=0, threshold=0.0, min_lr=floor, eps=0.0
    )
    for look in range(stalls + 1):
        theirs.step(-look)
    found = rate_factor(way("plateau", 50, 5, floor, factor=factor), 20, stalls)
    assert found == pytest.approx(theirs.optimizer.param_groups[0]["lr"], rel=1e-9)


def test_stalls_do_not_lower_the_warm_up_nor_a_schedule_that_dev_does_not_decide() -> None:
    assert rate_factor(way("plateau", 50, 10), 5, 3) == 0.5
    assert rate_factor(way("linear", 50, 0), 25, 3) == 0.5


@pytest.mark.parametrize("floor", [None, 0.05])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rate_rises_to_its_highest_and_never_leaves_its_bounds(name: ScheduleName, floor: float | None) -> None:
    schedule = way(name, 200, 20, floor if SCHEDULES[name].falls else None)
    factors = [rate_factor(schedule, step) for step in range(201)]
    assert factors[0] == (1 / 25 if name == "one_cycle" else 0.0)
    assert max(factors) == factors[19 if name == "one_cycle" else 20] == 1.0
    assert factors[:20] == sorted(factors[:20])
    if name != "cosine_with_restarts":
        assert factors[20:] == sorted(factors[20:], reverse=True)
    if name not in ("constant", "plateau"):
        assert factors[200] == pytest.approx(floor or 0.0, abs=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_warm_up_the_first_step_has_the_highest_rate(name: ScheduleName) -> None:
    assert rate_factor(way(name, 10, 0), 0) == 1.0


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_shortest_runs_have_a_rate(name: ScheduleName, steps: int) -> None:
    schedule = way(name, steps, warmup_steps(0.1, steps, 1.0))
    assert max(rate_factor(schedule, step) for step in range(steps)) == 1.0


@pytest.mark.parametrize(
    ("warmup", "steps", "per_epoch", "rising"),
    [
        (0.1, 100, 50, 10), (0.1, 101, 50, 11), (0.1, 1, 1, 0), (0.99, 5, 1, 4), (0.0, 7, 7, 0),
        ("20 steps", 100, 50, 20), ("0.5 epoch", 100, 50, 25), ("2 epochs", 100, 25, 50), ("0.001 epoch", 100, 50, 1),
    ],
)  # fmt: skip
def test_warm_up_is_a_share_rounded_up_or_so_many_steps_or_epochs(
    warmup: float | str, steps: int, per_epoch: float, rising: int
) -> None:
    assert warmup_steps(warmup, steps, per_epoch) == rising


def test_the_floor_is_a_share_of_the_highest_rate_of_any_layer() -> None:
    train = TrainSection(learning_rate=2e-5, floor=1e-6, schedule="cosine", warmup="10 steps")
    assert schedule_of(train, 100, 50, highest=4e-5) == Schedule("cosine", 100, 10, 1e-6 / 4e-5, {})


def test_a_run_goes_the_way_of_its_schedule_and_ends_at_its_floor(tiny_model: Callable[[], Any]) -> None:
    leaves = {"train__learning_rate": 1e-3, "train__floor": 1e-4, "train__warmup": "2 steps", "train__max_steps": 6}
    made = planned(tiny_model(), tiny.toy_pairs(24), train__batch_size=8, train__schedule="cosine", **leaves)
    rates = [max(line["rates"].values()) for line in trained(made)[1]]
    assert rates == pytest.approx([1e-3 * rate_factor(way("cosine", 6, 2, 0.1), step) for step in range(6)])
    assert 1e-4 < rates[-1] < 3e-4


@pytest.mark.parametrize(("warmup", "found"), [("9 steps", "9 steps"), ("3 epochs", "9 steps")])
def test_a_warm_up_as_long_as_the_run_is_refused_with_what_would_do(
    tiny_model: Callable[[], Any], warmup: str, found: str
) -> None:
    with pytest.raises(RecipeError, match=rf"train\.warmup: found '{warmup}', which is {found}, and the run has 9"):
        planned(tiny_model(), tiny.toy_pairs(24), train__batch_size=8, train__epochs=3, train__warmup=warmup)


def test_rates_are_scaled_by_the_rows_of_a_step_and_the_resolved_recipe_does_not_scale_them_again(
    tiny_model: Callable[[], Any],
) -> None:
    leaves = {"train__learning_rate": 1e-4, "train__scale_rate": 8, "train__accumulate": 2, "train__max_steps": 2}
    made = planned(tiny_model(), tiny.toy_pairs(32), train__batch_size=8, train__warmup=0.0, **leaves)
    resolved = made.resolved.recipe
    assert resolved.train.learning_rate == 1e-4
    assert "the highest rate is 0.0002: 8 x 2 rows a step over 8" in made.resolved.reasons["train.scale_rate"]
    assert max(trained(made)[1][0]["rates"].values()) == pytest.approx(2e-4)


def test_the_rate_falls_right_after_the_look_at_which_dev_has_stopped_improving(tiny_model: Callable[[], Any]) -> None:
    made = planned(
        tiny_model(), tiny.toy_pairs(48), data__dev=0.2, guard__eval_every="2 steps", guard__patience=None,
        train__schedule="plateau", train__warmup=0.0,
        train__learning_rate=1e-3, train__floor=2e-4, train__max_steps=10, train__batch_size=8,
    )  # fmt: skip
    metric = made.resolved.recipe.guard.metric
    values = iter([0.6, 0.5, 0.5, 0.5, 0.5])
    _, history = trained(made, lambda: {metric: next(values)}, {metric: 0.5})
    rates = [max(line["rates"].values()) for line in history if "rates" in line]
    assert rates == pytest.approx([1e-3] * 4 + [5e-4] * 2 + [2.5e-4] * 2 + [2e-4] * 2)


def test_training_stops_when_patience_has_run_out_since_the_rate_was_lowered(tiny_model: Callable[[], Any]) -> None:
    made = planned(
        tiny_model(), tiny.toy_pairs(48), data__dev=0.2, guard__eval_every="1 steps", guard__patience="3 evaluations",
        train__schedule="plateau", train__schedule_options={"patience": "2 evaluations"}, train__warmup=0.0,
        train__max_steps=10, train__batch_size=8,
    )  # fmt: skip
    metric = made.resolved.recipe.guard.metric
    fitted, history = trained(made, lambda: {metric: 0.5}, {metric: 0.6})
    assert [line["step"] for line in history if line.get("stop")] == [5]
    assert fitted.steps == 5
