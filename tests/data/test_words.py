"""Words of a text: what stays, what goes, what trades places."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.words import (
    EMPTY,
    deleted,
    drawn,
    is_negation,
    is_number,
    is_unspaced,
    swapped,
    text_of,
    words_of,
)
from tests.data.made import few

_PIECES = (
    *("the", "The", "cat", "isn't", "not", "never", "without", "3", "£4.50", "two", "Paris", "USA", "I", "runs,"),
    *("home.", "(quietly)", "well-known", "nicht", "naïve", "—", "?", "don’t", "Mr.", "very", "of", "e-mail"),
)
_texts = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=12).map(" ".join)
_rates = st.floats(0.01, 1.0)
_seeds = st.integers(0, 1000)


def chances(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(count)


def cores(text: str) -> list[str]:
    return [word.core for word in words_of(text) if word.core]


def kept_words(text: str) -> Counter[str]:
    """What no change may touch: numbers, negations, names inside a sentence."""
    return Counter(word.core.lower() for word in words_of(text) if word.core and word.fixed and not word.opening)


@few
@given(st.text(max_size=60))
def test_words_put_together_are_the_text(text: str) -> None:
    assert text_of(words_of(text)) == (text if text.split() else "")


@few
@given(_texts, _rates, _seeds, st.booleans())
def test_leaving_words_out_only_takes_words_that_may_go(text: str, rate: float, seed: int, only_empty: bool) -> None:
    words = words_of(text)
    found = text_of(deleted(words, chances(len(words), seed), rate, only_empty=only_empty))
    before, after = Counter(map(str.lower, cores(text))), Counter(map(str.lower, cores(found)))
    assert after <= before
    assert found.strip()
    assert kept_words(text) <= after
    gone = before - after
    assert not any(is_number(word) or is_negation(word) for word in gone)
    if only_empty:
        assert set(gone) <= EMPTY


@few
@given(_texts, _rates, _seeds)
def test_swapping_keeps_every_word_and_moves_none_by_more_than_one_place(text: str, rate: float, seed: int) -> None:
    words = words_of(text)
    found = swapped(words, chances(len(words), seed), rate)
    before, after = ([word.plain for word in of] for of in (words, found))
    assert Counter(before) == Counter(after)
    for place, word in enumerate(words):
        assert word.plain in after[max(0, place - 1) : place + 2]
        assert not word.fixed or found[place].core == word.core


@few
@given(_texts, _rates, _rates, _seeds)
def test_a_higher_rate_takes_all_that_a_lower_one_took(text: str, low: float, high: float, seed: int) -> None:
    draw = chances(len(words_of(text)), seed)
    some, more = (set(drawn(range(len(draw)), draw, rate)) for rate in sorted((low, high)))
    assert some <= more


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("I can't open 3 doors", ["can't", "open", "3"]),
        ("the card was sent to Paris by John", ["Paris", "John"]),
        ("Cards are sent. Mr. Smith signs twice", ["Smith", "twice"]),
        ("my iPhone has a USB-C port", ["iPhone", "USB-C"]),
        ("es ist nicht warm", ["nicht", "warm"]),
        ("twenty-one non-smokers", ["twenty-one", "non-smokers"]),
        ("I think I'm late", []),
    ],
)
def test_numbers_names_negations_and_what_is_negated_are_fixed(text: str, fixed: list[str]) -> None:
    assert [word.core for word in words_of(text) if word.fixed] == fixed


@pytest.mark.parametrize(
    ("text", "gone", "expected"),
    [
        ("The cat sleeps.", 0, "Cat sleeps."),
        ("the cat sleeps?", 2, "the cat?"),
        ("He, however, slept", 1, "He, slept"),
        ("is it, or not, so?", 4, "is it, or not?"),
        ("  so it is", 0, "  it is"),
    ],
)
def test_capitals_and_the_end_of_a_sentence_outlive_a_word(text: str, gone: int, expected: str) -> None:
    words = words_of(text)
    draw = np.ones(len(words)) * 0.9
    draw[gone] = 0.0
    assert text_of(deleted(words, draw, 0.1, only_empty=False)) == expected


def test_a_capital_that_begins_a_sentence_stays_in_front_when_words_trade_places() -> None:
    words = words_of("The cat sleeps")
    assert text_of(swapped(words, np.array([0.0, 0.9, 0.9]), 0.1)) == "Cat the sleeps"
    words = words_of("I am here")
    assert text_of(swapped(words, np.array([0.0, 0.9, 0.9]), 0.1)) == "Am I here"


@pytest.mark.parametrize(
    ("text", "unspaced"),
    [
        ("我喜欢猫", True),
        ("猫が好きです", True),
        ("ฉันชอบแมว", True),
        ("ຂ້ອຍມັກແມວ", True),
        ("ខ្ញុំចូលចិត្តឆ្មា", True),
        ("ကျွန်တော်ကြောင်ကြိုက်တယ်", True),
        ("나는 고양이를 좋아한다", False),
        ("мне нравятся кошки", False),
        ("the sign says 猫", False),
        ("", False),
        ("12 — 34 €", False),
    ],
)
def test_scripts_without_spaces_are_known(text: str, unspaced: bool) -> None:
    assert is_unspaced(text) is unspaced
