"""Texts that try to act are shown instead."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from embertune.report.shown import LONGEST, code, code_cell, fenced, prose, shortened, visible
from tests.report.made import HOSTILE

MARKDOWN = MarkdownIt("commonmark").enable("table")
anything = st.text(st.characters(), max_size=60) | st.text("`|\\*_<>[]()&~#-+1. \n", max_size=40)


@given(anything)
def test_a_visible_text_can_be_written_and_has_no_control_but_line_ends_and_tabs(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not {c for c in shown if unicodedata.category(c) == "Cc"} - {"\n", "\t"}
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_long_text_is_cut_with_a_mark_and_a_short_one_is_left(text: str) -> None:
    short = shortened(text)
    assert len(short) <= LONGEST
    assert (short == text) == (len(text) <= LONGEST)
    assert short == text or short.endswith("…")


@given(anything)
def test_prose_renders_as_the_text_itself(text: str) -> None:
    tokens = MARKDOWN.parse(prose(text))
    words = " ".join(visible(text).split())
    if not words:
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == words


@given(anything)
def test_a_code_span_renders_as_one_piece_of_code(text: str) -> None:
    children = MARKDOWN.parse("- " + code(text))[3].children or []
    assert [child.type for child in children] == ["code_inline"]
    assert children[0].content.strip() == " ".join(visible(text).split())


@given(anything, anything)
def test_cells_stay_as_many_as_were_written(one: str, two: str) -> None:
    tokens = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {code_cell(one)} | {prose(two)} |\n")
    assert [token.type for token in tokens].count("td_open") == 2
    assert [token.type for token in tokens].count("tr_open") == 2


@given(anything)
def test_a_fence_ends_only_at_its_own_end(text: str) -> None:
    tokens = MARKDOWN.parse(fenced(text, "yaml"))
    assert [token.type for token in tokens] == ["fence"]
