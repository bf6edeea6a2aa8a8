"""A stall is counted as torch's own scheduler on plateaus counts it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from embertune.training.guard import Look
from embertune.training.stall import stalls


def looks(values: list[float], warming: int = 0) -> list[Look]:
    return [Look(step, float(step), value, step < warming) for step, value in enumerate(values)]


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, float("nan")]), max_size=30), st.integers(1, 4))
def test_the_rate_would_fall_exactly_where_that_of_torch_falls(values: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.5, patience=patience - 1, threshold=0.0, eps=0.0
    )
    for seen, value in enumerate(values, 1):
        theirs.step(value)
        assert 0.5 ** stalls(looks(values[:seen]), patience) == optimizer.param_groups[0]["lr"]


def test_looks_while_the_rate_rises_do_not_count() -> None:
    worse = [0.5, 0.4, 0.4, 0.4, 0.4]
    assert stalls(looks(worse), 2) == 2
    assert stalls(looks(worse, warming=3), 2) == 1
    assert stalls(looks(worse, warming=5), 2) == 0


def test_no_look_is_no_stall() -> None:
    assert stalls([], 1) == 0
