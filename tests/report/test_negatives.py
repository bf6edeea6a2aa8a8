"""What was mined is drawn in both reports, with examples only where texts may be shown."""

from __future__ import annotations

from typing import Any

from embertune.report.html import to_html
from embertune.report.markdown import to_markdown
from embertune.report.negatives import scores
from tests.report import made


def record(**changes: Any) -> dict[str, Any]:
    """As a mining leaves it in audit.json."""
    example = {
        "anchor": "who <b>mends</b> cars",
        "positive": "a garage",
        "positive_score": 0.81,
        "negatives": ["a bakery"],
        "scores": [0.74],
    }
    kept = {
        "model": "package minilm",
        "anchors": 1200,
        "candidates": 1100,
        "mined": 1190,
        "drawn": 10,
        "scores": {
            "edges": [0.6, 0.65, 0.7],
            "counts": {"positive": [200, 1000], "mined": [990, 200], "drawn": [10, 0]},
            "means": {"positive": 0.67, "mined": 0.63, "drawn": 0.61},
        },
        "examples": [example],
    }
    return {**kept, **changes}


def test_each_range_has_its_counts_and_bars_relative_to_the_longest_of_their_kind() -> None:
    found = scores(record())
    assert found is not None
    assert [edge for edge, _ in found.lines] == [0.6, 0.65]
    assert [[cell.count for cell in cells] for _, cells in found.lines] == [[200, 990, 10], [1000, 200, 0]]
    assert [cell.percent for cell in found.lines[0][1]] == [20.0, 100.0, 100.0]
    assert found.sentence.startswith("1,190 negatives mined for 1,200 anchors, 10 drawn by hash, among 1,100 texts")


def test_both_reports_show_scores_and_examples_and_escape_them() -> None:
    facts = made.facts(negatives=record())
    page, text = to_html(facts), to_markdown(facts)
    assert '<section id="negatives">' in page
    assert "who &lt;b&gt;mends&lt;/b&gt; cars" in page
    assert "### Hard negatives" in text
    assert "| 0.65 | 1,000 | 200 | 0 |" in text
    assert "a bakery" in page
    assert "a bakery" in text


def test_without_mining_there_is_no_word_of_it() -> None:
    assert 'id="negatives"' not in to_html(made.facts())
    assert "Hard negatives" not in to_markdown(made.facts())


def test_without_examples_no_text_is_shown() -> None:
    kept = record()
    del kept["examples"]
    facts = made.facts(negatives=kept, examples=False)
    assert "bakery" not in to_html(facts) + to_markdown(facts)
