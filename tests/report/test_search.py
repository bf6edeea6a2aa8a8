"""The reports of a search say what was found, how sure that is and what failed, whatever the trials were."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from dataclasses import replace
from functools import cache

import pytest

from embertune.report.search import to_html, to_markdown
from embertune.report.tried import Searched, Tried
from tests.report import made, made_search
from tests.report.test_html import Page
from tests.report.test_markdown import MARKDOWN

SECTIONS = ("verdict", "candidates", "results", "course", "space", "trials", "recipe")


def _one() -> Searched:
    """A single trial that came to nothing, and nothing to say of it."""
    alone = Tried(0, "recipe", {}, "failed", None, (), 0.0, "no memory")
    bare = made_search.searched(1, candidates=(), winner="", importance={}, space={}, gain=None, over_base=None)
    return replace(bare, tried=(alone,), answer="no trial was finished")


def _all_failed_but_one() -> Searched:
    found = made_search.searched(8, importance={})
    tried = [one if one.number == 4 else replace(one, state="failed", value=math.nan) for one in found.tried]
    return replace(found, tried=tuple(tried))


PAGES = {
    "calm": made_search.searched(),
    "hostile": made_search.hostile(),
    "long": made_search.searched(200),
    "untested": made_search.searched(gain=None, over_base=None),
    "defaults": made_search.searched(gain=None, winner="defaults", answer="the defaults are as good"),
    "one": _one(),
    "failed": _all_failed_but_one(),
}


@cache
def page_of(name: str) -> str:
    """A page of `PAGES`, drawn once."""
    return to_html(PAGES[name])


def text_of(name: str) -> str:
    """What is to be read on it, spaces made one."""
    return " ".join(Page(page_of(name)).text.split())


def numbers_of(name: str, link: str) -> list[list[str]]:
    """The table that a page holds as a file."""
    (held,) = re.findall(rf'download="{link}" href="data:text/csv;base64,([^"]*)"', page_of(name))
    return list(csv.reader(io.StringIO(base64.b64decode(held).decode())))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_asks_for_nothing_and_runs_nothing(name: str) -> None:
    page = Page(page_of(name))
    assert (page.wrong, page.open) == ([], [])
    assert not page.tags & {"script", "iframe", "object", "embed", "img", "base", "form"}
    links = [value for value in page.values("href") if not value.startswith(("data:", "#"))]
    assert links == []
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert len(page_of(name)) < 3_000_000


def test_the_answer_is_first_then_candidates_test_and_all_else() -> None:
    page = Page(page_of("calm"))
    assert [name for name in page.values("id") if name in SECTIONS] == list(SECTIONS)
    text = text_of("calm")
    assert (
        text.index("21 more now find their match first") < text.index("Confirmed on all rows") < text.index("On test")
    )
    assert to_markdown(PAGES["calm"]).splitlines()[2].startswith("**Trial 13 beats the defaults;")


@pytest.mark.parametrize("name", ["calm", "defaults"])
def test_candidates_stand_side_by_side_with_what_differs_and_the_winner_is_marked(name: str) -> None:
    found = PAGES[name]
    markdown, text = to_markdown(found), text_of(name)
    assert f"**{found.winner} (winner)**" in markdown
    assert re.search(rf"{found.winner} winner", text)
    for one in found.candidates:
        assert f"{one.mean:.4f}" in markdown
        assert f"{one.mean:.4f}" in text
    assert "| `train.learning_rate` | `2.44e-5` | `5.31e-5` | `8.6e-6` | `2e-5` |" in markdown
    assert "seed" not in [row[0] for row in numbers_of(name, "importance.csv")]


def test_the_winner_is_held_against_the_defaults_and_the_base_with_intervals() -> None:
    for text in (to_markdown(PAGES["calm"]), text_of("calm")):
        assert text.index("gainst the defaults") < text.index("gainst the untouched model")
        assert "+0.0171 [+0.0103, +0.0239]" in text
        assert "+0.0742 [+0.0628, +0.0856]" in text


def test_without_test_or_without_another_winner_the_page_says_why_nothing_was_measured() -> None:
    for text in (to_markdown(PAGES["untested"]), text_of("untested")):
        assert "There was no test set" in text
        assert "gainst the defaults" not in text
    for text in (to_markdown(PAGES["defaults"]), text_of("defaults")):
        assert "The winner is the defaults themselves" in text
        assert "gainst the untouched model" in text


def test_all_trials_are_there_with_their_settings_and_what_failed_with_its_error() -> None:
    page = Page(page_of("long"))
    assert len(page.values("data-state")) == 200
    failed = [one for one in PAGES["long"].tried if one.state == "failed"]
    assert text_of("long").count("OutOfMemory: 2.1 GB were asked for") == len(failed) > 10
    rows = numbers_of("long", "trials.csv")
    assert len(rows) == 201
    first = dict(zip(rows[0], rows[1], strict=True))
    assert (first["origin"], first["train.learning_rate"], first["train.freeze"]) == ("recipe", "2e-05", "null")
    assert "- and 8 more" in to_markdown(PAGES["long"])


def test_few_finished_trials_are_no_ground_for_shares() -> None:
    assert "hold them for hints" not in text_of("calm")
    few = replace(PAGES["calm"], tried=PAGES["calm"].tried[:8])
    assert "hold them for hints" in to_markdown(few)
    assert "too few to say what each setting explains" in text_of("failed")
    assert "One trial was finished" in to_markdown(PAGES["failed"])


def test_texts_from_outside_stay_text() -> None:
    written, markdown = page_of("hostile"), to_markdown(PAGES["hostile"])
    assert "alert('wolverine')</script>" not in written
    assert "<img" not in written
    for name in ("script", "markup", "template"):
        assert made.HOSTILE[name] in Page(written).text
    assert not re.search("[\u202e\x00\x07]", written + markdown)
    tokens = MARKDOWN.parse(markdown)
    inline = [child for token in tokens for child in token.children or []]
    assert not {token.type for token in tokens} & {"html_block", "blockquote_open", "hr"}
    assert not {child.type for child in inline} & {"html_inline", "link_open", "image"}
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert (headings[0], headings[-1], len(headings)) == ("Search", "The winner's recipe", 9)


def test_the_same_search_gives_the_same_page() -> None:
    assert to_html(PAGES["calm"]) == page_of("calm")
