"""How rows become sets to score: what counts as one text, one document, one query, one group."""

from __future__ import annotations

import numpy as np
import pytest

from embertune.errors import DataError
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.score import score
from tests.evaluate.sets import Table, corpus, prepared


def unit(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_each_distinct_text_of_a_role_is_encoded_once() -> None:
    rows = prepared("triplets", {"anchor": ["a", "a", "b"], "positive": ["p", "q", "p"], "negative": ["n", "n", "p"]})
    table = Table()
    evalset = build_evalset(rows, "x")
    score(table, evalset, ["cosine", "dot"])
    assert table.asked == [("anchor", ("a", "b")), ("positive", ("p", "q")), ("negative", ("n", "p"))]
    assert evalset.texts_to_encode == 6


def test_a_positive_must_beat_every_negative_that_is_there() -> None:
    known = {"a": unit(1, 0), "p": unit(1, 0.5), "near": unit(1, 0.1), "far": unit(0, 1)}
    columns = {
        "anchor": ["a"] * 4,
        "positive": ["p"] * 4,
        "negative": ["far", "far", "near", "far"],
        "negative_2": ["far", "near", "far", None],
    }
    scores = score(Table(known=known), build_evalset(prepared("triplets", columns), "x"), ["cosine"])
    assert scores.items["x_cosine_accuracy"].tolist() == [1, 0, 0, 1]


def test_a_positive_as_near_as_the_negative_does_not_win() -> None:
    columns = {"anchor": ["a"], "positive": ["same"], "negative": ["same"]}
    scores = score(Table(), build_evalset(prepared("triplets", columns), "x"), ["cosine", "dot", "euclidean"])
    assert scores.values["x_max_accuracy"] == 0


def test_identical_positives_are_one_document_and_repeated_anchors_one_query() -> None:
    columns = {"anchor": ["q", "r", "q", "q"], "positive": ["d", "d", "e", "d"], "group": [7, 8, 7, 7]}
    evalset = build_evalset(prepared("pairs", columns), "x")
    assert evalset.texts == {"anchor": ("q", "r"), "positive": ("d", "e")}
    assert evalset.relevant is not None
    assert [evalset.relevant.of(i).tolist() for i in range(2)] == [[0, 1], [0]]
    assert evalset.groups.tolist() == [7, 8]
    assert evalset.item(0) == {"anchor": ("q",), "positive": ("d", "e")}


def test_a_corpus_document_counts_as_found_under_whichever_id_its_text_was_judged() -> None:
    known = {"q": unit(1, 0), "same": unit(1, 0.1), "other": unit(0, 1)}
    rows = prepared(
        "retrieval",
        {"anchor": ["q"], "positive": ["same"], "query_id": ["1"], "doc_id": ["d00002"]},
        corpus=corpus(["same", "other", "same"]),
    )
    evalset = build_evalset(rows, "x")
    scores = score(Table(known=known), evalset, ["cosine"])
    assert len(evalset.texts["positive"]) == 2
    assert scores.values["x_cosine_accuracy@1"] == scores.values["x_cosine_recall@1"] == 1


def test_a_judged_document_outside_the_corpus_is_an_error() -> None:
    rows = prepared(
        "retrieval",
        {"anchor": ["q"], "positive": ["d"], "query_id": ["1"], "doc_id": ["elsewhere"]},
        corpus=corpus(["d"]),
    )
    with pytest.raises(DataError, match="elsewhere"):
        build_evalset(rows, "x")


def test_a_class_is_that_of_the_nearest_training_row_and_a_text_seen_there_finds_itself() -> None:
    known = {"cat": unit(1, 0), "dog": unit(0, 1), "kitten": unit(1, 0.2), "odd": unit(1, 0.9)}
    train = prepared("classes", {"text": ["cat", "dog"], "label": [0, 1]}, classes=("c", "d"))
    test = prepared("classes", {"text": ["kitten", "dog", "odd"], "label": [0, 1, 1]}, classes=("c", "d"))
    scores = score(Table(known=known), build_evalset(test, "x", train), ["cosine"])
    assert scores.items["x_cosine_accuracy"].tolist() == [1, 1, 0]
    assert scores.values["x_cosine_macro_accuracy"] == pytest.approx((1 + 1 / 2) / 2)


def test_without_a_reference_no_row_is_its_own_neighbour_but_its_copy_is() -> None:
    known = {"a": unit(1, 0), "b": unit(1, 0.1), "c": unit(0, 1)}
    rows = prepared("classes", {"text": ["a", "b", "c", "c"], "label": [0, 1, 2, 2]})
    scores = score(Table(known=known), build_evalset(rows, "x"), ["cosine", "manhattan"])
    assert scores.items["x_cosine_accuracy"].tolist() == [0, 0, 1, 1]
    assert scores.items["x_manhattan_accuracy"].tolist() == [0, 0, 1, 1]


def test_equally_near_rows_go_by_their_order_in_the_reference() -> None:
    known = {text: unit(1, 0) for text in ("first", "second", "asked")}
    train = prepared("classes", {"text": ["first", "second"], "label": [1, 0]})
    test = prepared("classes", {"text": ["asked"], "label": [1]})
    assert score(Table(known=known), build_evalset(test, "x", train), ["dot"]).values["x_dot_accuracy"] == 1


def test_classes_are_matched_by_name_where_two_files_number_them_differently() -> None:
    known = {"cat": unit(1, 0), "dog": unit(0, 1), "kitten": unit(1, 0.2)}
    train = prepared("classes", {"text": ["cat", "dog"], "label": [0, 1]}, classes=("cats", "dogs"))
    test = prepared("classes", {"text": ["kitten"], "label": [1]}, classes=("dogs", "cats"))
    assert score(Table(known=known), build_evalset(test, "x", train), ["cosine"]).values["x_cosine_accuracy"] == 1


def test_nli_rows_are_refused_and_an_empty_set_is_an_error() -> None:
    rows = prepared("nli", {"premise": ["a"], "hypothesis": ["b"], "label": [0]})
    with pytest.raises(ValueError, match="triplets"):
        build_evalset(rows, "x")
    with pytest.raises(DataError, match="no rows"):
        build_evalset(prepared("pairs", {"anchor": [], "positive": []}), "x")


def test_a_single_row_has_no_neighbour_to_be_judged_by() -> None:
    with pytest.raises(DataError, match="two rows"):
        build_evalset(prepared("classes", {"text": ["a"], "label": [0]}), "x")
