"""Groups, limits and sides: nothing a model could remember stands on two sides, and new rows move none."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.groups import connected, group_column
from embertune.data.hashing import key
from embertune.data.prepared import Prepared, Sides
from embertune.data.split import dev_share, hold_out, split
from embertune.errors import DataError
from tests.data.made import few, shaped

_pairs = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=30, max_size=80, unique=True)


def pairs(numbers: list[tuple[int, int]], **settings: Any) -> Prepared:
    return shaped([{"anchor": f"question {a}", "positive": f"answer {b}"} for a, b in numbers], **settings)


def distinct(count: int, start: int = 0) -> list[tuple[int, int]]:
    return [(n, n) for n in range(start, start + count)]


def texts(prepared: Prepared | None) -> set[tuple[str, ...]]:
    assert prepared is not None
    return {tuple(row[column] for column in prepared.text_columns) for row in prepared.rows.to_list()}


def sides(of: Sides) -> list[Prepared]:
    return [of.train, *([of.dev] if of.dev else []), *of.tests.values()]


@few
@given(_pairs, st.integers(0, 1000), st.floats(0.1, 0.4), st.floats(0.1, 0.4))
def test_no_group_stands_on_two_sides_and_no_row_is_lost(
    numbers: list[tuple[int, int]], seed: int, dev: float, test: float
) -> None:
    prepared = pairs(numbers)
    try:
        found = sides(split(prepared, dev, test, seed))
    except DataError:
        return
    groups = [set(group_column(side).tolist()) for side in found]
    assert sum(len(group) for group in groups) == len(set.union(*groups))
    assert sum(len(side) for side in found) == len(prepared)


@few
@given(st.integers(0, 1000), st.integers(1, 60))
def test_adding_rows_moves_none(seed: int, more: int) -> None:
    before = split(pairs(distinct(100)), 0.2, 0.2, seed)
    after = split(pairs(distinct(100 + more)), 0.2, 0.2, seed)
    for side, later in zip(sides(before), sides(after), strict=True):
        assert texts(side) <= texts(later)


def test_the_order_of_rows_moves_none() -> None:
    one, two = (split(pairs(rows), 0.2, 0.2, 7) for rows in (distinct(100), distinct(100)[::-1]))
    assert [texts(side) for side in sides(one)] == [texts(side) for side in sides(two)]


def test_dev_does_not_move_when_test_is_given_as_a_file() -> None:
    prepared = pairs(distinct(200))
    alone = split(prepared, 0.2, None, 1)
    beside = split(prepared, 0.2, 0.3, 1)
    assert texts(alone.dev) == texts(beside.dev)


def test_another_seed_is_another_split_of_about_the_same_size() -> None:
    prepared = pairs(distinct(1000))
    first, second = (hold_out(prepared, 0.3, seed)[1] for seed in (0, 1))
    assert texts(first) != texts(second)
    assert all(250 < len(side) < 350 for side in (first, second))


def test_rows_keep_their_order_on_every_side() -> None:
    found = split(pairs(distinct(100)), 0.2, 0.2, 0)
    for side in sides(found):
        numbers = [int(text.split()[1]) for text in side.rows["anchor"][:]]
        assert numbers == sorted(numbers)


def test_sets_given_as_files_are_left_as_they_are() -> None:
    train, other = pairs(distinct(20)), pairs(distinct(9, start=50))
    found = split(train, other, {"mine": other}, 0)
    assert found.train is train
    assert found.dev is other
    assert dict(found.tests) == {"mine": other}
    assert list(split(train, None, other, 0).tests) == ["data"]
    assert split(train, None, None, 0).tests == {}
    assert found.notes == ()


def test_a_split_is_told() -> None:
    note = split(pairs(distinct(100)), 0.2, 0.1, 0).notes[0]
    assert "train" in note.text
    assert note.count > 10


def test_a_side_that_would_be_empty_is_an_error_that_says_so() -> None:
    prepared = pairs([(1, n) for n in range(10)])
    with pytest.raises(DataError, match=r"nothing would be in .* has 1 groups; give more groups, another share"):
        split(prepared, 0.1, None, 0)


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="leave something to train on"):
        split(pairs(distinct(10)), 0.6, 0.4, 0)


@few
@given(st.lists(st.sampled_from("abcdefgh"), min_size=12, max_size=60), st.integers(0, 500))
def test_every_class_keeps_a_text_to_train_on(labels: list[str], seed: int) -> None:
    if len(set(labels)) < 2:
        return
    prepared = shaped([{"text": f"text {n}", "label": label} for n, label in enumerate(labels)])
    try:
        found = split(prepared, 0.3, 0.3, seed)
    except DataError:
        return
    assert set(found.train.rows["label"][:]) == set(range(len(set(labels))))
    groups = [set(group_column(side).tolist()) for side in sides(found)]
    assert sum(len(group) for group in groups) == len(set.union(*groups))


@pytest.mark.parametrize(
    ("groups", "share", "said"),
    [(100, 0.20, "20 % is the most"), (6830, 0.10, "±3 points"), (10**6, 0.05, "5 % is the least")],
)
def test_dev_is_as_large_as_three_points_take_within_5_to_20_percent(groups: int, share: float, said: str) -> None:
    found, reason = dev_share(groups, groups * 2)
    assert found == share
    assert reason.startswith(said)


@few
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(20, 32)), min_size=1, max_size=40))
def test_rows_that_share_a_text_hang_together_and_others_do_not(numbers: list[tuple[int, int]]) -> None:
    left, right = (np.array(column, dtype=np.int64) for column in zip(*numbers, strict=True))
    parent = {value: value for pair in numbers for value in pair}

    def root(value: int) -> int:
        while parent[value] != value:
            value = parent[value]
        return value

    for one, two in numbers:
        low, high = sorted((root(one), root(two)))
        parent[high] = low
    assert connected(left, right).tolist() == [root(one) for one, _ in numbers]


def test_pairs_that_share_a_question_or_an_answer_are_one_group() -> None:
    numbers = [(1, 1), (1, 2), (3, 2), *distinct(30, start=10)]
    groups = group_column(pairs(numbers)).tolist()
    assert len(set(groups[:3])) == 1
    assert len(set(groups)) == 31


def test_when_too_much_hangs_together_rows_are_grouped_by_anchor_and_this_is_told() -> None:
    prepared = pairs([(n, 1) for n in range(10)] + distinct(10, start=50))
    assert prepared.group == "anchor"
    assert len(set(group_column(prepared).tolist())) == 20
    assert "10 of 20 rows hang together" in prepared.notes[0].text


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        (("anchor", "positive", "negative"), "anchor"),
        (("sentence1", "sentence2", "score"), "sentence1"),
        (("sentence1", "sentence2", "label"), "sentence1"),
        (("text", "label"), "text"),
    ],
)
def test_every_shape_has_its_group(columns: tuple[str, ...], rule: str) -> None:
    rows: list[dict[str, Any]] = [
        {name: n % 2 if name in ("score", "label") else f"{name} {n // 2}" for name in columns} for n in range(8)
    ]
    prepared = shaped(rows)
    assert prepared.group == rule
    assert group_column(prepared).tolist() == [key(f"{rule} {n // 2}") for n in range(8)]


def test_a_named_column_makes_the_groups() -> None:
    rows = [{"anchor": f"q {n}", "positive": f"a {n}", "author": n % 3} for n in range(12)]
    prepared = shaped(rows, group="author")
    assert (prepared.group, len(set(group_column(prepared).tolist()))) == ("author", 3)


@pytest.mark.parametrize(
    ("value", "message"),
    [("autor", "no column 'autor'"), ("author", "is null in 1 rows"), ("tags", "holds lists or objects")],
)
def test_a_group_column_must_be_there_and_filled(value: str, message: str) -> None:
    rows = [{"anchor": f"q {n}", "positive": f"a {n}", "author": n or None, "tags": [n]} for n in range(5)]
    with pytest.raises(DataError, match=message):
        shaped(rows, group=value)


@few
@given(_pairs, st.integers(1, 60), st.integers(0, 20), st.integers(0, 100))
def test_a_larger_limit_keeps_all_that_a_smaller_one_kept(
    numbers: list[tuple[int, int]], limit: int, more: int, seed: int
) -> None:
    small, large = (pairs(numbers, limit=n, seed=seed) for n in (limit, limit + more))
    assert len(small) == min(limit, len(numbers))
    assert texts(small) <= texts(large)


@few
@given(_pairs, st.integers(1, 60))
def test_a_limit_does_not_hang_on_the_order_of_rows_and_cuts_one_group_at_most(
    numbers: list[tuple[int, int]], limit: int
) -> None:
    found = pairs(numbers, limit=limit)
    assert texts(found) == texts(pairs(numbers[::-1], limit=limit))
    counts: defaultdict[int, int] = defaultdict(int)
    for group in group_column(pairs(numbers)).tolist():
        counts[group] += 1
    kept = group_column(found).tolist()
    assert sum(kept.count(group) < counts[group] for group in set(kept)) <= 1


def test_a_limit_is_told_and_keeps_the_order_of_the_source() -> None:
    found = pairs(distinct(50), limit=20)
    assert found.notes[-1].count == 30
    numbers = [int(text.split()[1]) for text in found.rows["anchor"][:]]
    assert numbers == sorted(numbers)
