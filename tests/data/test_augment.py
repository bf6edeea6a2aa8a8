"""Changed copies of training rows: which rows, by which method, what is kept, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.data.augment import Tools, augment
from embertune.data.hashing import folded, keys_of, normalise
from embertune.data.prepared import Prepared
from embertune.data.thesaurus import Listed
from embertune.data.words import EMPTY
from embertune.errors import DataError
from embertune.recipe.augmenting import AugmentSection
from tests import tiny
from tests.data.made import rows_of, shaped

THESAURUS = Listed(
    {("car", "n"): ("automobile",), ("house", "n"): ("home",), ("stone", "n"): ("rock",), ("repair", "v"): ("mend",)},
    "m",
)
WORDS = Tools(thesaurus=THESAURUS)
ALL = AugmentSection(delete=0.2, swap=0.2, synonyms=0.5, thesaurus="x", copies=2)


def copies(prepared: Prepared, section: AugmentSection, tools: Tools = WORDS, seed: int = 0) -> list[dict[str, Any]]:
    return rows_of(augment(prepared, section, tools, seed).rows)[len(prepared) :]


def frozen(rows: Sequence[dict[str, Any]]) -> Counter[tuple[tuple[str, Any], ...]]:
    return Counter(tuple(sorted(row.items())) for row in rows)


@pytest.mark.parametrize(
    "rows",
    [
        tiny.toy_pairs(40),
        tiny.toy_triplets(40),
        tiny.toy_scored(40),
        tiny.toy_labelled(40),
        tiny.toy_classes(40),
    ],
    ids=["pairs", "triplets", "scored", "labelled", "classes"],
)
def test_rows_stay_and_copies_differ_in_the_first_text_only(rows: tiny.Rows) -> None:
    prepared = shaped(rows)
    found = augment(prepared, ALL, WORDS, 0)
    assert found.rows.features == prepared.rows.features
    assert rows_of(found.rows)[: len(rows)] == rows_of(prepared.rows)
    first, *others = (name for name in prepared.rows.column_names if name in (*prepared.text_columns, "group", "label"))
    known = {tuple(row[name] for name in others) for row in rows_of(prepared.rows)}
    texts = {normalise(row[first]) for row in rows_of(prepared.rows)}
    made = rows_of(found.rows)[len(rows) :]
    assert len(made) > len(rows)
    assert {tuple(row[name] for name in others) for row in made} <= known
    assert {normalise(row[first]) for row in made}.isdisjoint(texts)


@settings(max_examples=6, deadline=None)
@given(st.permutations(range(20)), st.integers(0, 50))
def test_what_becomes_of_a_row_hangs_neither_on_its_place_nor_on_other_rows(order: list[int], seed: int) -> None:
    rows = tiny.toy_pairs(20)
    whole = frozen(copies(shaped(rows), ALL, seed=seed))
    assert frozen(copies(shaped([rows[place] for place in order]), ALL, seed=seed)) == whole
    assert frozen(copies(shaped([rows[place] for place in order[:10]]), ALL, seed=seed)) <= whole


def test_another_seed_makes_other_copies() -> None:
    prepared = shaped(tiny.toy_pairs(40))
    assert frozen(copies(prepared, ALL)) != frozen(copies(prepared, ALL, seed=1))


def test_more_copies_keep_those_that_fewer_made() -> None:
    prepared = shaped(tiny.toy_pairs(40))
    one = copies(prepared, AugmentSection(delete=0.2))
    three = copies(prepared, AugmentSection(delete=0.2, copies=3))
    assert frozen(one) <= frozen(three)
    assert max(frozen(three).values()) == 1


def test_where_texts_are_judged_against_each_other_only_empty_words_are_left_out() -> None:
    prepared = shaped(tiny.toy_triplets(60))
    anchors = {row["positive"]: row["anchor"].split() for row in rows_of(prepared.rows)}
    made = copies(prepared, AugmentSection(delete=1.0))
    assert made
    for row in made:
        assert set(Counter(anchors[row["positive"]]) - Counter(row["anchor"].split())) <= EMPTY


def test_named_columns_are_changed_and_others_are_not() -> None:
    prepared = shaped(tiny.toy_pairs(40))
    answers = {row["positive"] for row in rows_of(prepared.rows)}
    made = copies(prepared, AugmentSection(swap=0.5, columns=("positive",)))
    assert {row["anchor"] for row in made} <= {row["anchor"] for row in rows_of(prepared.rows)}
    assert {row["positive"] for row in made}.isdisjoint(answers)


def test_methods_take_turns_and_each_is_told_with_examples() -> None:
    found = augment(shaped(tiny.toy_pairs(120)), ALL, WORDS, 0)
    told = {note.text.split(": ")[1]: note for note in found.notes if "joined them" in note.text}
    assert set(told) == {"words left out in anchor", "neighbouring words swapped in anchor", "synonyms put in anchor"}
    assert all(note.count and 1 <= len(note.examples) <= 5 for note in told.values())
    assert all(" -> " in example for note in told.values() for example in note.examples)
    assert sum(note.count for note in found.notes) == 240


def test_a_copy_outside_the_band_of_similarity_is_left_out_and_counted() -> None:
    prepared = shaped(tiny.toy_pairs(60))

    def encode(texts: Sequence[str], role: str) -> np.ndarray:
        """The more words a text has, the further it is turned: one word less is a cosine of about 0.8."""
        assert role == "anchor"
        turned = np.array([len(text.split()) for text in texts]) * 0.643
        return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)

    section = AugmentSection(delete=0.3, keep=(0.7, 0.9))
    found = augment(prepared, section, Tools(encode=encode), 0)
    free = augment(prepared, AugmentSection(delete=0.3), Tools(), 0)
    lost = [note for note in found.notes if "outside data.augment.keep" in note.text]
    assert len(found) + lost[0].count == len(free)
    by_positive = {row["positive"]: len(row["anchor"].split()) for row in rows_of(prepared.rows)}
    for row in rows_of(found.rows)[len(prepared) :]:
        assert by_positive[row["positive"]] - len(row["anchor"].split()) == 1


def test_texts_are_rewritten_as_wholes_and_those_that_come_back_as_they_were_are_left_out() -> None:
    prepared = shaped(tiny.toy_pairs(30))
    section = AugmentSection(translate={"there": "a", "back": "b"})

    def translate(texts: Sequence[str]) -> list[str]:
        return [text.replace("how can i", "how may i") for text in texts]

    made = copies(prepared, section, Tools(translate=translate, mark="one"))
    asked = [row for row in rows_of(prepared.rows) if "how can i" in row["anchor"]]
    assert [row["anchor"] for row in made] == [row["anchor"].replace("can", "may") for row in asked]


def test_a_copy_that_would_repeat_another_text_of_its_row_is_left_out() -> None:
    rows = [{"anchor": f"the big cat {n}", "positive": f"big the cat {n}"} for n in range(30)]
    section = AugmentSection(swap=0.01, copies=3)
    found = augment(shaped(rows), section, Tools(), 0)
    assert all(normalise(row["anchor"]) != normalise(row["positive"]) for row in rows_of(found.rows))
    assert any("would repeat a text of their row" in note.text for note in found.notes)


def test_a_copy_that_would_be_a_text_of_dev_or_test_is_left_out() -> None:
    prepared = shaped(tiny.toy_pairs(30))
    section = AugmentSection(swap=0.3)
    first = copies(prepared, section)[0]["anchor"]
    found = augment(prepared, section, Tools(held=keys_of([f"{first.upper()}!"], folded)), 0)
    assert first not in found.rows["anchor"]
    assert [note.count for note in found.notes if "would repeat a text of dev or test" in note.text] == [1]


@pytest.mark.parametrize(
    ("rows", "section", "message"),
    [
        (
            [{"anchor": f"我喜欢第{n}只猫", "positive": f"cat {n}"} for n in range(20)],
            AugmentSection(swap=0.1),
            r"data\.augment\.swap: 100% of the texts in 'anchor' are in a script without spaces between words; "
            r"use data\.augment\.translate",
        ),
        (
            tiny.toy_pairs(20),
            AugmentSection(synonyms=0.5, thesaurus="x", columns=("positive",)),
            r"data\.augment: changes nothing: 20 copies were left out, for nothing in them could be changed; name",
        ),
        (
            tiny.toy_pairs(20),
            AugmentSection(delete=0.1, columns=("text",)),
            r"data\.augment\.columns: pairs rows have no text 'text'; texts here: anchor, positive",
        ),
    ],
    ids=["script", "nothing", "column"],
)
def test_what_cannot_take_effect_is_refused(rows: tiny.Rows, section: AugmentSection, message: str) -> None:
    none = Listed({("qqq", "n"): ("zzz",)}, "none")
    with pytest.raises(DataError, match=message):
        augment(shaped(rows), section, Tools(thesaurus=none), 0)


def test_a_few_texts_without_spaces_are_left_alone() -> None:
    rows = [{"anchor": "我喜欢 猫", "positive": "cats"}, *tiny.toy_pairs(30)]
    made = copies(shaped(rows), AugmentSection(swap=0.5))
    assert "cats" not in {row["positive"] for row in made}
