from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from embertune.data.findings import Finding
from embertune.data.keyed import keyed
from embertune.data.likeness import divergence, findings_of_likeness, shares_differ
from embertune.data.texts import read_columns
from tests.data.made import few, shaped
from tests.tiny import COMMON, toy_classes, toy_pairs, toy_scored

Rows = list[dict[str, Any]]


def found(train: Rows, held: Rows) -> dict[str, Finding]:
    ours, theirs = keyed("train", shaped(train)), keyed("dev", shaped(held))
    columns = (read_columns(ours), read_columns(theirs))
    return {one.kind: one for one in findings_of_likeness(ours, theirs, columns, 0)}


def talk(count: int, seed: int, words: int = 12, vocabulary: tuple[int, int] = (0, 200)) -> Rows:
    """Pairs of random words; rare words follow frequent ones as in any language."""
    chance = np.random.default_rng(seed)
    low, high = vocabulary
    weights = 1 / np.arange(1, high - low + 1)
    drawn = chance.choice(np.arange(low, high), size=(count, 2, words), p=weights / weights.sum())
    texts = [[" ".join(COMMON[i] for i in side) + f" {seed} {row}" for side in pair] for row, pair in enumerate(drawn)]
    return [{"anchor": one, "positive": other} for one, other in texts]


def test_a_part_of_the_same_rows_is_like_train() -> None:
    rows = talk(600, 0)
    assert [one.text for one in found(rows[:500], rows[500:]).values()] == ["is like train in lengths and words"]


@given(st.integers(0, 10_000))
@few
def test_whatever_way_one_source_is_cut_the_parts_are_alike(seed: int) -> None:
    rows = talk(400, 1)
    order = np.random.default_rng(seed).permutation(400)
    assert set(found([rows[i] for i in order[:300]], [rows[i] for i in order[300:]])) == {"like_train"}


def test_longer_texts_are_told_with_both_medians() -> None:
    finding = found(talk(300, 0), talk(100, 1, words=18))["other_lengths"]
    assert finding.text.startswith("positive has other lengths than in train: median 20 words against 14 (D 1.00")
    assert finding.count == finding.of == 100


def test_a_difference_that_does_not_matter_is_not_told_however_sure_it_is() -> None:
    ours, theirs = np.array([500_000.0, 500_000.0]), np.array([505_000.0, 495_000.0])
    p, effect = shares_differ(ours, theirs)
    assert p < 1e-9
    assert effect < 0.05


def test_other_words_are_told_and_named_in_the_examples_only() -> None:
    finding = found(talk(400, 0), talk(120, 1, vocabulary=(120, 320)))["other_words"]
    assert "do not stand in a sample of train" in finding.text
    assert COMMON[120] in finding.examples
    assert not any(f" {word} " in finding.text for word in COMMON[125:130])


def test_the_same_words_in_other_shares_are_told_as_such() -> None:
    train, held = talk(400, 0), talk(120, 1)
    for row in held:
        row["positive"] = " ".join([COMMON[0], *row["positive"].split()[:6]] * 2)
    assert "in other shares" in found(train, held)["other_words"].text


def test_class_shares_are_compared_by_name_and_by_a_test() -> None:
    train = toy_classes(600)
    held = [row for row in toy_classes(600, start=600) if row["label"] in ("buy", "close", "repair")]
    finding = found(train, held)["other_labels"]
    assert "50% of the rows would have to change" in finding.text
    assert finding.count == 150
    assert all(": " in example and "in train" in example for example in finding.examples)
    assert "other_labels" not in found(train, toy_classes(300, start=600))


def test_scores_are_compared_as_distributions() -> None:
    held = [row | {"score": min(1.0, row["score"] + 0.4)} for row in toy_scored(90, start=300)]
    assert found(toy_scored(300), held)["other_labels"].text.startswith("scores are spread in another way")


def test_a_handful_of_rows_is_too_few_to_tell() -> None:
    assert list(found(toy_pairs(100), toy_pairs(12, start=150))) == ["too_few_to_compare"]


@pytest.mark.parametrize(
    ("ours", "theirs"), [((400, 300, 80), (60, 90, 20)), ((50, 50), (10, 40)), ((9, 9, 9), (9, 9, 9))]
)
def test_the_test_of_shares_is_the_textbook_one(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    expected = chi2_contingency(np.array([ours, theirs]), correction=False, lambda_="log-likelihood").pvalue
    assert shares_differ(np.array(ours, float), np.array(theirs, float))[0] == pytest.approx(expected)


def test_rare_labels_are_pooled() -> None:
    ours, theirs = np.array([500.0, 500.0, 3.0, 0.0]), np.array([100.0, 100.0, 0.0, 3.0])
    assert shares_differ(ours, theirs)[0] > 0.01


def test_equal_counts_diverge_by_nothing_and_disjoint_ones_by_one_bit() -> None:
    same, other = Counter({"a": 5, "b": 3}), Counter({"c": 4})
    assert divergence([same, same, same])[0].side == pytest.approx(0.0)
    found, most = divergence([same, same, other])
    assert (found.side, found.unseen) == (pytest.approx(1.0), 1.0)
    assert most == ["c"]
