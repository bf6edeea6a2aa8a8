"""Repeats: each kind of defect is found where it is, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.data.keyed import Keyed, keyed
from embertune.data.repeats import conflicting, findings_across, findings_of_repeats, shown
from tests.data.made import few, shaped


def held(rows: list[dict[str, Any]], side: str = "train", **chosen: Any) -> Keyed:
    return keyed(side, shaped(rows, **chosen))


def counts(side: Keyed) -> dict[str, int]:
    return {finding.kind: finding.count for finding in findings_of_repeats(side)}


def pair(anchor: str, positive: str) -> dict[str, Any]:
    return {"anchor": anchor, "positive": positive}


def labelled(one: str, two: str, label: int) -> dict[str, Any]:
    return {"sentence1": one, "sentence2": two, "label": label}


def test_clean_rows_have_no_findings() -> None:
    assert counts(held([pair(f"a{n}", f"b{n}") for n in range(10)])) == {}


def test_exact_and_normalised_duplicates_are_counted_apart() -> None:
    rows = [pair("a cat", "miaows"), pair("a cat", "miaows"), pair("A cat!", "miaows"), pair("a dog", "barks")]
    exact, alike = findings_of_repeats(held(rows))
    assert (exact.kind, exact.count, exact.of) == ("exact_duplicates", 1, 4)
    assert (alike.kind, alike.count) == ("normalised_duplicates", 1)
    assert set(alike.examples) == {"A cat! | miaows"}


def test_a_pair_with_two_labels_conflicts_in_either_order() -> None:
    rows = [labelled("a", "b", 1), labelled("B", "a.", 0), labelled("a", "c", 1), labelled("a", "c", 1)]
    side = held(rows)
    assert conflicting(side).tolist() == [True, True, False, False]
    assert counts(side) == {"exact_duplicates": 1, "conflicting_labels": 2}


def test_the_order_of_premise_and_hypothesis_counts() -> None:
    rows = [
        {"premise": one, "hypothesis": two, "label": label}
        for one, two, label in (("a", "b", 0), ("b", "a", 1), ("c", "d", 0), ("c", "D", 2))
    ]
    assert conflicting(held(rows, shape="nli", keep_nli=True)).tolist() == [False, False, True, True]


def test_scores_conflict_from_a_tenth_of_the_scale_on() -> None:
    rows = [
        {"sentence1": one, "sentence2": two, "score": score}
        for one, two, score in (("a", "b", 0.5), ("b", "a", 0.6), ("c", "d", 0.5), ("c", "d", 0.65), ("e", "f", 1.0))
    ]
    assert conflicting(held(rows)).tolist() == [False, False, True, True, False]


def test_one_text_in_two_classes_conflicts() -> None:
    rows = [{"text": text, "label": label} for text, label in (("a", "x"), ("A.", "y"), ("b", "x"), ("c", "y"))]
    side = held(rows)
    assert conflicting(side).tolist() == [True, True, False, False]
    assert set(findings_of_repeats(side)[0].examples) == {"a | x", "A. | y"}


def test_a_triplet_that_teaches_against_itself_or_another_is_found() -> None:
    rows = [
        {"anchor": "a", "positive": "A!", "negative": "x"},
        {"anchor": "b", "positive": "y", "negative": "Y"},
        {"anchor": "c", "positive": "z", "negative": "C"},
        {"anchor": "d", "positive": "right", "negative": "wrong"},
        {"anchor": "D", "positive": "wrong", "negative": "other"},
        {"anchor": "e", "positive": "right", "negative": "wrong"},
    ]
    side = held(rows)
    found = {finding.kind: finding for finding in findings_of_repeats(side)}
    assert {kind: finding.count for kind, finding in found.items()} == {
        "conflicting_labels": 2,
        "anchor_is_positive": 1,
        "positive_is_negative": 1,
        "anchor_is_negative": 1,
    }
    assert found["positive_is_negative"].examples == ("b | y | Y",)
    assert conflicting(side).tolist() == [False, False, False, True, True, False]


def test_whole_rows_on_two_sides_are_told() -> None:
    train = held([pair("a cat", "miaows"), pair("a dog", "barks"), pair("a cow", "moos")])
    test = held([pair("a cat", "miaows"), pair("A DOG", "barks"), pair("a cow", "lows")], "test t")
    exact, alike = findings_across(train, test)
    assert (exact.kind, exact.side, exact.count) == ("exact_duplicates", "train | test t", 1)
    assert (alike.kind, alike.count) == ("normalised_duplicates", 1)
    assert findings_across(train, held([labelled("a", "b", 1), labelled("c", "d", 0)], "dev")) == []


def test_long_texts_are_cut_in_examples() -> None:
    side = held([pair("a " * 500, "b"), pair("a " * 500, "b")])
    assert len(shown(side, np.array([0]))[0]) < 300


TWO = st.sampled_from(["a", "A", "a.", "b", "c"])


@settings(few, max_examples=25)
@given(st.lists(st.tuples(TWO, TWO, st.integers(0, 1)), min_size=2, max_size=10), st.randoms())
def test_the_order_of_rows_never_changes_the_findings(rows: list[tuple[str, str, int]], chance: Any) -> None:
    rows = [*rows, ("p", "q", 0), ("r", "s", 1)]
    found = [
        findings_of_repeats(held([labelled(*row) for row in order])) for order in (rows, chance.sample(rows, len(rows)))
    ]
    assert found[0] == found[1]
