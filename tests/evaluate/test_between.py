"""The standard error of a change between two looks at the same items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.prepared import ShapeName
from embertune.evaluate.between import between, said
from embertune.evaluate.bootstrap import paired
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.metrics import EVALUATORS
from embertune.evaluate.score import Scores, score
from embertune.evaluate.similarity import SIMILARITIES
from tests.evaluate.sets import Table, mean_scores
from tests.evaluate.test_score import rows_of

METRIC = "t_cosine_accuracy"


def error(before: Scores, after: Scores, metric: str) -> float:
    return between(before, metric)(said(before, metric), said(after, metric))


def test_for_a_mean_it_is_the_textbook_one_of_the_differences_and_grows_with_dependent_items() -> None:
    before, after = np.random.default_rng(0).random((2, 400))
    alone = error(mean_scores(before), mean_scores(after), METRIC)
    assert alone == pytest.approx((after - before).std(ddof=1) / 20, rel=1e-9)
    groups = np.repeat(np.arange(400), 4)
    copied = [mean_scores(np.repeat(items, 4), groups) for items in (before, after)]
    assert error(copied[0], copied[1], METRIC) == pytest.approx(alone, rel=1e-9)
    assert np.isnan(error(mean_scores([1.0, 0.0], [3, 3]), mean_scores([0.0, 0.0], [3, 3]), METRIC))


def test_two_looks_that_mostly_agree_tell_a_smaller_change_apart_than_two_that_do_not() -> None:
    generator = np.random.default_rng(1)
    right = generator.random(500) < 0.8
    near, far = right.copy(), generator.random(500) < 0.8
    near[:10] = ~near[:10]
    base, *others = (mean_scores(items.astype(float)) for items in (right, near, far))
    assert error(base, others[0], METRIC) < error(base, others[1], METRIC) / 3


@pytest.mark.parametrize("shape", EVALUATORS)
def test_every_metric_has_one_and_it_is_zero_between_a_look_and_itself(shape: ShapeName) -> None:
    evalset = build_evalset(rows_of(shape), "x-dev")
    before, after = (score(Table(seed), evalset, list(SIMILARITIES)) for seed in (0, 1))
    for metric in before.comparable:
        assert error(before, before, metric) == 0.0
        assert 0 <= error(before, after, metric) < 1, metric
    headline = before.headline
    assert error(before, after, headline) > 0


@pytest.mark.parametrize("metric", ["x_spearman_cosine", "x_pearson_cosine"])
def test_for_a_correlation_it_agrees_with_the_interval_that_the_proof_gives(metric: str) -> None:
    evalset = build_evalset(rows_of("scored", 300), "x")
    before, after = (score(Table(seed, width=8), evalset, ["cosine"]) for seed in (0, 1))
    change = paired(before, after, metric, seed=3, resamples=2000)
    assert error(before, after, metric) == pytest.approx((change.high - change.low) / 3.92, rel=0.2)
    assert error(before, after, metric) == error(before, after, metric)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=30))
def test_the_order_of_the_two_looks_does_not_matter(pairs: list[tuple[float, float]]) -> None:
    before, after = (mean_scores(items) for items in zip(*pairs, strict=True))
    assert error(before, after, METRIC) == pytest.approx(error(after, before, METRIC), abs=1e-12)
