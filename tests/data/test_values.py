"""What columns hold: texts, labels and scores, each wrong value named by its row."""

from __future__ import annotations

from typing import Any

import pytest

from embertune.data.shapes import ShapeSettings, shape
from embertune.data.sources import read
from embertune.errors import DataError
from tests.data.made import PAIRS, shaped


def scored(scores: list[Any]) -> list[dict[str, Any]]:
    return [{"sentence1": f"left {n}", "sentence2": f"right {n}", "score": score} for n, score in enumerate(scores)]


def labelled(labels: list[Any]) -> list[dict[str, Any]]:
    return [{"sentence1": f"left {n}", "sentence2": f"right {n}", "label": label} for n, label in enumerate(labels)]


def classed(labels: list[Any]) -> list[dict[str, Any]]:
    return [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)]


@pytest.mark.parametrize("bad", [None, "", " \t\u00a0"])
def test_empty_and_null_texts_are_counted_and_named_by_row(bad: str | None) -> None:
    rows = [*PAIRS, {"anchor": "x", "positive": bad}, *PAIRS, {"anchor": "y", "positive": bad}]
    with pytest.raises(DataError, match=r"column 'positive' is empty or null in 2 rows \(4, 8\); fill them in"):
        shaped(rows)


def test_of_many_empty_texts_the_first_rows_are_named() -> None:
    rows = [{"anchor": "x", "positive": "" if n % 2 else "y"} for n in range(40)]
    with pytest.raises(DataError, match=r"in 20 rows \(2, 4, 6, 8, 10, …\)"):
        shaped(rows)


def test_a_column_of_nulls_is_empty_text() -> None:
    rows = [{"anchor": "x", "positive": None}, {"anchor": "y", "positive": None}]
    with pytest.raises(DataError):
        shaped(rows, columns={"anchor": "anchor", "positive": "positive"})


@pytest.mark.parametrize("rows", [PAIRS[:1], scored([1.0]), classed(["a"])])
def test_a_single_row_is_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="a single row; nothing can be learned or measured"):
        shaped(rows)


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], None),
        ([0, 1, 1], [0.0, 1.0, 1.0], None),
        ([0, 2.5, 5], [0.0, 0.5, 1.0], "from 0 to 5 divided by 5"),
        ([1.0, 1.5, 4.0], [0.2, 0.3, 0.8], "from 0 to 5 divided by 5"),
        ([0, 5, 10], [0.0, 0.5, 1.0], "from 0 to 10 divided by 10"),
        ([0, 25, 100], [0.0, 0.25, 1.0], "from 0 to 100 divided by 100"),
        ([-1, 0, 1], [0.0, 0.5, 1.0], "from -1 to 1 moved to 0 to 1"),
        (["0.5", "1", "0"], [0.5, 1.0, 0.0], None),
    ],
)
def test_scores_come_to_lie_between_0_and_1_and_a_change_of_scale_is_told(
    given: list[Any], expected: list[float], said: str | None
) -> None:
    prepared = shaped(scored(given))
    assert prepared.rows["score"][:] == pytest.approx(expected)
    assert [note.text for note in prepared.notes if said and said in note.text] or (said is None and not prepared.notes)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.1, float("nan"), 0.2], r"holds nan, no finite number, in 1 row \(2\)"),
        ([0.1, 0.2, float("inf")], r"no finite number, in 1 row \(3\)"),
        ([0.1, None, None], r"no finite number, in 2 rows \(2, 3\)"),
        (["0.1", "high", "0.3"], r"holds 'high', no finite number, in 1 row \(2\)"),
        ([0.1, 0.2, 101], "holds 101 in row 3; scores are 0..1"),
        ([-0.5, 0.2, 3], "goes below 0 and holds 3 in row 3"),
        ([-2, 0.2, 1], "goes below 0 and holds -2 in row 1"),
        ([True, False, True], "no finite number"),
    ],
)
def test_scores_that_are_no_scores_are_named_by_row(scores: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        shaped(scored(scores))


@pytest.mark.parametrize("labels", [[1, 0, 1], [True, False, True], ["1", "0", "1"], ["True", "false", "TRUE"]])
def test_two_labels_are_0_and_1_however_written(labels: list[Any]) -> None:
    assert shaped(labelled(labels)).rows["label"][:] == [1, 0, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (labelled([1, 1, 1]), "every row has the label 1"),
        (classed(["a", "a"]), "every row has the label 'a'"),
        (labelled(["neutral"] * 3), "every row has the label 'neutral'"),
        (labelled([1, None, 0]), r"has no label in 1 row \(2\)"),
        (classed(["a", "", "b", None]), r"has no label in 2 rows \(2, 4\)"),
        (classed([["a"], ["b"], ["a"]]), "holds lists or objects"),
        (classed([0.5, 1.5, 0.5]), "classes are words, whole numbers or true/false"),
        (classed(["x", "y", "z"]), "every row has a label of its own in column 'label'; if they answer the texts"),
    ],
)
def test_labels_nothing_can_be_learned_from_are_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        shaped(rows)


def test_classes_are_numbered_in_the_order_of_their_names() -> None:
    prepared = shaped(classed(["pear", "apple", "pear", "fig"]))
    assert prepared.classes == ("apple", "fig", "pear")
    assert prepared.rows["label"][:] == [2, 0, 2, 1]


def test_dev_and_test_use_the_numbers_of_train_and_new_classes_are_told() -> None:
    source = read(classed(["zinc", "pear", "ant", "pear"]))
    prepared = shape(source, "train", ShapeSettings(), classes=("apple", "pear"))
    assert prepared.classes == ("apple", "pear", "ant", "zinc")
    assert prepared.rows["label"][:] == [3, 1, 2, 1]
    assert (prepared.notes[0].count, prepared.notes[0].examples) == (2, ("ant", "zinc"))


def test_a_dev_set_where_every_row_has_its_own_known_class_is_fine() -> None:
    prepared = shape(read(classed(["a", "b", "c"])), "train", classes=("a", "b", "c"))
    assert prepared.rows["label"][:] == [0, 1, 2]
