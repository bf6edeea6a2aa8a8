"""The toy rows and the tiny encoder are what the other tests take them for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests import tiny

Load = Callable[[], Any]


def test_every_question_and_every_answer_is_said_once() -> None:
    rows = tiny.toy_pairs(tiny.COMBINATIONS)
    assert len({row["anchor"] for row in rows}) == tiny.COMBINATIONS
    assert len({row["positive"] for row in rows}) == tiny.COMBINATIONS


def test_a_negative_is_never_the_positive() -> None:
    assert all(row["negative"] != row["positive"] for row in tiny.toy_triplets(tiny.COMBINATIONS))


def test_a_scored_half_shares_the_verb_only() -> None:
    for i in (1, 4, 7, 100):
        mine, other = tiny._combination(i), tiny._combination(i + len(tiny.VERBS))
        assert mine[0] == other[0]
        assert mine[1] != other[1]


@pytest.mark.parametrize("rows", [tiny.toy_nli(60), tiny.toy_classes(60)])
def test_labels_are_balanced(rows: tiny.Rows) -> None:
    counts = [sum(row["label"] == label for row in rows) for label in {row["label"] for row in rows}]
    assert min(counts) == max(counts)
    assert len({tuple(row.values()) for row in rows}) == len(rows)


def test_two_fresh_copies_of_the_tiny_model_encode_alike(tiny_model: Load) -> None:
    texts = ["how can i repair the car", "Straße, 12% & naïve!", "中 ☃", ""]
    first, second = tiny_model().encode(texts), tiny_model().encode(texts)
    assert first.shape == (4, 32)
    assert (first == second).all()
