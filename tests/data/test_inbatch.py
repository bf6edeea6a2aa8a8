from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.groups import group_column
from embertune.data.inbatch import Batches, false_negatives, finding_of_batches
from embertune.data.keyed import keyed
from tests.data.made import few, shaped
from tests.tiny import toy_classes, toy_pairs

APART, MASKED = Batches(8, "distinct", True), Batches(8, "shuffled", True, masked=True)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=25))
@few
def test_the_count_is_that_of_going_through_all_pairs(rows: list[tuple[int, int]]) -> None:
    prepared = shaped([{"anchor": f"question {a}", "positive": f"answer {p}"} for a, p in rows])
    groups = group_column(prepared).tolist()
    false = left = 0
    for i, j in combinations(range(len(rows)), 2):
        texts = rows[i][0] == rows[j][0] or rows[i][1] == rows[j][1]
        false += 2 * (texts or groups[i] == groups[j])
        left += 2 * (groups[i] == groups[j] and not texts)
    found = false_negatives(keyed("train", prepared), APART)
    assert (found.pairs, found.false, found.left) == (len(rows) * (len(rows) - 1), false, left)


def test_the_rate_is_what_random_batches_show() -> None:
    rows = [{"anchor": f"question {i}", "positive": f"answer {i % 40}"} for i in range(400)]
    prepared = shaped(rows)
    finding = finding_of_batches(keyed("train", prepared), APART)
    assert finding is not None
    groups, chance = group_column(prepared), np.random.default_rng(0)
    met = [
        sum(groups[i] == groups[j] for i, j in combinations(chance.choice(400, 8, replace=False), 2)) / 28
        for _ in range(3000)
    ]
    assert finding.share == pytest.approx(float(np.mean(met)), rel=0.1)
    assert finding.of == 400 * 7


def test_batches_of_distinct_texts_leave_those_that_are_equal_but_for_case() -> None:
    rows = toy_pairs(20)
    rows[1]["positive"] = rows[0]["positive"].upper()
    found = false_negatives(keyed("train", shaped(rows)), APART)
    assert (found.false, found.left) == (2, 2)
    assert false_negatives(keyed("train", shaped(rows)), MASKED).left == 0


def test_classes_share_their_class_and_class_batches_leave_nothing() -> None:
    train = keyed("train", shaped(toy_classes(24, classes=4)))
    assert false_negatives(train, Batches(4, "class_pairs", True)).false == 4 * 6 * 5
    finding = finding_of_batches(train, Batches(4, "class_pairs", True))
    assert finding is not None
    assert "share a class" in finding.text
    assert finding.done == "no batch has two of a class, save as a pair"


def test_nothing_is_told_where_rows_of_a_batch_are_no_negatives() -> None:
    train = keyed("train", shaped(toy_pairs(20)))
    assert finding_of_batches(train, Batches(8, "shuffled", False)) is None
    assert finding_of_batches(train, APART) is None, "no two of these rows are alike"
