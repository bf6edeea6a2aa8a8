"""The states a run could have saved, as people read them."""

from __future__ import annotations

from dataclasses import replace

from embertune.choose import Candidate, Choice
from embertune.report.choice import states, words_of
from embertune.report.html import to_html
from embertune.report.markdown import to_markdown
from tests.report import made

TRIED = (
    Candidate("base", 0.6, 0.03),
    Candidate("tuned", 0.8, 0.0),
    Candidate("interpolated(0.25)", 0.795, 0.01, 0.04, 0.02),
)


def test_every_kind_of_state_has_words_of_its_own() -> None:
    assert words_of("base") == "the model as it came"
    assert words_of("average") == "the average of the states that were best at their time"
    assert words_of("interpolated(0.25)") == "25% of the model as it came, the rest of the best state"


def test_each_state_stands_beside_the_best_on_dev_with_its_error() -> None:
    base, tuned, mixed = states(Choice("interpolated(0.25)", "why", TRIED))
    assert (base.behind, base.kept, base.chosen) == ("−0.2000 ± 0.0300", "", False)
    assert (tuned.dev, tuned.behind) == ("0.8000", "")
    assert (mixed.behind, mixed.kept, mixed.chosen) == ("−0.0050 ± 0.0100", "+0.0400 ± 0.0200", True)


def test_the_report_in_text_has_a_line_for_each_and_says_which_was_saved() -> None:
    facts = replace(made.facts(), choice=Choice("interpolated(0.25)", "keeps more", TRIED))
    page = to_markdown(facts)
    assert "Saved: **25% of the model as it came, the rest of the best state**. Keeps more." in page
    assert "| **25% of the model as it came, the rest of the best state** | 0.7950 | −0.0050 ± 0.0100 | +0.0400" in page
    assert "| the model as it came | 0.6000 | −0.2000 ± 0.0300 |  |" in page


def test_the_page_has_the_same_table() -> None:
    facts = replace(made.facts(), choice=Choice("interpolated(0.25)", "keeps more", TRIED))
    page = to_html(facts)
    assert "Saved: 25% of the model as it came, the rest of the best state." in page
    assert page.count('<span class="tag">saved</span>') == 1
    assert "−0.0050 ± 0.0100" in page


def test_without_a_choice_there_is_no_table() -> None:
    assert "could have been saved" not in to_markdown(replace(made.facts(), choice=Choice("tuned", "no dev rows")))
