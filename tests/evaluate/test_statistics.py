"""A statistic on weighted items is the plain statistic on items repeated that often."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, precision_score, recall_score

from embertune.evaluate.resampling import bootstrap, exchange
from embertune.evaluate.statistic import KINDS, KindName, Linear, Statistic, mean_of

REFERENCE = {
    "mean": lambda truth, values: float(np.mean(values)),
    "pearson": lambda truth, values: float(pearsonr(truth, values)[0]),
    "spearman": lambda truth, values: float(spearmanr(truth, values)[0]),
    "average_precision": lambda truth, values: float(average_precision_score(truth, values)),
    "precision": lambda truth, values: float(precision_score(truth, values, zero_division=0)),
    "recall": lambda truth, values: float(recall_score(truth, values, zero_division=0)),
    "f1": lambda truth, values: float(f1_score(truth, values, zero_division=0)),
    "mcc": lambda truth, values: float(matthews_corrcoef(truth, values)),
}
BINARY_TRUTH = {"average_precision", "precision", "recall", "f1", "mcc"}
BINARY_VALUES = {"precision", "recall", "f1", "mcc"}


def weighted(kind: KindName, truth: np.ndarray, values: np.ndarray, weights: np.ndarray) -> float:
    row = KINDS[kind]
    if isinstance(row, Linear):
        return float(row.finish(weights @ row.terms(truth, values))[0])
    return float(row.evaluate(row.prepare(truth, weights), values[None, :], weights)[0])


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40)
@given(items=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 3)), min_size=3, max_size=14))
def test_a_weight_is_a_number_of_copies(kind: KindName, items: list[tuple[int, int, int]]) -> None:
    told, values, weights = (np.array(column, dtype=np.float64) for column in zip(*items, strict=True))
    truth = (told > 1).astype(np.float64) if kind in BINARY_TRUTH else told
    said = (values > 3).astype(np.float64) if kind in BINARY_VALUES else values
    copies = np.repeat(np.arange(len(items)), weights.astype(int))
    if not len(copies):
        return
    ours = weighted(kind, truth, said, weights[None, :])
    if kind == "average_precision" and not truth[copies].any():
        assert np.isnan(ours)
        return
    if kind in ("pearson", "spearman") and min(len(set(truth[copies])), len(set(said[copies]))) < 2:
        assert np.isnan(ours)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = REFERENCE[kind](truth[copies], said[copies])
    assert ours == pytest.approx(expected, abs=1e-9)
    assert Statistic(kind, truth[copies], (said[copies],)).value() == pytest.approx(expected, abs=1e-9)


def test_the_largest_of_several_similarities_passes_over_undefined_ones() -> None:
    truth = np.array([0.0, 1.0, 2.0])
    flat, good = np.zeros(3), np.array([1.0, 2.0, 3.0])
    assert Statistic("spearman", truth, (flat, good)).value() == 1
    assert np.isnan(Statistic("spearman", truth, (flat,)).value())


@pytest.mark.parametrize("groups", [150, 3000])
def test_resamples_of_a_mean_scatter_as_theory_says(groups: int) -> None:
    """Both ways of drawing: with replacement, and counts on their own beyond 2,000 groups."""
    generator = np.random.default_rng(0)
    place = np.repeat(np.arange(groups), 2)
    items = generator.normal(size=groups).repeat(2) + 0.3
    drawn = bootstrap([mean_of(items)], place, 4000, seed=1)[0]
    assert drawn.mean() == pytest.approx(items.mean(), abs=4 * drawn.std() / 4000**0.5 + 1e-6)
    assert drawn.std() == pytest.approx(items.std() / groups**0.5, rel=0.05)
    flipped = exchange([(mean_of(np.zeros_like(items)), mean_of(items))], place, 4000, seed=1)[0]
    assert flipped.mean() == pytest.approx(0, abs=4 * flipped.std() / 4000**0.5)
    assert flipped.std() == pytest.approx(np.sqrt(np.mean(items**2) / groups), rel=0.05)


@pytest.mark.parametrize("groups", [40, 2500])
def test_all_statistics_of_a_call_see_the_same_resamples(groups: int) -> None:
    generator = np.random.default_rng(0)
    truth, items = (generator.random(groups) > 0.5).astype(np.float64), generator.random(groups)
    place = np.arange(groups)
    together = bootstrap([mean_of(items), Statistic("f1", truth, (truth,)), mean_of(items * 2)], place, 50, seed=3)
    alone = bootstrap([mean_of(items * 2)], place, 50, seed=3)[0]
    assert np.allclose(together[0] * 2, together[2], rtol=1e-5)
    assert np.allclose(together[2], alone, rtol=1e-5)
    assert set(together[1]) == {1.0}


def test_models_on_different_scales_can_change_places() -> None:
    """A model whose similarities are a thousand times another's, in the same order, is no different under Spearman."""
    generator = np.random.default_rng(0)
    truth, values = generator.random(60), generator.random(60)
    for kind in ("spearman", "pearson"):
        pair = (Statistic(kind, truth, (values,)), Statistic(kind, truth, (values * 1000 + 5,)))
        assert np.allclose(exchange([pair], np.arange(60), 200, seed=0)[0], 0, atol=1e-12)
