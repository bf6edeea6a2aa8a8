"""Which rows stand together: nothing in a batch that would be a wrong negative, every row once, the same plan again."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.data.prepared import Prepared
from embertune.recipe.losses import LOSSES
from embertune.training.batches import SAMPLERS, Stream, class_groups, class_pairs, distinct, left_out, shuffled
from tests.training.made import prepared

sizes = st.integers(2, 9)
labels = st.lists(st.integers(0, 5), min_size=1, max_size=60)
quick = settings(max_examples=40, deadline=None)


def letters(rows: list[tuple[int, ...]]) -> Prepared:
    """Rows of texts: the same number is the same text, in whichever column it stands."""
    names = ("anchor", "positive", "negative", "negative_2")[: len(rows[0])]
    shape = "pairs" if len(names) == 2 else "triplets"
    columns = zip(*([f"text {code}" for code in row] for row in rows), strict=True)
    return prepared(shape, dict(zip(names, columns, strict=True)))


def texts(columns: int, codes: int) -> Any:
    row = st.tuples(*[st.integers(0, codes)] * columns)
    return st.lists(row, min_size=1, max_size=50).map(letters)


def classes(values: list[int]) -> Prepared:
    return prepared("classes", {"text": [f"row {i}" for i in range(len(values))], "label": values}, tuple("abcdef"))


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


@quick
@given(st.one_of(texts(2, 12), texts(3, 20), texts(4, 30)), sizes, st.integers(0, 3))
def test_no_text_is_asked_for_twice_in_a_batch_nor_is_any_positive_another_rows_negative(
    train: Prepared, size: int, seed: int
) -> None:
    rows = [[row[column] for column in train.text_columns] for row in train.rows]
    batches = distinct(train, size)(seed, 0)
    for batch in batches:
        for one, other in itertools.permutations(batch, 2):
            assert not set(rows[one][:2]) & set(rows[other]), (rows[one], rows[other])
    assert all(2 <= len(batch) <= size for batch in batches)
    assert len(set(flat(batches))) == len(flat(batches))


@quick
@given(st.integers(1, 60), sizes, st.integers(0, 5))
def test_rows_of_different_texts_all_stand_in_a_batch_once(rows: int, size: int, epoch: int) -> None:
    train = letters([(2 * i, 2 * i + 1) for i in range(rows)])
    for sampler in (distinct, shuffled):
        batches = sampler(train, size)(0, epoch)
        alone = 1 if rows == 1 or (size == 2 and rows % 2) else 0
        assert len(flat(batches)) == len(set(flat(batches))) == rows - alone
        assert all(2 <= len(batch) <= size for batch in batches)
        assert len(batches) <= -(-rows // size)


@quick
@given(labels, sizes, st.integers(0, 3))
def test_a_batch_of_class_pairs_has_one_pair_of_each_class_and_no_row_with_itself(
    values: list[int], size: int, epoch: int
) -> None:
    batches = class_pairs(classes(values), size)(0, epoch)
    for batch in batches:
        pairs = list(zip(batch[::2], batch[1::2], strict=True))
        assert 2 <= len(pairs) <= size
        assert all(values[anchor] == values[partner] and anchor != partner for anchor, partner in pairs)
        assert len({values[anchor] for anchor, _ in pairs}) == len(pairs)
    anchors = [row for batch in batches for row in batch[::2]]
    assert len(set(anchors)) == len(anchors)


def test_every_row_of_balanced_classes_is_an_anchor_once_and_has_another_partner_in_every_pass() -> None:
    values = [i % 6 for i in range(60)]
    plan = class_pairs(classes(values), 6)
    partners: dict[int, set[int]] = {}
    for epoch in range(5):
        batches = plan(0, epoch)
        assert sorted(row for batch in batches for row in batch[::2]) == list(range(60))
        for batch in batches:
            for anchor, partner in zip(batch[::2], batch[1::2], strict=True):
                partners.setdefault(anchor, set()).add(partner)
    assert all(len(found) >= 2 for found in partners.values())


@quick
@given(labels, st.integers(4, 24), st.integers(0, 3))
def test_a_batch_of_class_groups_has_two_rows_or_more_of_two_classes_or_more(
    values: list[int], size: int, epoch: int
) -> None:
    batches = class_groups(classes(values), size)(0, epoch)
    for batch in batches:
        counts = np.bincount([values[row] for row in batch])
        assert (counts > 0).sum() >= 2
        assert counts[counts > 0].min() >= 2
        assert len(batch) <= size
    assert len(set(flat(batches))) == len(flat(batches))


@quick
@given(st.sampled_from(sorted(SAMPLERS)), labels, st.integers(4, 9), st.integers(0, 99))
def test_the_same_seed_gives_the_same_plan(sampler: Any, values: list[int], size: int, seed: int) -> None:
    train = classes(values) if sampler.startswith("class") else letters([(i, 100 + i) for i in range(len(values))])
    assert SAMPLERS[sampler](train, size)(seed, 1) == SAMPLERS[sampler](train, size)(seed, 1)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_another_seed_and_another_pass_give_another_order(sampler: Any) -> None:
    train = (
        classes([i % 6 for i in range(60)])
        if sampler.startswith("class")
        else letters([(i, 100 + i) for i in range(60)])
    )
    plan = SAMPLERS[sampler](train, 8)
    assert plan(0, 0) != plan(0, 1)
    assert plan(0, 0) != plan(1, 0)


@quick
@given(st.integers(0, 40), st.integers(1, 40))
def test_a_stream_that_begins_later_is_the_end_of_the_whole(start: int, batches: int) -> None:
    plan = distinct(letters([(i, 100 + i) for i in range(30)]), 4)
    whole = list(Stream(plan, 3, batches))
    assert len(whole) == len(Stream(plan, 3, batches)) == batches
    if start <= batches:
        late = Stream(plan, 3, batches, start)
        assert list(late) == whole[start:]
        assert len(late) == batches - start


def test_a_stream_goes_through_the_passes_in_order() -> None:
    plan = shuffled(letters([(i, 100 + i) for i in range(10)]), 4)
    assert list(Stream(plan, 0, 5)) == plan(0, 0) + plan(0, 1)[:2]


def test_one_anchor_in_every_row_makes_no_batch_and_takes_no_time() -> None:
    train = letters([(0, i + 1) for i in range(20_000)])
    started = time.process_time()
    assert distinct(train, 64)(0, 0) == []
    assert time.process_time() - started < 5


def test_an_anchor_in_half_of_the_rows_stands_in_every_batch_once() -> None:
    train = letters([(0 if i % 2 else i, 50_000 + i) for i in range(4_000)])
    batches = distinct(train, 64)(0, 0)
    assert all(sum(row % 2 for row in batch) <= 1 for batch in batches)
    assert sum(row % 2 for row in flat(batches)) == len(batches)


def test_classes_of_one_row_each_make_no_batch() -> None:
    assert class_pairs(classes([0, 1, 2, 3]), 4)(0, 0) == []
    assert class_groups(classes([0, 1, 2, 3]), 4)(0, 0) == []


def test_rows_that_stay_out_are_counted_and_shown() -> None:
    train = letters([(0, 10), (0, 11), (0, 12), (1, 13), (2, 14)])
    first = distinct(train, 3)(0, 0)
    (note,) = left_out(train, "distinct", first)
    missing = set(range(5)) - set(flat(first))
    assert note.count == len(missing) > 0
    assert note.text == (
        f"{len(missing)} of 5 training rows stay out of the first pass: "
        "every batch already had one of their texts, which may stand in it once"
    )
    assert set(note.examples) == {f"{train.rows[row]['anchor']} | {train.rows[row]['positive']}" for row in missing}


def test_nothing_is_told_where_every_row_takes_part() -> None:
    train = letters([(i, 100 + i) for i in range(33)])
    assert left_out(train, "distinct", distinct(train, 4)(0, 0)) == ()


def test_a_class_of_one_row_is_told() -> None:
    train = classes([0, 0, 1, 1, 2, 2, 3, 3, 4])
    for sampler, size in (("class_pairs", 4), ("class_groups", 6)):
        (note,) = left_out(train, sampler, SAMPLERS[sampler](train, size)(0, 0))
        assert note.examples == ("row 8",)
        assert note.text.startswith("1 of 9 training rows stay out of the first pass: their class has no other row")


def test_every_sampler_of_the_loss_table_is_built() -> None:
    assert {sampler for row in LOSSES.values() for sampler in row.samplers.values()} == set(SAMPLERS)
