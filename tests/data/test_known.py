"""What is known to be no negative, against a naive reading of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.data.hashing import folded, key
from embertune.data.known import known_of, near_keys
from tests.training.made import prepared

TEXTS = tuple("abcdefgh")
Row = tuple[str, str, str, str, int]
Near = list[tuple[str, str]]


def train_of(rows: list[Row], negatives: int) -> Any:
    names = ("anchor", "positive", "negative", "negative_2")[: 2 + negatives]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return prepared("triplets" if negatives else "pairs", columns | {"group": [row[4] for row in rows]})


def families(near: Near, texts: set[str]) -> dict[str, set[str]]:
    """For every one of the texts, all that hang together with it by near pairs of them, itself included."""
    of = {text: {text} for text in texts}
    for left, right in near:
        if left in of and right in of:
            joined = of[left] | of[right]
            for text in joined:
                of[text] = joined
    return of


def naive(rows: list[Row], batch: list[int], negatives: int, near: Near) -> list[list[bool]]:
    """By the words of the rule, text by text."""
    of = families(near, {text for row in rows for text in row[: 2 + negatives]})
    made = []
    for place, row in enumerate(batch):
        anchor, group = rows[row][0], rows[row][4]
        alike = of[anchor]
        right = alike.union(*(of[r[1]] for r in rows if r[0] in alike))
        own = {anchor} | {r[1] for r in rows if r[0] == anchor}
        line = []
        for column in range(1, 2 + negatives):
            for other, candidate in enumerate(batch):
                if other == place:
                    line.append(column > 1 and rows[candidate][column] in own)
                else:
                    same_group = column == 1 and rows[candidate][4] == group
                    line.append(same_group or rows[candidate][column] in right)
        made.append(line)
    return made


row = st.tuples(*[st.sampled_from(TEXTS)] * 4, st.integers(0, 3))
pairs = st.lists(st.tuples(st.sampled_from((*TEXTS, "elsewhere")), st.sampled_from(TEXTS)), max_size=3)


@settings(deadline=None, max_examples=60)
@given(st.lists(row, min_size=1, max_size=12), st.integers(0, 2), pairs, st.randoms(use_true_random=False))
def test_the_mask_is_that_of_a_naive_double_loop(rows: list[Row], negatives: int, near: Near, chance: Any) -> None:
    batch = chance.sample(range(len(rows)), chance.randint(1, len(rows)))
    keyed = np.array([[key(left, folded), key(right, folded)] for left, right in near], dtype=np.int64).reshape(-1, 2)
    known = known_of(train_of(rows, negatives), keyed)
    assert known.mask(np.array(batch)).tolist() == naive(rows, batch, negatives, near)


@settings(deadline=None, max_examples=60)
@given(st.lists(row, min_size=2, max_size=12), st.integers(0, 2))
def test_what_is_masked_does_not_hang_on_the_order_of_the_rows(rows: list[Row], negatives: int) -> None:
    turned = known_of(train_of(rows[::-1], negatives)).mask(np.arange(len(rows))[::-1].copy())
    assert (known_of(train_of(rows, negatives)).mask(np.arange(len(rows))) == turned).all()


def test_distinct_texts_of_distinct_groups_mask_nothing() -> None:
    rows = [(f"q{i}", f"a{i}", f"n{i}", f"m{i}", i) for i in range(20)]
    assert not known_of(train_of(rows, 2)).mask(np.arange(20)).any()


@pytest.mark.parametrize(
    ("rows", "near", "masked"),
    [
        ([("q", "a", "", "", 0), ("r", "a", "", "", 1)], [], [(0, 1), (1, 0)]),
        ([("q", "a", "", "", 0), ("q", "b", "", "", 1)], [], [(0, 1), (1, 0)]),
        ([("q", "a", "", "", 0), ("a", "b", "", "", 1)], [], [(1, 0)]),
        ([("q", "a", "", "", 0), ("r", "b", "", "", 0)], [], [(0, 1), (1, 0)]),
        ([("q", "a", "", "", 0), ("r", "b", "", "", 1)], [("a", "b")], [(0, 1), (1, 0)]),
        ([("q", "a", "", "", 0), ("r", "b", "", "", 1)], [("q", "r")], [(0, 1), (1, 0)]),
        ([("q", "a", "", "", 0), ("r", "b", "", "", 1)], [("q", "a")], []),
    ],
    ids=[
        "the same positive", "two positives of one anchor", "an anchor as another's positive", "the same group",
        "near positives", "near anchors", "an anchor near its own positive",
    ],
)  # fmt: skip
def test_each_way_of_being_known_masks_the_candidate(rows: list[Row], near: Near, masked: list[Any]) -> None:
    keyed = np.array([[key(left, folded), key(right, folded)] for left, right in near], dtype=np.int64).reshape(-1, 2)
    found = known_of(train_of(rows, 0), keyed).mask(np.arange(2))
    assert [tuple(place) for place in np.argwhere(found).tolist()] == masked


def test_a_labelled_negative_that_is_nearly_the_positive_stays_one() -> None:
    rows = [("q", "it is open", "it is not open", "", 0), ("r", "b", "c", "", 1)]
    near = np.array([[key(t, folded) for t in ("it is open", "it is not open")]])
    assert not known_of(train_of(rows, 1), near).mask(np.arange(2)).any()
    assert known_of(train_of([("q", "a", "a", "", 0), rows[1]], 1)).mask(np.arange(2))[0].tolist() == [
        False, False, True, False,
    ]  # fmt: skip


def test_texts_that_nearly_repeat_each_other_are_found_from_the_threshold_on() -> None:
    long = "the old house by the river was sold to a family from the north last week"
    rows = [("q", long, "", "", 0), ("r", long + " again", "", "", 1), ("s", "something else entirely", "", "", 2)]
    train = train_of(rows, 0)
    wanted = [(False, True, False), (True, False, False), (False, False, False)]
    found = known_of(train, near_keys(train, 0.8)).mask(np.arange(3))
    assert [tuple(line) for line in found.tolist()] == wanted
    assert not known_of(train, near_keys(train, 0.99)).mask(np.arange(3)).any()
    assert near_keys(train, None) is None
