"""Numbers, scales, curves and rows, before anything is drawn."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.evaluate.bootstrap import Change
from embertune.report import numbers
from embertune.report.curves import POINTS, curves, smoothed, thinned
from embertune.report.drawing import common_scale, interval, tone
from embertune.report.results import groups, primary, split_name
from embertune.report.scale import Scale, spanning
from tests.report import made

NAN = float("nan")
finite = st.floats(-1e6, 1e6, allow_nan=False)


def test_numbers_have_four_decimals_and_a_real_minus() -> None:
    assert numbers.number(0.94086) == "0.9409"
    assert numbers.signed(-0.03214) == "−0.0321"
    assert numbers.signed(0.0086) == "+0.0086"
    assert numbers.interval(-0.0044, 0.0106) == "[−0.0044, +0.0106]"


def test_a_change_that_rounds_to_zero_has_no_sign() -> None:
    assert numbers.signed(-0.00001) == numbers.signed(0.0) == "0.0000"


def test_what_is_undefined_is_a_dash() -> None:
    told = [numbers.number(NAN), numbers.signed(NAN), numbers.interval(NAN, 1.0), numbers.p_value(NAN)]
    assert told == [numbers.NOTHING] * 4


def test_a_p_value_is_never_told_as_zero() -> None:
    assert numbers.p_value(0.0001) == "<0.001"
    assert numbers.p_value(0.0123) == "0.012"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (200.4, "3 min 20 s"), (7499, "2 h 5 min")],
)
def test_a_duration_is_told_as_people_say_it(seconds: float, told: str) -> None:
    assert numbers.duration(seconds) == told


@given(st.lists(finite, min_size=1, max_size=20))
def test_a_scale_holds_its_values_and_its_ticks(values: list[float]) -> None:
    scale = spanning(values, margin=0.1)
    assert scale.low < scale.high
    assert all(0 <= scale.at(value) <= 100 for value in values)
    ticks = scale.ticks(4)
    assert 1 <= len(ticks) <= 6
    assert all(one.at < other.at for one, other in pairwise(ticks))


def test_ticks_are_round_numbers() -> None:
    assert [tick.label for tick in Scale(-0.06, 0.21).ticks(3, sign=True)] == ["0", "+0.1", "+0.2"]
    assert [tick.label for tick in Scale(0, 10_000).ticks(4)] == ["0", "5,000", "10,000"]


def test_a_thinned_line_keeps_its_spikes_and_few_points() -> None:
    points = [(float(i), math.sin(i)) for i in range(10_000)]
    points[6_543] = (6_543.0, 99.0)
    points[17] = (17.0, -99.0)
    few = thinned(points)
    assert len(few) <= POINTS
    assert {(6_543.0, 99.0), (17.0, -99.0)} <= set(few)
    assert few == sorted(few)


def test_smoothing_leaves_a_straight_line_where_it_is() -> None:
    line = [(float(i), 3.0 - 0.01 * i) for i in range(200)]
    inner = list(zip(line, smoothed(line), strict=True))[10:-10]
    assert all(before[1] == pytest.approx(after[1]) for before, after in inner)


def test_a_step_written_twice_counts_as_written_last() -> None:
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}, {"step": 2, "loss": 1.0}]
    assert curves(history, None, 0).loss == ((1.0, 2.0), (2.0, 1.0))


def test_losses_that_are_no_numbers_are_left_out_of_the_curve() -> None:
    history = [{"step": 1, "loss": NAN}, {"step": 2, "loss": None}, {"step": 3, "loss": 1.0}]
    assert curves(history, None, 0).loss == ((3.0, 1.0),)


def test_a_change_is_a_gain_or_a_loss_only_where_its_interval_excludes_zero() -> None:
    assert tone(Change(0.1, 0.05, 0.15, 0.001, 100)) == "gain"
    assert tone(Change(-0.1, -0.15, -0.05, 0.001, 100)) == "loss"
    assert tone(Change(0.1, -0.05, 0.15, 0.2, 100)) == "unclear"
    assert tone(Change(0.1, NAN, NAN, NAN, 0)) == "unclear"


def test_intervals_and_zero_stand_in_order_on_the_common_axis() -> None:
    rows = [row for group in groups(made.facts()) for row in group.main]
    scale = common_scale(rows)
    for row in rows:
        drawn = interval(row.change, scale)
        assert drawn is not None
        assert 0 <= drawn.low < drawn.point < drawn.high <= 100
        assert (drawn.low > drawn.zero) == (drawn.tone == "gain")


def test_an_undefined_interval_is_not_drawn() -> None:
    assert interval(Change(0.1, NAN, NAN, NAN, 0), Scale(0, 1)) is None
    assert interval(None, Scale(0, 1)) is None


@pytest.mark.parametrize(
    ("metric", "sets", "parts"),
    [
        ("nli-test_cosine_accuracy", [], ("nli-test", "cosine_accuracy")),
        ("sts_spearman_cosine", [], ("sts", "spearman_cosine")),
        ("my_dot_set_cosine_ndcg@10", [], ("my_dot_set", "cosine_ndcg@10")),
        ("x_max_f1_threshold", [], ("x", "max_f1_threshold")),
        ("a_cosine_b_own_metric", ["a_cosine_b", "a"], ("a_cosine_b", "own_metric")),
        ("strange", [], ("test", "strange")),
    ],
)
def test_a_metric_name_is_told_apart_from_its_set(metric: str, sets: list[str], parts: tuple[str, str]) -> None:
    assert split_name(metric, sets) == parts


def test_the_primary_metric_is_the_first_row_of_the_first_set() -> None:
    proof = made.proof(primary="nli-test_dot_accuracy")
    found = groups(made.facts(proof=proof))
    assert found[0].main[0].metric == "nli-test_dot_accuracy"
    assert primary(found) is found[0].main[0]


def test_every_metric_is_in_exactly_one_row() -> None:
    rows = [row.metric for group in groups(made.facts()) for row in (*group.main, *group.further)]
    assert sorted(rows) == sorted(made.proof().baseline)


def test_of_many_cuts_of_a_ranking_the_usual_ones_stand_in_the_main_table() -> None:
    labels = [row.label for row in groups(made.facts())[0].main]
    assert labels == [f"cosine_{name}" for name in ("accuracy@1", "recall@10", "ndcg@10", "mrr@10")]
    proof = made.proof(primary="help-test_cosine_accuracy@5")
    assert groups(made.facts(proof=proof))[0].main[0].label == "cosine_accuracy@5"


def test_a_set_with_few_metrics_is_shown_whole() -> None:
    small = groups(made.facts())[1]
    assert small.name == "nli-test"
    assert small.further == ()
