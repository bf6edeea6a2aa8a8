"""The paired interval and its p-value: right where the truth is known, repeatable, wider where items depend."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from embertune.evaluate.bootstrap import EXACT, Change, _pair, exact_p, holm, paired, paired_all
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.resampling import exchange
from embertune.evaluate.score import Scores, score
from embertune.evaluate.similarity import SIMILARITIES
from tests.evaluate.sets import Table, mean_scores
from tests.evaluate.test_score import rows_of

METRIC = "t_cosine_accuracy"


def two_models(items: int, gain: float, seed: int) -> tuple[Scores, Scores]:
    """Items of 0 and 1 that are correlated between the models; tuned is right `gain` more often."""
    generator = np.random.default_rng(seed)
    base = generator.random(items) < 0.6
    redrawn = generator.random(items) < 0.3
    tuned = np.where(redrawn, generator.random(items) < 0.6 + gain / 0.3, base)
    return mean_scores(base), mean_scores(tuned)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        change = paired(*two_models(300, 0.05, seed), METRIC, seed, resamples=1000)
        covered += change.low <= 0.05 <= change.high
    assert 180 <= covered <= 199


def test_chance_alone_is_called_significant_about_as_often_as_it_says() -> None:
    called = sum(paired(*two_models(300, 0, seed), METRIC, seed, resamples=1000).p_value < 0.05 for seed in range(200))
    assert 2 <= called <= 22


def test_equal_scores_have_no_difference_and_no_doubt() -> None:
    base, _ = two_models(300, 0, 0)
    change = paired(base, base, METRIC, 0, resamples=500)
    assert (change.difference, change.low, change.high, change.p_value) == (0, 0, 0, 1)


def test_base_and_tuned_swapped_turn_the_change_round() -> None:
    base, tuned = two_models(400, 0.1, 0)
    there, back = paired(base, tuned, METRIC, 0, 2000), paired(tuned, base, METRIC, 0, 2000)
    assert (there.difference, there.low, there.high) == pytest.approx((-back.difference, -back.high, -back.low))
    assert there.p_value == back.p_value


@pytest.mark.parametrize("items", [300, 2500])
def test_copies_of_items_narrow_nothing_when_they_share_a_group(items: int) -> None:
    base, tuned = two_models(items, 0.05, 1)
    four = [mean_scores(np.repeat(one.items[METRIC], 4), np.repeat(np.arange(items), 4)) for one in (base, tuned)]
    naive = [mean_scores(one.items[METRIC]) for one in four]
    once, clustered, fooled = (paired(*pair, METRIC, 0, 2000) for pair in ((base, tuned), four, naive))
    assert clustered.high - clustered.low == pytest.approx(once.high - once.low, rel=0.05)
    assert clustered.high - clustered.low > 1.7 * (fooled.high - fooled.low)
    assert clustered.p_value >= fooled.p_value


def test_the_same_seed_gives_the_same_change_and_another_seed_another() -> None:
    base, tuned = two_models(300, 0.05, 0)
    assert paired(base, tuned, METRIC, 7, 500) == paired(base, tuned, METRIC, 7, 500)
    assert paired(base, tuned, METRIC, 7, 500) != paired(base, tuned, METRIC, 8, 500)


def test_a_p_value_is_never_zero() -> None:
    clear = paired(mean_scores(np.zeros(300)), mean_scores(np.ones(300)), METRIC, 0, resamples=100)
    assert clear.p_value == pytest.approx(1 / 101)


def test_the_order_of_items_and_the_names_of_groups_do_not_matter_to_the_difference() -> None:
    base, tuned = two_models(300, 0.05, 0)
    names = np.random.default_rng(0).permutation(2**62 - np.arange(300) * 10**9)
    renamed = [mean_scores(one.items[METRIC], names) for one in (base, tuned)]
    there, here = paired(base, tuned, METRIC, 0, 4000), paired(*renamed, METRIC, 0, 4000)
    assert here.difference == there.difference
    assert here.low == pytest.approx(there.low, abs=0.01)
    assert here.high == pytest.approx(there.high, abs=0.01)


@pytest.mark.parametrize("shape", ["scored", "labelled", "triplets", "pairs"])
def test_every_metric_of_a_shape_gets_an_interval_around_its_difference(shape: str) -> None:
    evalset = build_evalset(rows_of(shape, 120), "x")
    base, tuned = (score(Table(seed), evalset, list(SIMILARITIES)) for seed in (0, 1))
    changes = paired_all(base, tuned, base.comparable, seed=0, resamples=400)
    assert list(changes) == list(base.comparable)
    for metric, change in changes.items():
        assert change.difference == pytest.approx(tuned.values[metric] - base.values[metric])
        assert change.low <= change.difference <= change.high, metric
        assert 0 < change.p_value <= 1
        assert change.resamples == 400
        alone = paired(base, tuned, metric, 0, 400)
        assert (alone.low, alone.high) == pytest.approx((change.low, change.high), abs=1e-6)
        assert alone.p_value == pytest.approx(change.p_value, abs=0.01)


def test_a_better_correlation_is_seen() -> None:
    generator = np.random.default_rng(0)
    rows = rows_of("scored", 300)
    gold = np.array(rows.rows["score"])
    evalset = build_evalset(rows, "x")
    tables = []
    for noise in (2.0, 0.5):
        known = {f"one {i}": np.array([1, 0], dtype=np.float32) for i in range(300)}
        angle = np.pi * (1 - gold) + generator.normal(0, noise, 300)
        known |= {f"two {i}": np.array([np.cos(a), np.sin(a)], dtype=np.float32) for i, a in enumerate(angle)}
        tables.append(Table(known=known))
    base, tuned = (score(table, evalset, ["cosine", "dot"]) for table in tables)
    for metric in ("x_spearman_cosine", "x_spearman_max", "x_pearson_cosine"):
        change = paired(base, tuned, metric, 0, 1000)
        assert change.low > 0.1
        assert change.p_value < 0.01


def test_scores_of_different_sets_and_metrics_that_are_not_there_are_refused() -> None:
    base, _ = two_models(300, 0, 0)
    with pytest.raises(ValueError, match="not the same set"):
        paired(base, two_models(200, 0, 0)[0], METRIC, 0)
    with pytest.raises(ValueError, match="t_nothing cannot be compared"):
        paired(base, base, "t_nothing", 0)


@given(st.integers(0, 12), st.integers(0, 12))
def test_few_items_that_are_won_or_lost_have_the_p_value_of_the_sign_test(wins: int, losses: int) -> None:
    differences = np.array([1.0] * wins + [-1.0] * losses + [0.0] * 40)
    found = exact_p(differences)
    if wins + losses > EXACT:
        assert found is None
    else:
        expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
        assert found == pytest.approx(expected)


def test_exact_and_drawn_p_values_agree_and_groups_count_once() -> None:
    base, tuned = np.zeros(300), np.zeros(300)
    generator = np.random.default_rng(4)
    changed = generator.choice(300, 18, replace=False)
    tuned[changed] = generator.normal(0.3, 1.0, 18)
    one, other = mean_scores(base), mean_scores(tuned)
    change = paired(one, other, METRIC, 0, resamples=20_000)
    (drawn,) = exchange([_pair(one, other, METRIC)], one.groups, 20_000, seed=1)
    assert change.p_value == pytest.approx(np.mean(np.abs(drawn) >= abs(change.difference) - 1e-12), abs=0.01)
    twice = [mean_scores(np.repeat(side, 2), np.repeat(np.arange(300), 2)) for side in (base, tuned)]
    assert paired(*twice, METRIC, 0, 500).p_value == pytest.approx(change.p_value)


@given(st.lists(st.one_of(st.floats(0.0001, 1.0), st.just(float("nan"))), min_size=1, max_size=30))
def test_holm_is_never_below_the_single_value_nor_out_of_order_and_leaves_the_primary_alone(
    values: list[float],
) -> None:
    changes = {f"m{place}": Change(0.1, 0.0, 0.2, value, 1000) for place, value in enumerate(values)}
    found = holm(changes, "m0")
    assert found["m0"].p_adjusted is None
    told = [change for name, change in found.items() if name != "m0" and np.isfinite(change.p_value)]
    assert all(change.p_value <= change.p <= min(1.0, len(told) * change.p_value) + 1e-12 for change in told)
    by_single = sorted(told, key=lambda change: change.p_value)
    assert all(low.p <= high.p for low, high in pairwise(by_single))
    if told:
        assert by_single[0].p == pytest.approx(min(1.0, len(told) * by_single[0].p_value))


def test_holm_as_worked_out_by_hand() -> None:
    changes = {
        name: Change(0.1, 0.0, 0.2, p, 1000) for name, p in {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}.items()
    }
    found = holm({**changes, "first": Change(0.1, 0.0, 0.2, 0.001, 1000)}, "first")
    assert {name: round(found[name].p, 6) for name in changes} == {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
