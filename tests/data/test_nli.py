"""Inference rows to triplets: equal to the plain reference, whatever the options."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.hashing import normalise
from embertune.data.nli import NAMES, NliSettings
from embertune.data.prepared import Prepared
from embertune.errors import DataError
from tests.data.made import few, shaped

Row = tuple[str, str, str]


def nli(rows: list[Row], **settings: Any) -> Prepared:
    columns = ("premise", "hypothesis", "label")
    return shaped([dict(zip(columns, row, strict=True)) for row in rows], **settings)


def texts(prepared: Prepared) -> list[tuple[str, ...]]:
    return [tuple(row[column] for column in prepared.text_columns) for row in prepared.rows.to_list()]


def reference(rows: list[Row]) -> list[tuple[str, str, str]]:
    """Every entailed hypothesis with every contradicting one of its premise, one pair of loops."""
    unique: dict[tuple[str, str, str], Row] = {}
    for premise, hypothesis, label in rows:
        unique.setdefault((normalise(premise), normalise(hypothesis), label), (premise, hypothesis, label))
    return [
        (premise, entailed, contradicting)
        for (same, first, label), (premise, entailed, _) in unique.items()
        if label == "entailment"
        for (other, second, against), (_, contradicting, _) in unique.items()
        if against == "contradiction" and same == other and first != second
    ]


ROWS: list[Row] = [
    ("the ferry is late", "the ferry is not on time", "entailment"),
    ("the ferry is late", "the ferry is early", "contradiction"),
    ("the ferry is late", "it rains", "neutral"),
    ("the ferry is late", "a boat is delayed", "entailment"),
    ("the  ferry is late ", "the boat came before time", "contradiction"),
    ("a lamp burns", "there is light", "entailment"),
    ("a lamp burns", "it is dark", "contradiction"),
    ("no one is here", "nobody is here", "entailment"),
]

_text = st.sampled_from(["a", "b", "c", " a", "a  b", "a b"])
_rows = st.lists(st.tuples(_text, _text, st.sampled_from([*NAMES, "-"])), min_size=2, max_size=30)


@few
@given(_rows)
def test_triplets_equal_the_plain_reference(rows: list[Row]) -> None:
    expected = reference(rows)
    try:
        found = texts(nli(rows))
    except DataError:
        assert len(expected) < 2 or len({label for *_, label in rows} - {"-"}) < 2
    else:
        assert found == expected


@few
@given(_rows, st.integers(1, 4), st.integers(0, 3))
def test_a_cap_keeps_that_many_of_every_premise_and_invents_none(rows: list[Row], most: int, seed: int) -> None:
    every = reference(rows)
    expected = {premise: min(count, most) for premise, count in Counter(normalise(p) for p, *_ in every).items()}
    try:
        found = texts(nli(rows, nli=NliSettings(max_per_premise=most), seed=seed))
    except DataError:
        return
    assert Counter(normalise(premise) for premise, *_ in found) == expected
    assert set(found) <= set(every)


@few
@given(st.permutations(range(8)), st.booleans())
def test_no_choice_hangs_on_the_order_of_rows(order: list[int], neutral: bool) -> None:
    more = [*ROWS, ("the ferry is late", "the sea is green", "neutral"), ("a lamp burns", "oil is dear", "neutral")]
    moved = [more[place] for place in order] + more[8:][::-1]
    settings = NliSettings(max_per_premise=2, neutral=neutral, keep_pairs=not neutral)

    def kept(rows: list[Row]) -> set[tuple[str, ...]]:
        return {tuple(map(normalise, row)) for row in texts(nli(rows, nli=settings))}

    assert kept(moved) == kept(more)


def test_premises_compare_without_white_space() -> None:
    assert len(nli(ROWS)) == 5


def test_what_is_left_out_is_told_with_the_first_rows() -> None:
    notes = nli([*ROWS, ROWS[0], ("x", "y", "-")]).notes
    assert [(note.text.partition(":")[0], note.count, note.examples) for note in notes] == [
        ("1 rows left out", 1, ("row 10",)),
        ("1 rows left out", 1, ("row 9",)),
        ("1 of 3 premises left out", 1, ("row 8",)),
    ]


def test_a_neutral_hypothesis_joins_as_a_second_negative_where_there_is_one() -> None:
    prepared = nli(ROWS, nli=NliSettings(neutral=True))
    assert prepared.text_columns == ("anchor", "positive", "negative", "negative_2")
    assert {row[3] for row in texts(prepared)} == {"it rains"}
    assert len(prepared) == 4
    assert any("no neutral hypothesis" in note.text and note.count == 1 for note in prepared.notes)


def test_premises_without_a_contradiction_are_kept_with_one_of_another_premise() -> None:
    prepared = nli(ROWS, nli=NliSettings(keep_pairs=True))
    contradictions = {hypothesis for _, hypothesis, label in ROWS if label == "contradiction"}
    extra = [row for row in texts(prepared) if row[0] == "no one is here"]
    assert len(prepared) == 6
    assert len(extra) == 1
    assert extra[0][2] in contradictions


def test_a_hypothesis_labelled_both_ways_is_no_negative_of_itself() -> None:
    rows = [*ROWS, ("a lamp burns", "there is light", "contradiction")]
    prepared = nli(rows)
    assert all(positive != negative for _, positive, negative in texts(prepared))
    assert any("labelled both ways" in note.text and note.count == 1 for note in prepared.notes)


@pytest.mark.parametrize("gold", ["-", "-1", "", None])
def test_rows_without_a_gold_label_are_left_out_and_counted(gold: str | None) -> None:
    rows = [dict(zip(("premise", "hypothesis", "label"), row, strict=True)) for row in ROWS]
    prepared = shaped([*rows, {"premise": "x", "hypothesis": "y", "label": gold}], keep_nli=True)
    assert len(prepared) == 8
    assert (prepared.notes[0].count, prepared.notes[0].examples) == (1, ("row 9",))


def test_numbers_are_entailment_neutral_contradiction_and_minus_one_is_none() -> None:
    numbers = {"entailment": 0, "neutral": 1, "contradiction": 2, "-": -1}
    rows = [{"premise": p, "hypothesis": h, "label": numbers[label]} for p, h, label in [*ROWS, ("x", "y", "-")]]
    assert texts(shaped(rows)) == texts(nli(ROWS))


def test_labels_that_are_no_inference_labels_are_listed() -> None:
    rows = [("a", "b", "entailment"), ("a", "c", "not_entailment"), ("a", "d", "maybe")]
    with pytest.raises(DataError, match="holds 'not_entailment', 'maybe', first in row 2: no NLI labels"):
        nli(rows)


@pytest.mark.parametrize("label", NAMES)
def test_one_inference_label_only_is_refused(label: str) -> None:
    with pytest.raises(DataError, match=f"every row has the label '{label}'"):
        nli([("a", "b", label), ("a", "c", label)])


def test_premises_that_make_no_triplet_are_refused_with_the_way_out() -> None:
    rows = [("a", "b", "entailment"), ("c", "d", "contradiction"), ("e", "f", "entailment")]
    with pytest.raises(DataError, match="no premise has both an entailed and a contradicting hypothesis; keep_pairs"):
        nli(rows)
    assert len(nli(rows, nli=NliSettings(keep_pairs=True))) == 2


def test_more_triplets_than_memory_is_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embertune.data.nli.MOST", 4)
    with pytest.raises(DataError, match=r"its premises make 5 triplets; set a cap"):
        nli(ROWS)
    assert len(nli(ROWS[1:])) == 3


def test_rows_can_stay_inference_rows() -> None:
    prepared = nli([*ROWS, ("x", "y", "-")], keep_nli=True)
    assert (prepared.shape, len(prepared), prepared.text_columns) == ("nli", 8, ("premise", "hypothesis"))
    assert prepared.rows["label"][:] == [NAMES.index(label) for *_, label in ROWS]


def test_a_named_group_follows_rows_into_triplets() -> None:
    rows = [{"premise": p, "hypothesis": h, "label": label, "story": p[:3]} for p, h, label in ROWS]
    prepared = shaped(rows, group="story")
    groups = dict(zip(prepared.rows["anchor"][:], prepared.rows["group"][:], strict=True))
    assert prepared.group == "story"
    assert groups["the ferry is late"] != groups["a lamp burns"]
    assert len(set(prepared.rows["group"][:])) == 2
