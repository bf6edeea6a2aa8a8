"""The proof over several seeds: mean, interval, verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.proof import Counts, Proof, prove
from embertune.evaluate.retention import Retained
from embertune.evaluate.seeds import cautious, joint, pooled
from tests.evaluate.sets import mean_scores

METRIC = "t_cosine_accuracy"
numbers = st.floats(-1, 1, allow_nan=False).map(lambda value: round(value, 6))
errors = st.floats(0.001, 0.5)


def change_of(difference: float, error: float = 0.01, p: float = 0.5) -> Change:
    """A change whose bootstrap interval says that it has this standard error."""
    return Change(difference, difference - 1.959964 * error, difference + 1.959964 * error, p, 10_000)


def proof_of(gains: Sequence[int], items: int = 400) -> Proof:
    """One seed's: so many items won from the first on, and lost from the last."""
    won, lost = gains
    base, tuned = np.full(items, 0.0), np.full(items, 0.0)
    tuned[:won], base[items - lost :] = 1, 1
    return prove([mean_scores(base)], [mean_scores(tuned)], None, seed=0)


@given(st.lists(numbers, min_size=2, max_size=6), errors, st.integers(2, 5_000))
def test_the_mean_is_in_the_middle_of_an_interval_that_no_order_of_seeds_changes(
    differences: list[float], error: float, groups: int
) -> None:
    found = pooled([change_of(one, error) for one in differences], groups)
    again = pooled([change_of(one, error) for one in reversed(differences)], groups)
    assert found.difference == pytest.approx(np.mean(differences), abs=1e-9)
    assert (found.low + found.high) / 2 == pytest.approx(found.difference, abs=1e-6)
    assert (again.low, again.high) == pytest.approx((found.low, found.high))
    assert 0 <= found.p_value <= 1


@given(st.lists(numbers, min_size=2, max_size=6), errors, st.integers(2, 5_000))
def test_an_interval_that_leaves_out_zero_has_a_p_value_below_five_per_cent_and_the_other_way_round(
    differences: list[float], error: float, groups: int
) -> None:
    found = pooled([change_of(one, error) for one in differences], groups)
    if abs(found.p_value - 0.05) > 1e-6:
        assert found.excludes_zero == (found.p_value < 0.05)


@given(numbers, errors, st.integers(2, 6))
def test_seeds_that_agree_have_the_interval_of_one_of_them(difference: float, error: float, seeds: int) -> None:
    found = pooled([change_of(difference, error)] * seeds, None)
    alone = change_of(difference, error)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=1e-6)


@given(errors, st.floats(0.01, 0.5))
def test_seeds_that_differ_make_the_interval_longer_than_that_of_any_of_them(error: float, apart: float) -> None:
    found = pooled([change_of(-apart, error), change_of(0.0, error), change_of(apart, error)], 1_000)
    assert found.high - found.low > 2 * 1.959964 * error


def test_where_only_seeds_vary_the_interval_is_that_of_student() -> None:
    found = pooled([change_of(one, 0.0) for one in (0.01, 0.02, 0.03)], 300)
    assert found.high - found.difference == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-5)


def test_what_cannot_be_worked_out_stays_so_and_what_never_varies_has_no_interval() -> None:
    nan = float("nan")
    undefined = pooled([Change(nan, nan, nan, nan, 0), change_of(0.1)], 300)
    assert all(map(math.isnan, (undefined.difference, undefined.low, undefined.high, undefined.p_value)))
    same = pooled([change_of(0.1, 0.0, p=0.2), change_of(0.1, 0.0, p=0.3)], 300)
    assert (same.low, same.high, same.p_value) == pytest.approx((0.1, 0.1, 0.3))


def test_the_interval_holds_the_true_change_about_as_often_as_it_says() -> None:
    """Items and seeds drawn by chance, the truth being 0; seeds that differ less, as much, and more than items do."""
    chance, sets, groups = np.random.default_rng(0), 300, 200
    for seeds, spread in ((3, 0.0), (3, 0.03), (3, 0.07), (5, 0.2)):
        held = 0
        for _ in range(sets):
            shared = 0.7 * chance.standard_normal(groups)
            items = shared + 0.4 * chance.standard_normal((seeds, groups)) + spread * chance.standard_normal((seeds, 1))
            errors = items.std(axis=1, ddof=1) / math.sqrt(groups)
            found = pooled([change_of(*one) for one in zip(items.mean(axis=1), errors, strict=True)], groups)
            held += found.low <= 0 <= found.high
        assert 0.93 <= held / sets <= 0.99, (seeds, spread)


# What is concluded


def test_seeds_that_all_gain_are_better_together_and_the_sentence_says_over_how_many() -> None:
    found = joint([proof_of((won, 10)) for won in (60, 64, 57)], "t", "triplets")
    assert found.verdict == "better"
    assert found.sentence.startswith("better: on average over 3 seeds, of 400 test")
    assert found.change[METRIC].by_seed == pytest.approx((0.125, 0.135, 0.1175))
    assert found.change[METRIC].deviation == pytest.approx(np.std([0.125, 0.135, 0.1175], ddof=1))
    assert found.tuned[METRIC] - found.baseline[METRIC] == pytest.approx(found.change[METRIC].change.difference)


def test_seeds_of_which_each_is_better_or_worse_by_itself_are_no_clear_change_together() -> None:
    proofs = [proof_of(gains) for gains in ((90, 10), (10, 60), (70, 10))]
    assert [one.verdict for one in proofs] == ["better", "worse", "better"]
    assert joint(proofs, "t", "triplets").verdict == "no clear change"


def test_few_items_tell_only_where_the_exchange_test_of_every_seed_agrees() -> None:
    agreed = joint([proof_of((12, 0), 60), proof_of((11, 0), 60)], "t", "triplets")
    assert agreed.verdict == "better"
    weak = proof_of((5, 0), 60)
    assert weak.change[METRIC].p_value > 0.05
    found = joint([proof_of((12, 0), 60), proof_of((11, 0), 60), weak], "t", "triplets")
    assert found.verdict == "too few to tell"
    assert found.change[METRIC].change.p_value >= weak.change[METRIC].p_value


def test_a_seed_that_saved_the_base_counts_as_no_change_and_not_as_a_small_set() -> None:
    found = joint([proof_of((60, 10)), proof_of((0, 0))], "t", "triplets")
    assert found.counts == Counts(400, 400, 70)
    assert found.verdict == "no clear change"


def test_without_a_test_set_seeds_are_unmeasured() -> None:
    found = joint([prove([], [], None, seed=0)] * 2, "", "pairs")
    assert (found.verdict, found.primary, found.change) == ("unmeasured", None, {})


def test_a_retention_set_is_lost_only_where_every_seed_says_so() -> None:
    def with_lost(*p_values: float) -> list[Proof]:
        return [
            replace(
                proof_of((60, 10)),
                retention=(Retained("general", "general-retention_m", 240, 0.9, 0.8, change_of(-0.1, p=p)),),
            )
            for p in p_values
        ]

    assert joint(with_lost(0.01, 0.02), "t", "triplets").retention[0].word == "lost"
    assert joint(with_lost(0.01, 0.2), "t", "triplets").retention[0].word == "kept"


def test_the_record_is_json_with_the_mean_first_and_null_for_what_is_undefined() -> None:
    found = joint([proof_of((60, 10)), proof_of((64, 10))], "t", "triplets")
    record = json.loads(json.dumps(found.as_record(), allow_nan=False))
    assert {"difference", "low", "high", "p_value", "by_seed", "deviation"} <= set(record["change"][METRIC])
    assert record["verdict"] == "better"


def test_one_proof_or_proofs_of_different_metrics_are_refused() -> None:
    one, other = proof_of((60, 10)), replace(proof_of((60, 10)), change={})
    for proofs in ([one], [one, other]):
        with pytest.raises(ValueError, match="two proofs or more of the same metrics"):
            joint(proofs, "t", "triplets")


def test_caution_takes_the_largest_p_value() -> None:
    assert cautious(change_of(0.1, p=0.01), [change_of(0.1, p=0.2), change_of(0.1, p=0.001)]).p_value == 0.2
