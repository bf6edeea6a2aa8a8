"""Strata and folds: every class, label and score bin gives its share, and what joins one stratum leaves the others."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.data.folds import folds
from embertune.data.groups import group_column
from embertune.data.prepared import Prepared
from embertune.data.split import sides_of, split
from embertune.data.strata import SCORE_BINS, lowest_and_highest, strata_of, stratum_numbers
from embertune.errors import DataError
from tests.data.made import shaped
from tests.training.made import prepared

few = settings(max_examples=12, deadline=None)

#: A row is a group and what it says: a class, a label or a tenth of a score.
_rows = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), min_size=20, max_size=120)
_shapes = st.sampled_from(["classes", "labelled", "nli", "scored", "pairs"])
_seeds = st.integers(0, 10_000)
NLI = ("entailment", "neutral", "contradiction")


def made(shape: str, rows: list[tuple[int, int]]) -> Prepared:
    """Rows of a shape, their group given."""
    groups = [group for group, _ in rows]
    texts = [f"text {number}" for number in range(len(rows))]
    columns: dict[str, list[Any]] = {"group": groups}
    if shape == "classes":
        return prepared("classes", columns | {"text": texts, "label": [t for _, t in rows]}, tuple("abcde"))
    if shape == "pairs":
        return prepared("pairs", columns | {"anchor": texts, "positive": texts})
    if shape == "nli":
        return prepared("nli", columns | {"premise": texts, "hypothesis": texts, "label": [t % 3 for _, t in rows]})
    target = ("label", [t % 2 for _, t in rows]) if shape == "labelled" else ("score", [t / 4 for _, t in rows])
    return prepared(shape, columns | {"sentence1": texts, "sentence2": texts, target[0]: target[1]})


def texts(side: Prepared | None) -> set[str]:
    return set() if side is None else {row[side.text_columns[0]] for row in side.rows.to_list()}


def by_class(labels: list[str], **settings: Any) -> Prepared:
    return shaped([{"text": f"text {n} of {label}", "label": label} for n, label in enumerate(labels)], **settings)


def test_no_group_stands_on_two_sides_of_a_thousand_random_splits() -> None:
    chance = np.random.default_rng(0)
    for number in range(100):
        shape = ("classes", "labelled", "nli", "scored", "pairs")[number % 5]
        count = int(chance.integers(20, 200))
        rows = zip(chance.integers(0, 60, count).tolist(), chance.integers(0, 5, count).tolist(), strict=True)
        table = made(shape, list(rows))
        groups = group_column(table)
        for seed in range(10):
            dev, test = chance.uniform(0, 0.49, 2)
            sides = sides_of(table, (float(test), float(dev)), seed, "split")
            assert len(set(zip(groups.tolist(), sides.tolist(), strict=True))) == len(set(groups.tolist()))


@few
@given(_shapes.filter(lambda shape: shape != "pairs"), _rows, _seeds, st.floats(0, 0.5), st.floats(0, 0.49))
def test_every_stratum_gives_its_share_within_one_group(
    shape: str, rows: list[tuple[int, int]], seed: int, test: float, dev: float
) -> None:
    strata = strata_of(made(shape, rows))
    sides = lowest_and_highest(strata, (test, dev), seed, "split")
    for stratum in set(strata.keys.tolist()):
        mine = sides[strata.keys == stratum]
        assert abs((mine == 1).sum() - test * len(mine)) <= 1 + 1e-9
        assert abs((mine == 2).sum() - dev * len(mine)) <= 1 + 1e-9


def test_a_tenth_of_many_small_classes_is_a_tenth_of_all_rows() -> None:
    table = by_class([f"class {n % 150}" for n in range(600)])
    shares = [len(split(table, None, 0.1, seed).tests["data"]) / 600 for seed in range(20)]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.01)


def test_classes_of_130_rows_each_have_13_or_so_in_test_and_not_6_to_21() -> None:
    found = split(by_class([f"class {n % 20}" for n in range(2600)]), 0.1, 0.1, 0)
    for side in (found.dev, found.tests["data"]):
        assert side is not None
        assert set(Counter(side.rows["label"][:]).values()) <= {12, 13, 14}


@few
@given(_shapes, _rows, _seeds)
def test_the_order_of_rows_moves_none(shape: str, rows: list[tuple[int, int]], seed: int) -> None:
    table = made(shape, rows)
    turned = table.take(table.rows.select(range(len(rows))[::-1]))
    try:
        one, two = (split(each, 0.2, 0.2, seed) for each in (table, turned))
    except DataError:
        return
    assert texts(one.train) == texts(two.train)
    assert texts(one.dev) == texts(two.dev)
    parts = [[texts(held) for _, held in folds(each, 3, seed)] for each in (table, turned)]
    assert parts[0] == parts[1]


@few
@given(_seeds, st.integers(1, 40), st.sampled_from(["a", "c", "aa"]))
def test_rows_that_join_one_class_move_nothing_in_the_others(seed: int, more: int, joined: str) -> None:
    """Neither does a class that joins, though it changes the numbers of the others."""
    labels = [*"a" * 30, *"b" * 30, *"c" * 30]
    before, after = (split(by_class(each), 0.2, 0.2, seed) for each in (labels, labels + [joined] * more))
    for side, later in zip(*([found.train, found.dev, found.tests["data"]] for found in (before, after)), strict=True):
        others = {text for text in texts(side) if not text.endswith(f" of {joined}")}
        assert others == {text for text in texts(later) if not text.endswith(f" of {joined}")}


@few
@given(_seeds)
def test_one_row_more_moves_at_most_the_groups_next_to_the_borders(seed: int) -> None:
    before, after = (split(by_class(["b"] * 9 + ["a"] * count), 0.2, 0.2, seed) for count in (60, 61))
    moved = [len(texts(side) - texts(later)) for side, later in ((before.dev, after.dev), (before.train, after.train))]
    assert sum(moved) <= 3


def test_dev_of_a_class_does_not_move_with_the_share_of_test() -> None:
    table = by_class([f"class {n % 9}" for n in range(300)])
    assert texts(split(table, 0.2, None, 1).dev) == texts(split(table, 0.2, 0.3, 1).dev)


def test_a_group_of_several_labels_counts_where_most_of_its_rows_do_and_then_with_the_lowest() -> None:
    rows = [(1, 1), (1, 1), (1, 0), (2, 0), (2, 1), (3, 1)]
    strata = strata_of(made("labelled", rows))
    assert strata.groups.tolist() == [1, 2, 3]
    assert strata.keys[0] == strata.keys[2] != strata.keys[1]


def test_scores_fall_into_fifths_and_one_belongs_to_the_last() -> None:
    table = prepared("scored", {"sentence1": "abcde", "sentence2": "fghij", "score": [0.0, 0.19, 0.2, 0.99, 1.0]})
    assert stratum_numbers(table).tolist() == [0, 0, 1, SCORE_BINS - 1, SCORE_BINS - 1]


def test_classes_too_small_for_a_figure_of_their_own_are_told() -> None:
    notes = split(by_class([*"a" * 200, *"b" * 20, "c"]), None, 0.1, 3).notes
    assert "the same share of every class" in notes[0].text
    assert notes[1].count == 2
    assert notes[1].text.startswith("test: 2 of 3 classes have fewer than 7 groups, 1 of them none;")
    assert len(split(by_class([*"a" * 200, *"b" * 200]), None, 0.1, 3).notes) == 1


@few
@given(_shapes, _rows, _seeds, st.integers(2, 7))
def test_every_group_is_held_out_once_and_folds_differ_by_one_group(
    shape: str, rows: list[tuple[int, int]], seed: int, k: int
) -> None:
    table = made(shape, rows)
    strata = strata_of(table)
    if len(strata.groups) < k:
        return
    found = folds(table, k, seed)
    of_group = dict(zip(strata.groups.tolist(), strata.keys.tolist(), strict=True))
    held = [set(group_column(out).tolist()) for _, out in found]
    assert sorted(group for fold in held for group in fold) == strata.groups.tolist()
    for counted in [*(Counter(of_group[g] for g in fold) for fold in held)], [Counter({0: len(f)}) for f in held]:
        for stratum in set().union(*counted):
            counts = [each[stratum] for each in counted]
            assert max(counts) - min(counts) <= 1
    for train, out in found[:2]:
        assert texts(train) | texts(out) == texts(table)
        assert not texts(train) & texts(out)


def test_another_seed_makes_other_folds_and_the_same_seed_the_same() -> None:
    table = made("pairs", [(n, 0) for n in range(50)])
    first, same, other = ([texts(held) for _, held in folds(table, 5, seed)] for seed in (0, 0, 1))
    assert first == same != other


def test_a_class_of_one_group_is_held_out_and_told() -> None:
    found = folds(by_class([*"aaaaaa", "b", "c"]), 2, 0)
    assert sum(note.count for train, _ in found for note in train.notes if note.stage == "split") == 2


@pytest.mark.parametrize("k", [0, 1, 11])
def test_fewer_than_two_folds_or_more_than_groups_are_refused(k: int) -> None:
    with pytest.raises(DataError, match=f"{k} folds of 10 groups cannot be made; ask for 2 to 10 folds"):
        folds(made("pairs", [(n, 0) for n in range(10)]), k, 0)
