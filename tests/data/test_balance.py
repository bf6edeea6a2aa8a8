"""Rows repeated or left out until classes are even: the same rows whatever their order, and nothing else touched."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.data.balance import balanced, class_weights
from embertune.data.prepared import Prepared, Sides
from embertune.errors import DataError
from tests.training.made import prepared

few = settings(max_examples=15, deadline=None)
NAMES = tuple("abcdef")
_labels = st.lists(st.integers(0, 5), min_size=2, max_size=60)


def classes(labels: list[int]) -> Prepared:
    texts = [f"text {number}" for number in range(len(labels))]
    return prepared("classes", {"text": texts, "label": labels, "group": range(len(labels))}, NAMES)


def even(train: Prepared, how: str, seed: int = 0) -> Sides:
    return balanced(Sides(train, None, {}), how, seed)


@few
@given(_labels, st.integers(0, 99))
def test_oversampling_gives_every_class_the_rows_of_the_largest_and_repeats_them_evenly(
    labels: list[int], seed: int
) -> None:
    rows = even(classes(labels), "oversample", seed).train.rows.to_list()
    largest = max(Counter(labels).values())
    assert set(Counter(row["label"] for row in rows).values()) == {largest}
    times = Counter((row["label"], row["text"]) for row in rows)
    assert len(times) == len(labels)
    for label in set(labels):
        mine = [count for (own, _), count in times.items() if own == label]
        assert max(mine) - min(mine) <= 1


@few
@given(_labels, st.integers(0, 99))
def test_undersampling_leaves_as_many_rows_as_the_smallest_class_has(labels: list[int], seed: int) -> None:
    smallest = min(Counter(labels).values())
    if smallest < 2 and len(set(Counter(labels).values())) > 1:
        with pytest.raises(DataError, match=r"undersample would leave 1 row of each class: '[a-f]' has no more"):
            even(classes(labels), "undersample", seed)
        return
    rows = even(classes(labels), "undersample", seed).train.rows.to_list()
    assert set(Counter(row["label"] for row in rows).values()) == {smallest}
    assert len({row["text"] for row in rows}) == len(rows)


@few
@given(_labels, st.sampled_from(["oversample", "undersample"]))
def test_the_order_of_rows_does_not_decide_which_are_taken(labels: list[int], how: str) -> None:
    labels = labels + [0, 0, 1, 1] + sorted(set(labels) - {0, 1}) * 2
    train = classes(labels)
    turned = train.take(train.rows.select(range(len(labels))[::-1]))
    one, two = (Counter(even(each, how).train.rows["text"][:]) for each in (train, turned))
    assert one == two


def test_another_seed_takes_other_rows() -> None:
    train = classes([0] * 50 + [1] * 5)
    one, two = (set(even(train, "undersample", seed).train.rows["text"][:]) for seed in (0, 1))
    assert one != two


def test_what_is_done_is_counted_and_shown() -> None:
    train = classes([0] * 10 + [1] * 4)
    (note,) = even(train, "oversample").notes
    assert note.text == "2 classes of 4 to 10 training rows have 10 each: 6 copies, no row more than 3 times"
    assert (note.stage, note.count) == ("data.balance", 6)
    (note,) = even(train, "undersample").notes
    assert note.text == "2 classes of 4 to 10 training rows have 4 each: 6 of 14 rows are left out"
    kept = set(even(train, "undersample").train.rows["text"][:])
    assert len(note.examples) == 5
    assert not kept & set(note.examples)


@pytest.mark.parametrize("how", ["oversample", "undersample", "batches", "weights"])
def test_even_classes_are_left_alone_and_this_is_told(how: str) -> None:
    train = classes([0, 1] * 7)
    found = even(train, how)
    assert found.train is train
    assert [note.text for note in found.notes] == ["nothing is to be balanced: 2 classes have 7 training rows each"]


def test_dev_and_test_and_rows_without_classes_stay_as_they_are() -> None:
    train, other = classes([0] * 10 + [1] * 4), classes([0, 0, 0, 1])
    found = balanced(Sides(train, other, {"mine": other}), "oversample", 0)
    assert found.dev is other
    assert found.tests["mine"] is other
    pairs = Sides(prepared("pairs", {"anchor": "ab", "positive": "cd", "group": [1, 2]}), None, {})
    assert balanced(pairs, "oversample", 0) is pairs


def test_labels_count_as_classes() -> None:
    columns = {"sentence1": "abcde", "sentence2": "fghij", "label": [1, 0, 0, 0, 0], "group": range(5)}
    found = even(prepared("labelled", columns), "oversample")
    assert Counter(found.train.rows["label"][:]) == {0: 4, 1: 4}
    assert found.notes[0].text.startswith("2 labels of 1 to 4 training rows")


@few
@given(_labels)
def test_weights_are_inverse_to_the_rows_of_a_class_and_one_on_average(labels: list[int]) -> None:
    weights, counts = class_weights(classes(labels)), Counter(labels)
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1.0)
    assert len({round(weights[label] * counts[label], 9) for label in counts}) == 1
    assert len(weights) == len(NAMES)
