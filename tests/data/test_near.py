"""Near duplicates: what is reported was verified, what was planted is found, and the order of rows decides nothing."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.data.hashing import folded, keys_of
from embertune.data.keyed import keyed
from embertune.data.near import SURE, NearPairs, banding, met, near_pairs
from embertune.data.nearness import findings_of_near, near_texts
from embertune.data.prepared import Prepared
from embertune.data.shingles import Shingles, shingled
from tests.data.made import few, shaped

WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "en", "ilo", "or", "ut")]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS[:6]), max_size=7).map(" ".join), min_size=1, max_size=30, unique=True)


def sets(texts: list[str]) -> Shingles:
    return shingled([pa.array(texts, pa.string())])


def by_hand(text: str) -> set[tuple[str, ...]]:
    words = [folded(word) for word in text.split()]
    return {(word,) for word in words} | set(pairwise(words))


def jaccard(one: str, other: str) -> float:
    left, right = by_hand(one), by_hand(other)
    return len(left & right) / len(left | right) if left | right else 0.0


def as_texts(pairs: NearPairs, texts: list[str]) -> set[frozenset[str]]:
    return {frozenset((texts[one], texts[other])) for one, other in zip(pairs.left, pairs.right, strict=True)}


def made(count: int, length: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=length)) for _ in range(count)]


@few
@given(TEXTS)
def test_every_reported_pair_has_the_jaccard_similarity_that_is_said(texts: list[str]) -> None:
    pairs = near_pairs(sets(texts), 0.6)
    for one, other, value in zip(pairs.left, pairs.right, pairs.jaccard, strict=True):
        assert one < other
        assert value == pytest.approx(jaccard(texts[one], texts[other]))
        assert value >= 0.6
    assert len(as_texts(pairs, texts)) == len(pairs)


@few
@given(TEXTS, st.randoms())
def test_the_order_of_texts_never_changes_what_is_found(texts: list[str], chance: random.Random) -> None:
    shuffled = chance.sample(texts, len(texts))
    found = [as_texts(near_pairs(sets(order), 0.7, keys_of(order)), order) for order in (texts, shuffled)]
    assert found[0] == found[1]


@given(st.floats(0.5, 1.0))
def test_a_pair_at_the_threshold_is_met_as_surely_as_promised_and_at_a_tenth_above_nearly_always(low: float) -> None:
    assert met(low, *banding(low)) >= SURE
    assert met(min(low + 0.1, 1.0), *banding(low)) >= 0.985


def test_the_default_threshold_has_ten_bands_of_six() -> None:
    assert banding(0.8) == (10, 6)


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8])
def test_pairs_a_tenth_above_the_threshold_are_found(threshold: float) -> None:
    texts = made(400, 40)
    chance = random.Random(1)
    planted = []
    for text in texts:
        words = text.split()
        while jaccard(text, " ".join(words)) - 0.03 > threshold + 0.1:
            words[chance.randrange(len(words))] = f"new{chance.randrange(10_000)}"
        planted.append(" ".join(words))
    found = as_texts(near_pairs(sets(texts + planted), threshold), texts + planted)
    near = [pair for pair in zip(texts, planted, strict=True) if jaccard(*pair) >= threshold + 0.1]
    assert len(near) > 100
    assert sum(frozenset(pair) in found for pair in near) >= 0.95 * len(near)


def test_a_crowd_is_bounded_told_and_every_member_of_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embertune.data.near.CROWD", 40)
    monkeypatch.setattr("embertune.data.near.REACH", 8)
    texts = [f"{' '.join(WORDS[:24])} number{n}" for n in range(80)]
    order = keys_of(texts)
    pairs = near_pairs(sets(texts), 0.8, order)
    assert pairs.either(len(texts)).all()
    assert pairs.passed_over > 0
    assert len(pairs) < len(texts) * (len(texts) - 1) // 2
    back = texts[::-1]
    assert as_texts(near_pairs(sets(back), 0.8, order[::-1].copy()), back) == as_texts(pairs, texts)


def test_case_punctuation_and_spaces_make_no_difference_and_word_order_does() -> None:
    texts = ["The cat, it sat on the mat.", "the  CAT it sat on “the” mat", "the mat it sat on the cat"]
    assert as_texts(near_pairs(sets(texts), 1.0), texts) == {frozenset(texts[:2])}


def test_texts_without_a_word_are_near_to_nothing() -> None:
    assert len(near_pairs(sets(["", "?!", "...", " "]), 0.5)) == 0
    assert len(near_pairs(sets([]), 0.5)) == 0
    assert sets(["?!", "a b a b"]).sizes.tolist() == [0, 4]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    texts = ["今日はとても良い天気ですね", "今日はとても良い天気でしたね", "図書館は何時に閉まりますか"]
    assert as_texts(near_pairs(sets(texts), 0.7), texts) == {frozenset(texts[:2])}


def test_pieces_and_long_texts_make_no_difference() -> None:
    texts = [*made(50, 12), " ".join(made(1, 30_000)), *made(5, 5, seed=2)]
    whole, cut = sets(texts), shingled(pa.array([text]) for text in texts)
    assert np.array_equal(whole.hashes, cut.hashes)
    assert np.array_equal(whole.starts, cut.starts)


def test_jaccard_of_many_pairs_is_that_of_each() -> None:
    texts = made(300, 9)
    chance = np.random.default_rng(0)
    left, right = chance.integers(0, 300, (2, 100_000))
    values = sets(texts).jaccard(left, right)
    for at in range(0, 100_000, 997):
        assert values[at] == pytest.approx(jaccard(texts[left[at]], texts[right[at]]))


def _pairs(*anchors: str) -> Prepared:
    return shaped([{"anchor": anchor, "positive": f"reply {n} {'so ' * n}"} for n, anchor in enumerate(anchors)])


LONG = "how do I renew the library card of my younger brother"


def test_near_duplicates_are_told_within_a_side_and_across_two() -> None:
    train = keyed("train", _pairs(LONG, f"{LONG} please", "opening hours", f"{LONG.upper()}?"))
    test = keyed("test t", _pairs(f"so {LONG}", "is parking free", "what does it cost"))
    within, across = findings_of_near([train, test], 0.8)
    assert (within.side, within.count, within.of) == ("train", 2, 7)
    assert (across.side, across.count, across.of) == ("train | test t", 1, 3)
    assert f"so {LONG}" in across.examples[0]
    assert findings_of_near([train, test], None) == []


@settings(few, max_examples=10)
@given(st.permutations([LONG, f"{LONG} please", f"so {LONG}", "opening hours", "is it free", "what does it cost now"]))
def test_the_order_of_rows_never_changes_the_findings(anchors: list[str]) -> None:
    rows = [{"anchor": anchor, "positive": f"reply to {anchor[:3]}"} for anchor in anchors]
    found = [findings_of_near([keyed("train", shaped(order))], 0.8) for order in (rows, sorted(rows, key=str))]
    assert found[0] == found[1]
    assert found[0][0].count == 3


def test_distinct_texts_are_read_where_they_first_stand() -> None:
    side = keyed("train", _pairs(LONG, "opening hours", LONG, f"{LONG} please"))
    near = near_texts([side], 0.8)
    assert len(near.pairs) == 1
    columns = side.prepared.text_columns
    for place, key in enumerate(near.keys):
        text = side.prepared.rows[int(near.row[place])][columns[near.source[place]]]
        assert keys_of([text], folded)[0] == key
