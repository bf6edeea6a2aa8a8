"""The rate of every step is that of the field's own schedules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from embertune.training.schedule import SCHEDULES, rate_factor, warmup_steps


def of_transformers(name: str, rising: int, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    if name == "constant":
        return get_constant_schedule_with_warmup(optimizer, rising)
    makers = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}
    return makers[name](optimizer, rising, steps)


@given(st.data(), st.sampled_from(sorted(SCHEDULES)), st.integers(1, 5000), st.floats(0, 0.99))
def test_the_factor_of_every_step_is_that_of_transformers(
    data: st.DataObject, name: str, steps: int, warmup: float
) -> None:
    step = data.draw(st.integers(0, steps))
    theirs = of_transformers(name, warmup_steps(steps, warmup), steps).lr_lambdas[0](step)
    assert rate_factor(name, step, steps, warmup) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_the_rate_rises_from_nothing_to_its_highest_and_never_leaves_its_bounds(name: str) -> None:
    factors = [rate_factor(name, step, 200, 0.1) for step in range(201)]
    assert factors[0] == 0.0
    assert factors[20] == 1.0
    assert factors[:21] == sorted(factors[:21])
    assert factors[20:] == sorted(factors[20:], reverse=True)
    assert factors[200] == (1.0 if name == "constant" else pytest.approx(0.0, abs=1e-15))


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_without_warm_up_the_first_step_has_the_highest_rate(name: str) -> None:
    assert rate_factor(name, 0, 10, 0.0) == 1.0


@pytest.mark.parametrize(("steps", "warmup", "rising"), [(100, 0.1, 10), (101, 0.1, 11), (1, 0.1, 1), (7, 0.0, 0)])
def test_the_share_of_warm_up_is_rounded_up(steps: int, warmup: float, rising: int) -> None:
    assert warmup_steps(steps, warmup) == rising
