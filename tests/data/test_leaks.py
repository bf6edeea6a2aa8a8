"""Leaks: what dev or test asks for does not stand in train, and what was taken out is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.data.hashing import folded
from embertune.data.leaks import seen, without_leaks
from embertune.data.prepare import prepare
from embertune.data.prepared import Prepared, Sides
from embertune.errors import DataError, RecipeError
from embertune.recipe import Recipe
from embertune.recipe.check import check
from tests.data.made import few, rows_of, shaped, write


def sides(train: Prepared, test: Prepared, dev: Prepared | None = None) -> Sides:
    return Sides(train, dev, {"t": test})


def pairs(*texts: tuple[str, str]) -> Prepared:
    return shaped([{"anchor": anchor, "positive": positive} for anchor, positive in texts])


def labelled(*rows: tuple[str, str, int]) -> Prepared:
    return shaped([{"sentence1": one, "sentence2": two, "label": label} for one, two, label in rows])


PIG = ("a pig", "grunts")
SAID = st.sampled_from(
    ["a cat", "A  Cat!", "the dog", "The dog.", "naïve", "NAI\u0308VE", "ﬁne", "fine", "so", "?", "!"]
)


@few
@given(st.text(max_size=12))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_folded_texts_are_alike_but_for_case_width_spaces_and_punctuation_at_the_ends() -> None:
    assert folded("  “Ｗhat  IS it?” ") == folded("what is it")
    assert folded("Straße") == folded("STRASSE")
    assert folded("what is C#") != folded("what is C")
    assert folded("rises 5%") != folded("rises 5")
    assert folded("?!") != folded("...")
    assert folded("don't") != folded("dont")


def test_an_anchor_of_test_is_dropped_from_train_and_counted() -> None:
    train = pairs(("A cat", "miaows"), ("a dog", "barks"), ("a cow", "moos"), ("a horse", "neighs"))
    test = pairs(("a cat.", "purrs"), ("a pig", "grunts"))
    done = without_leaks(sides(train, test), "drop")
    assert [row["anchor"] for row in rows_of(done.train.rows)] == ["a dog", "a cow", "a horse"]
    assert len(done.tests["t"]) == 2
    (finding,) = done.findings
    assert (finding.kind, finding.side, finding.count, finding.of) == ("leak", "train | test t", 1, 2)
    assert finding.examples == ("a cat.",)
    assert finding.done == "1 row dropped from train"
    (note,) = done.notes
    assert note.count == 1
    assert "a cat" not in note.text


def test_an_anchor_that_is_an_answer_in_train_leaks_too() -> None:
    train = pairs(("what says the cat", "a cat"), ("a dog", "barks"), ("a cow", "moos"))
    done = without_leaks(sides(train, pairs(("a cat", "purrs"), PIG)), "drop")
    assert len(done.train) == 2


def test_a_positive_on_two_sides_is_seen_and_no_leak() -> None:
    train, test = pairs(("a cat", "miaows"), ("a dog", "barks")), pairs(("a kitten", "Miaows!"), ("a pig", "grunts"))
    assert without_leaks(sides(train, test), "drop").findings == ()
    assert seen(train, test).tolist() == [True, False]


def test_a_labelled_pair_leaks_in_either_order_and_as_a_whole_only() -> None:
    train = labelled(("one", "two", 1), ("one", "three", 0), ("four", "five", 1))
    test = labelled(("Two", "one", 0), ("one", "six", 1))
    done = without_leaks(sides(train, test), "drop")
    assert [row["sentence2"] for row in rows_of(done.train.rows)] == ["three", "five"]
    assert seen(train, test).tolist() == [True, True]


def test_a_text_of_classes_leaks_whatever_its_class() -> None:
    train = shaped([{"text": f"text {n}", "label": "xy"[n % 2]} for n in range(8)])
    test = shaped([{"text": "Text 3", "label": "x"}, {"text": "text 30", "label": "y"}])
    done = without_leaks(sides(train, test), "drop")
    assert len(done.train) == 7
    assert not seen(train, test).any()


def test_a_class_whose_texts_all_leaked_is_named() -> None:
    train = shaped([{"text": f"text {n}", "label": "xyz"[min(n, 2)]} for n in range(6)])
    test = shaped([{"text": "text 0", "label": "x"}, {"text": "another", "label": "y"}])
    assert train.classes[0] == "x"
    done = without_leaks(sides(train, test), "drop")
    assert [(note.count, note.examples) for note in done.notes][1:] == [(1, ("x",))]


def test_pairs_of_test_cannot_stand_in_a_train_of_single_texts() -> None:
    train = shaped([{"text": f"text {n}", "label": "xy"[n % 2]} for n in range(8)])
    assert without_leaks(sides(train, labelled(("text 1", "text 2", 1), ("a", "b", 0))), "error").findings == ()


def test_keep_only_tells() -> None:
    train, test = pairs(("a cat", "miaows"), ("a dog", "barks")), pairs(("a cat", "purrs"), PIG)
    done = without_leaks(sides(train, test), "keep")
    assert done.train is train
    assert done.findings[0].done == "kept"


def test_error_says_how_many_where_which_and_what_would_do() -> None:
    train, test = pairs(("a cat", "miaows"), ("a dog", "barks")), pairs(("a cat", "purrs"), ("a pig", "grunts"))
    with pytest.raises(DataError, match=r"data\.leaks: 1 of 2 anchors of test t .* 'a cat'; write data\.leaks: drop"):
        without_leaks(sides(train, test), "error")


def test_fewer_than_two_rows_left_are_refused() -> None:
    train, test = pairs(("a cat", "miaows"), ("a dog", "barks")), pairs(("a cat", "purrs"), PIG)
    with pytest.raises(DataError, match="1 of 2 rows would be left"):
        without_leaks(sides(train, test), "drop")


def test_leaks_of_dev_and_of_test_are_counted_apart() -> None:
    train = pairs(("a cat", "miaows"), ("a dog", "barks"), ("a cow", "moos"), ("a horse", "neighs"))
    test, dev = pairs(("a cat", "purrs"), PIG), pairs(("a dog", "howls"), ("a cat", "hisses"))
    done = without_leaks(sides(train, test, dev), "drop")
    assert [(finding.side, finding.count) for finding in done.findings] == [
        ("train | dev", 2),
        ("train | test t", 1),
    ]
    assert len(done.train) == 2
    assert done.notes[0].count == 2


@settings(few, max_examples=20)
@given(
    st.lists(st.tuples(SAID, SAID), min_size=1, max_size=12), st.lists(st.tuples(SAID, SAID), min_size=1, max_size=6)
)
def test_dropped_leaks_never_leave_one(rows: list[tuple[str, str]], held: list[tuple[str, str]]) -> None:
    train, test = pairs(*rows, ("safe", "sound"), ("hale", "hearty")), pairs(*held, PIG)
    done = without_leaks(sides(train, test), "drop")
    anchors = {folded(anchor) for anchor, _ in held}
    for row in rows_of(done.train.rows):
        assert folded(row["anchor"]) not in anchors
        assert folded(row["positive"]) not in anchors
    assert without_leaks(done, "error") is done
    lost = [row for row in rows if folded(row[0]) in anchors or folded(row[1]) in anchors]
    assert len(train) - len(done.train) == len(lost)


ORDERED = [("a cat", "1"), ("A cat", "2"), ("a dog", "3"), ("a cow", "4"), ("the end", "5"), ("so", "6")]
ASKED = [("THE END", "x"), ("a cat", "y"), ("a dog", "z")]


@settings(few, max_examples=10)
@given(st.permutations([("a cat", 1), ("A cat", 2), ("a dog", 3), ("a cow", 4), ("the end", 5), ("so", 6)]))
def test_the_order_of_rows_never_changes_what_leaks(rows: list[tuple[str, int]]) -> None:
    train = pairs(*((text, f"answer {number}") for text, number in rows))
    test = pairs(*sorted(ASKED, key=lambda row: rows[len(row[0]) % 6]))
    done = without_leaks(sides(train, test), "drop")
    assert {row["positive"] for row in rows_of(done.train.rows)} == {"answer 4", "answer 6"}
    assert done.findings == without_leaks(sides(pairs(*ORDERED), pairs(*ASKED)), "drop").findings


def _files(tmp_path: Any) -> dict[str, Any]:
    train = [{"anchor": f"question {n}", "positive": f"answer {n}"} for n in range(40)]
    test = [{"anchor": f"Question {n}?", "positive": f"reply {n}"} for n in range(30, 50)]
    paths = write(tmp_path / "train.jsonl", train), write(tmp_path / "test.jsonl", test)
    return {"train": str(paths[0]), "test": str(paths[1]), "dev": "none"}


def test_a_run_takes_leaks_out_of_train_and_its_fingerprints_stay_those_of_the_files(tmp_path: Any) -> None:
    files = _files(tmp_path)
    dropped = prepare(check({"data": files}))
    kept = prepare(check({"data": {**files, "leaks": "keep"}}))
    assert len(dropped.sides.train) == 30
    assert len(kept.sides.train) == 40
    assert dropped.fingerprints == kept.fingerprints
    assert [note.count for note in dropped.notes if note.stage == "leaks"] == [10]
    with pytest.raises(DataError, match="10 of 20 anchors"):
        prepare(check({"data": {**files, "leaks": "error"}}))


def test_a_rule_for_leaks_without_held_out_rows_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"data\.leaks: found error without dev or test rows"):
        check({"data": {"train": "x.jsonl", "dev": "none", "test": "none", "leaks": "error"}})
    assert Recipe().data.leaks == "drop"


def test_seen_is_as_long_as_the_side() -> None:
    train = pairs(("a cat", "miaows"), ("a dog", "barks"))
    assert np.array_equal(seen(train, train), [True, True])
