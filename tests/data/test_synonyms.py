"""Synonyms in the form of the word they replace, out of a small thesaurus of the tests' own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wn
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.synonyms import candidates, replaced
from embertune.data.thesaurus import Thesaurus, open_thesaurus
from embertune.data.words import text_of, words_of
from embertune.errors import DataError
from tests.data.made import few, write

ROWS: list[dict[str, Any]] = [
    {"lemma": "car", "pos": "n", "synonyms": ["automobile", "motor car", "Ford"]},
    {"lemma": "purchase", "pos": "v", "synonyms": ["buy"]},
    {"lemma": "child", "pos": "n", "synonyms": ["kid", "infant"]},
    {"lemma": "big", "pos": "a", "synonyms": ["large"]},
    {"lemma": "quickly", "pos": "r", "synonyms": ["rapidly", "speedily"]},
    {"lemma": "begin", "pos": "v", "synonyms": ["start", "commence"]},
    {"lemma": "happy", "pos": "s", "synonyms": ["glad"]},
    {"lemma": "chatbot", "pos": "n", "synonyms": ["assistant"]},
    {"lemma": "can", "pos": "v", "synonyms": ["tin"]},
    {"lemma": "set", "pos": "v", "synonyms": list("abcdefgh")},
]


@pytest.fixture(scope="module")
def thesaurus(tmp_path_factory: pytest.TempPathFactory) -> Thesaurus:
    return open_thesaurus(str(write(tmp_path_factory.mktemp("thesaurus") / "own.jsonl", ROWS)))


def options(text: str, place: int, thesaurus: Thesaurus) -> tuple[str, ...]:
    return candidates(words_of(text), place, thesaurus)


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("two cars here", 1, ("automobiles",)),
        ("she purchased bread", 1, ("bought",)),
        ("it has begun again", 2, ("started", "commenced")),
        ("it began again", 1, ("started", "commenced")),
        ("we are beginning", 2, ("starting", "commencing")),
        ("many children", 1, ("kids", "infants")),
        ("a bigger one", 1, ("larger",)),
        ("they ran quickly", 2, ("rapidly", "speedily")),
        ("happier than before", 0, ("gladder",)),
        ("ask the chatbot", 2, ("assistant",)),
    ],
)
def test_a_synonym_has_the_form_of_the_word(
    text: str, place: int, expected: tuple[str, ...], thesaurus: Thesaurus
) -> None:
    assert options(text, place, thesaurus) == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("we can wait", 1),  # holds the sentence together
        ("nobody saw a Car", 3),  # a name
        ("it is not big", 3),  # negated
        ("two purchases", 1),  # a noun, and the thesaurus has the verb
        ("set it", 0),  # too many meanings
        ("where is a car", 3),  # `a automobile`
    ],
)
def test_a_word_in_doubt_is_left_alone(text: str, place: int, thesaurus: Thesaurus) -> None:
    assert options(text, place, thesaurus) == ()


@few
@given(
    st.lists(
        st.sampled_from(["Cars", "cars", "not", "7", "Paris", "big", "children", "a", "begin,", "soon."]), min_size=1
    ),
    st.integers(0, 1000),
    st.floats(0.01, 1),
)
def test_only_words_with_synonyms_change_and_capitals_stay(
    thesaurus: Thesaurus, pieces: list[str], seed: int, rate: float
) -> None:
    words = words_of(" ".join(pieces))
    draws = np.random.default_rng(seed).random((2, len(words)))
    found = replaced(words, draws[0], draws[1], rate, thesaurus)
    changed = [(old.core, new.core) for old, new in zip(words, found, strict=True) if old != new]
    assert all(old.lower() in ("cars", "big", "children", "begin") for old, _ in changed)
    assert all(old[0].isupper() == new[0].isupper() for old, new in changed)
    assert all(old.before == new.before and old.after == new.after for old, new in zip(words, found, strict=True))
    has_some = any(candidates(words, place, thesaurus) for place in range(len(words)))
    assert bool(changed) == has_some


@pytest.mark.parametrize("separator", [";", "|", ","])
def test_a_csv_holds_synonyms_with_a_mark_between_them(separator: str, tmp_path: Path) -> None:
    rows = [{"lemma": "Car", "pos": "noun", "synonyms": f"automobile{separator} wagon"}]
    found = open_thesaurus(str(write(tmp_path / "own.csv", rows)))
    assert found.find("car", "n") == ("automobile", "wagon")


def test_without_parts_of_speech_an_entry_holds_for_all(tmp_path: Path) -> None:
    found = open_thesaurus(str(write(tmp_path / "own.jsonl", [{"lemma": "car", "synonyms": ["automobile"]}])))
    assert text_of(replaced(words_of("old cars"), np.zeros(2), np.zeros(2), 0.5, found)) == "old automobiles"


def test_the_mark_of_a_thesaurus_hangs_on_what_it_holds(tmp_path: Path) -> None:
    one, same, other = (
        open_thesaurus(str(write(tmp_path / f"{n}.jsonl", rows))).mark
        for n, rows in enumerate((ROWS, ROWS[::-1], ROWS[:3]))
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"lemma": "car", "others": "x"}], "has no column 'synonyms', only lemma, others"),
        ([{"lemma": "car", "synonyms": ""}], "holds no synonym"),
    ],
)
def test_a_file_that_is_no_thesaurus_is_refused(rows: list[dict[str, str]], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        open_thesaurus(str(write(tmp_path / "own.csv", rows)))


def test_a_thesaurus_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_thesaurus(str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match=r"data\.augment\.thesaurus: there is no file 'wordnets'; .* write wordnet"):
        open_thesaurus("wordnets")


_LMF = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
  <Lexicon id="own" label="of the tests" language="en" email="none" license="none" version="1">
    <LexicalEntry id="w1"><Lemma writtenForm="car" partOfSpeech="n"/><Sense id="s1" synset="own-1"/></LexicalEntry>
    <LexicalEntry id="w2">
      <Lemma writtenForm="automobile" partOfSpeech="n"/><Sense id="s2" synset="own-1"/>
    </LexicalEntry>
    <Synset id="own-1" ili="" partOfSpeech="n"/>
  </Lexicon>
</LexicalResource>
"""


@pytest.fixture
def own_wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(wn.config, "data_directory", tmp_path / "wn")
    path = tmp_path / "own.xml"
    path.write_text(_LMF, encoding="utf-8")
    return path


def test_an_installed_wordnet_gives_synonyms(own_wordnet: Path) -> None:
    wn.add(own_wordnet, progress_handler=None)
    found = open_thesaurus("wordnet")
    assert found.find("car", "n") == ("automobile",)
    assert found.find("car", "v") == ()
    assert open_thesaurus("wordnet:own:1").mark == found.mark


def test_without_the_package_that_reads_a_wordnet_the_command_that_brings_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wn", None)
    with pytest.raises(
        DataError, match=r"the package wn, .*, is not installed; pip install 'embertune\[wordnet\]', then"
    ):
        open_thesaurus("wordnet")


def test_a_wordnet_that_is_not_installed_is_refused_with_the_command_that_brings_it(own_wordnet: Path) -> None:
    with pytest.raises(DataError, match="an English WordNet is not installed; python -m wn download oewn:2024"):
        open_thesaurus("wordnet")
    with pytest.raises(DataError, match="the WordNet oewn:2021 is not installed; python -m wn download oewn:2021"):
        open_thesaurus("wordnet:oewn:2021")
