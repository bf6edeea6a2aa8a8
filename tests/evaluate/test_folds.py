"""The interval over folds: what it is made of, and that it holds what it says where folds overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.folds import corrected, crossed, growth
from embertune.evaluate.proof import Counts, Proof

DIFFERENCES = st.lists(st.floats(-1, 1), min_size=2, max_size=10)


def test_without_overlap_it_is_the_plain_t_interval() -> None:
    values = [0.1, 0.2, 0.15, 0.3]
    found = corrected(values, share=0.0)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@given(DIFFERENCES)
def test_it_lies_around_the_mean_and_is_longer_the_more_folds_share(values: list[float]) -> None:
    plain, shared = corrected(values, 0.0), corrected(values, 0.25)
    assert plain.difference == shared.difference == pytest.approx(float(np.mean(values)))
    assert shared.low <= plain.low <= plain.difference <= plain.high <= shared.high


def test_the_correction_is_that_of_the_paper() -> None:
    """Ten times 9/10 against 1/10: the factor on the variance grows from 1/10 to 1/10 + 1/9."""
    values = np.random.default_rng(0).normal(size=10).tolist()
    plain, shared = corrected(values, 0.0), corrected(values, 1 / 9)
    ratio = (shared.high - shared.low) / (plain.high - plain.low)
    assert ratio == pytest.approx(math.sqrt((1 / 10 + 1 / 9) / (1 / 10)))


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_folds_that_say_the_same_leave_no_doubt(value: float, p: float) -> None:
    found = corrected([value] * 5, 0.25)
    assert (found.low, found.high, found.p_value) == (value, value, p)


def test_over_folds_that_share_training_rows_the_corrected_interval_holds_the_truth_more_often_than_it_says() -> None:
    """What a model learnt is the mean of its training rows, three quarters of which two of five folds share."""
    chance = np.random.default_rng(1)
    held = {0.0: 0, 1 / 4: 0}
    for _ in range(1_000):
        learnt, drawn = chance.normal(size=(2, 5, 20))
        said = [float(np.delete(learnt, fold, axis=0).mean() + drawn[fold].mean()) for fold in range(5)]
        for share in held:
            found = corrected(said, share)
            held[share] += found.low <= 0 <= found.high
    assert held[0.0] < 920
    assert held[1 / 4] > 940


def proof(difference: float, metric: str = "a-test_cosine_accuracy", items: int = 100) -> Proof:
    change = Change(difference, difference - 0.1, difference + 0.1, 0.01, 100)
    counts = Counts(items, items, 30, 20, 10, items - 30)
    return Proof({metric: 0.5}, {metric: 0.5 + difference}, {metric: change}, metric, "better", "said", counts)


def test_all_items_of_all_folds_are_counted_and_the_verdict_is_in_plain_words() -> None:
    found = crossed([proof(0.10), proof(0.11), proof(0.12)], "a-test", "triplets")
    assert (found.counts.items, found.counts.groups, found.counts.discordant) == (300, 300, 90)
    assert found.verdict == "better"
    assert found.sentence.startswith("better: over 3 folds, of 300 test triplets 33 more now")
    assert found.metrics[found.primary].baseline == (0.5, 0.5, 0.5)


def test_folds_that_disagree_have_no_clear_change() -> None:
    assert crossed([proof(0.2), proof(-0.1), proof(0.05)], "a-test", "triplets").verdict == "no clear change"


def test_folds_of_different_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="same metric"):
        crossed([proof(0.1), proof(0.1, "b-test_cosine_accuracy")], "a-test", "triplets")


def test_a_metric_that_gains_the_same_with_every_doubling_would_gain_it_again() -> None:
    rows = [(100, 300, 1_000), (110, 310, 1_050)]
    values = [[0.5 + 0.02 * float(np.log2(n)) for n in some] for some in rows]
    found = growth(rows, values)
    assert found.doubling.difference == pytest.approx(0.02)
    assert found.rows == (105, 305, 1_025)
    assert found.answer.startswith("more data would help: twice the rows would add about +0.0200")


def test_folds_that_rise_and_fall_do_not_tell_whether_more_data_would_help() -> None:
    found = growth([(100, 1_000)] * 3, [(0.5, 0.6), (0.6, 0.5), (0.5, 0.52)])
    assert found.answer.startswith("these folds do not tell")


@pytest.mark.parametrize("rows", [[(100, 1_000)], [(100,), (100,)]])
def test_a_learning_curve_of_one_fold_or_one_size_is_refused(rows: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="two folds and two sizes"):
        growth(rows, [[0.5] * len(some) for some in rows])
