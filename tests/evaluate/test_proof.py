"""The verdict and its sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.proof import Counts, Proof, prove, verdict
from embertune.evaluate.score import Scores, score
from tests.evaluate.sets import Table, mean_scores
from tests.evaluate.test_score import rows_of


def models(wins: int, losses: int, items: int) -> tuple[Scores, Scores]:
    """Tuned wins the first items and loses the next; the rest are even."""
    base, tuned = np.ones(items), np.ones(items)
    base[:wins], tuned[wins : wins + losses] = 0, 0
    return mean_scores(base), mean_scores(tuned)


def proof_of(wins: int, losses: int, items: int) -> Proof:
    base, tuned = models(wins, losses, items)
    return prove([base], [tuned], None, seed=0)


def test_a_clear_gain_is_better_and_the_same_turned_round_is_worse() -> None:
    assert proof_of(60, 10, 400).verdict == "better"
    assert proof_of(10, 60, 400).verdict == "worse"


def test_equal_models_on_enough_items_show_no_clear_change() -> None:
    proof = proof_of(0, 0, 400)
    assert proof.verdict == "no clear change"
    assert proof.change["t_cosine_accuracy"].difference == 0
    assert "as many as before" in proof.sentence


def test_a_small_difference_on_many_items_is_no_clear_change() -> None:
    assert proof_of(21, 19, 1000).verdict == "no clear change"


@pytest.mark.parametrize(("wins", "losses", "items"), [(3, 0, 15), (0, 0, 50), (5, 0, 1000), (10, 4, 150)])
def test_few_items_or_few_discordant_ones_are_too_few_to_tell(wins: int, losses: int, items: int) -> None:
    assert proof_of(wins, losses, items).verdict == "too few to tell"


def test_few_items_tell_where_the_exchange_test_agrees() -> None:
    assert proof_of(12, 0, 60).verdict == "better"


def test_no_test_set_is_unmeasured() -> None:
    proof = prove([], [], None, seed=0)
    assert (proof.verdict, proof.primary, proof.change) == ("unmeasured", None, {})
    assert verdict(None, None) == "unmeasured"


@pytest.mark.parametrize(
    ("low", "high", "p", "groups", "discordant", "expected"),
    [
        (0.01, 0.05, 0.2, 200, 20, "better"),
        (-0.05, -0.01, 0.2, 200, 20, "worse"),
        (-0.01, 0.05, 0.01, 200, 20, "no clear change"),
        (0.01, 0.05, 0.2, 199, 20, "too few to tell"),
        (0.01, 0.05, 0.2, 200, 19, "too few to tell"),
        (0.01, 0.05, 0.04, 199, 19, "better"),
        (-0.01, 0.05, 0.04, 199, 19, "too few to tell"),
        (float("nan"), float("nan"), float("nan"), 500, 300, "too few to tell"),
    ],
)
def test_the_verdict_follows_interval_then_p_value_where_little_was_measured(
    low: float, high: float, p: float, groups: int, discordant: int, expected: str
) -> None:
    change = Change((low + high) / 2, low, high, p, 10_000)
    assert verdict(change, Counts(groups, groups, discordant)) == expected


def test_the_sentence_counts_items_that_are_won() -> None:
    evalset = build_evalset(rows_of("pairs", 300), "faq-test")
    base = score(Table(0), evalset, ["cosine"])
    perfect = Table(1)
    for i in range(300):
        perfect.known[f"two {i}"] = perfect.of(f"one {i}")
    proof = prove([base], [score(perfect, evalset, ["cosine"])], "faq-test_cosine_accuracy@1", seed=0)
    won = 300 - round(base.values["faq-test_cosine_accuracy@1"] * 300)
    assert proof.sentence.startswith(f"better: of 300 test queries {won} more now find their match first (between 29")
    assert proof.counts == Counts(300, 300, won, won, 0, 300 - won)


def test_the_sentence_names_the_direction_where_the_bounds_do_not_share_it() -> None:
    assert proof_of(12, 10, 300).sentence.endswith("(between 7 fewer and 11 more)")
    assert " 1 more now has its positive nearer than its negative " in proof_of(1, 0, 20).sentence
    assert proof_of(0, 40, 300).sentence.startswith("worse: of 300 test triplets 40 fewer now have")


def test_a_metric_without_won_items_is_told_by_its_values() -> None:
    evalset = build_evalset(rows_of("scored", 250), "sts")
    base, tuned = (score(Table(seed), evalset, ["cosine"]) for seed in (0, 1))
    proof = prove([base], [tuned], None, seed=0)
    assert proof.primary == "sts_spearman_cosine"
    assert "Spearman's correlation (cosine) on 250 test pairs" in proof.sentence
    assert f"from {base.values[proof.primary]:.4f} to {tuned.values[proof.primary]:.4f}" in proof.sentence
    assert proof.counts is not None
    assert proof.counts.wins is None


def test_several_sets_stand_side_by_side_and_the_primary_decides_alone() -> None:
    sets = [build_evalset(rows_of(shape, 60), f"{shape}-test") for shape in ("triplets", "labelled")]
    base, tuned = ([score(Table(seed), one, ["cosine", "dot"]) for one in sets] for seed in (0, 1))
    proof = prove(base, tuned, "labelled-test_cosine_ap", seed=0)
    assert set(proof.baseline) == set(proof.tuned) == {metric for one in base for metric in one.values}
    assert set(proof.change) == {metric for one in base for metric in one.comparable}
    assert "average precision (cosine) on 60 test pairs" in proof.sentence


def test_the_record_is_json_with_null_for_what_is_undefined() -> None:
    rows = rows_of("scored", 20)
    evalset = build_evalset(rows, "x")
    flat = {text: np.ones(4, dtype=np.float32) for text in (*evalset.texts["sentence1"], *evalset.texts["sentence2"])}
    base, tuned = score(Table(known=flat), evalset, ["cosine"]), score(Table(), evalset, ["cosine"])
    proof = prove([base], [tuned], None, seed=0)
    record = json.loads(json.dumps(proof.as_record(), allow_nan=False))
    assert record["baseline"]["x_spearman_cosine"] is None
    assert record["change"]["x_spearman_cosine"]["low"] is None
    assert record["verdict"] == "too few to tell"
    assert record["primary"] == "x_spearman_cosine"
    assert "could not be compared" in record["sentence"]


def test_sets_that_do_not_match_and_an_unknown_primary_are_refused() -> None:
    base, tuned = models(1, 0, 20)
    with pytest.raises(ValueError, match="same test sets"):
        prove([base], [], None, seed=0)
    with pytest.raises(ValueError, match="measured were t_cosine_accuracy"):
        prove([base], [tuned], "t_cosine_recall", seed=0)
