"""What the bundled general rows promise: their number, their columns, and that no text stands twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import embertune

SAMPLE = Path(embertune.__file__).parent / "sample"
COLUMNS = ("anchor", "positive")
TOPIC = "topic"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLE / "general.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [row[column] for row in rows for column in COLUMNS]


def plain(text: str) -> str:
    """A text as it compares: words in lower case, without punctuation at their ends."""
    return " ".join(word.strip(".,;:?!'\"()") for word in text.lower().split())


def test_there_are_two_hundred_and_forty_rows_six_of_each_topic(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 240
    assert {tuple(row) for row in rows} == {(*COLUMNS, TOPIC)}
    assert Counter(row[TOPIC] for row in rows) == dict.fromkeys(range(40), 6)


def test_no_text_stands_twice_on_whichever_side(texts: list[str]) -> None:
    assert [text for text, times in Counter(map(plain, texts)).items() if times > 1] == []


def test_every_text_has_three_to_sixty_words(texts: list[str]) -> None:
    assert [text for text in texts if not 3 <= len(text.split()) <= 60] == []


def test_every_text_is_plain_ascii_with_single_spaces(texts: list[str]) -> None:
    assert [text for text in texts if not text.isascii() or text != " ".join(text.split())] == []


def test_the_readme_gives_the_number_of_rows(rows: list[dict[str, Any]]) -> None:
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    _, found, section = readme.partition("## `general.jsonl`")
    assert found
    assert f"{len(rows)} rows" in section
