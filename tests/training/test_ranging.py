"""The range test: what it proposes, that it can be repeated, and that it leaves the model as it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from embertune.errors import ModelError, TrainingError
from embertune.findrate import find_rate
from embertune.training.ranging import (
    SETTLED,
    Found,
    Point,
    exploded,
    points_of,
    proposed,
    rates_of,
    smoothed,
)
from embertune.watch import Silent
from tests import tiny
from tests.training.made import distance, planned, weights

Loader = Callable[[], SentenceTransformer]


def found_for(model: SentenceTransformer, **leaves: Any) -> Found:
    given = {"train__batch_size": 8, "train__max_steps": 40, "train__learning_rate": 1e-4} | leaves
    return find_rate(planned(model, tiny.toy_pairs(64), **given), Silent())


def test_rates_grow_by_the_same_factor_from_the_lowest_to_the_highest() -> None:
    rates = rates_of(100, 1e-7, 1e-2)
    assert (rates[0], rates[-1]) == pytest.approx((1e-7, 1e-2))
    assert [b / a for a, b in pairwise(rates)] == pytest.approx([1e5 ** (1 / 99)] * 99)


@given(st.floats(0.01, 10), st.integers(1, 60))
def test_the_average_of_equal_losses_is_that_loss_from_the_first_step_on(loss: float, steps: int) -> None:
    assert smoothed([loss] * steps) == pytest.approx([loss] * steps)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=60))
def test_the_average_is_that_of_adam_with_its_correction(losses: list[float]) -> None:
    weights = [0.1 * 0.9 ** (len(losses) - 1 - place) for place in range(len(losses))]
    expected = sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
    assert smoothed(losses)[-1] == pytest.approx(expected)


def test_a_loss_has_exploded_far_above_its_lowest_only() -> None:
    assert not exploded([1.0, 0.5, 0.9, 1.2])
    assert exploded([1.0] * 20 + [40.0])


def curve(best: float, start: float = 0.5, fall: float = 0.3) -> list[Point]:
    """Losses that fall to the rate `best`, where they are lowest, and rise steeply after it."""
    rates = rates_of(100, 1e-7, 1e-2)
    losses = [start - fall * math.exp(-(math.log10(rate / best) ** 2)) for rate in rates]
    return points_of(rates, losses)


@given(st.floats(1e-5, 1e-3))
def test_the_proposal_moves_with_the_curve_and_lies_below_its_lowest_point(best: float) -> None:
    found = proposed(curve(best))
    assert found.rate is not None
    assert best / 10 <= found.rate <= best / 2
    assert "range test of 100 steps (Smith 2017" in found.reason


def test_where_no_rate_lowers_the_loss_none_is_proposed() -> None:
    rates = rates_of(100, 1e-7, 1e-2)
    found = proposed(points_of(rates, [0.5 + 1e-4 * step for step in range(100)]))
    assert found.rate is None
    assert found.reason == "no rate from 1e-07 to 1e-02 clearly lowered the loss in a range test of 100 steps"


@pytest.mark.parametrize("seed", range(20))
def test_a_fall_of_three_times_the_spread_of_single_losses_is_found_in_the_noise(seed: int) -> None:
    random = Random(seed)
    rates = rates_of(100, 1e-7, 1e-2)
    losses = [random.gauss(0.4, 0.1) - 0.3 * math.exp(-(math.log10(rate / 3e-4) ** 2)) for rate in rates]
    assert 1e-6 < (proposed(points_of(rates, losses)).rate or 0) < 2e-4


def test_a_loss_that_is_not_finite_almost_at_once_leaves_nothing_to_propose() -> None:
    with pytest.raises(TrainingError, match="the loss was not finite from step 5 on"):
        proposed(points_of(rates_of(100, 1e-7, 1e-2), [0.5] * 4))


def test_the_test_of_a_model_is_the_same_every_time_and_gives_its_weights_back(tiny_model: Loader) -> None:
    model = tiny_model()
    before = weights(model)
    first = found_for(model)
    assert distance(before, weights(model)) == 0.0
    assert not model.training
    assert first == found_for(tiny_model())
    assert len(first.points) == 40 > SETTLED
    assert 1e-5 < (first.rate or 0) <= 1e-3
    assert min(point.smooth for point in first.points) < first.points[SETTLED].smooth


def test_what_is_proposed_does_not_hang_on_the_rate_that_is_written(tiny_model: Loader) -> None:
    low, high = (found_for(tiny_model(), train__learning_rate=rate) for rate in (1e-6, 1e-3))
    assert [point.loss for point in low.points] == pytest.approx([point.loss for point in high.points], rel=1e-4)


def test_a_run_too_short_for_a_range_test_is_told_so_and_the_weights_stay(tiny_model: Loader) -> None:
    model = tiny_model()
    before = weights(model)
    with pytest.raises(TrainingError, match="the run has 20 steps, and a range test on no more passes"):
        found_for(model, train__max_steps=20)
    assert distance(before, weights(model)) == 0


def test_layers_keep_their_share_of_the_rate_and_frozen_ones_stay(tiny_model: Loader) -> None:
    usual, decayed = (found_for(tiny_model(), train__layer_decay=decay) for decay in (None, 0.1))
    assert usual.points[0].loss == decayed.points[0].loss
    assert usual.points[-1].loss != decayed.points[-1].loss
    assert [point.rate for point in usual.points] == [point.rate for point in decayed.points]


def test_weights_that_are_not_finite_are_told_as_in_a_run(tiny_model: Loader) -> None:
    model = tiny_model()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="are NaN or infinite"):
        found_for(model, train__precision="float32")


def test_the_negatives_of_the_run_are_not_mined_anew_in_its_range_test(tiny_model: Loader) -> None:
    found = found_for(tiny_model(), data__negatives={"every": 2}, train__max_steps=30)
    assert len(found.points) == 30
