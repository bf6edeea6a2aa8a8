"""report.md renders as meant, whatever the data says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from embertune.report import to_markdown
from embertune.report.sparks import sparkline
from tests.report import made

MARKDOWN = MarkdownIt("commonmark").enable("table")


def test_the_headline_is_the_verdict() -> None:
    lines = [line for line in to_markdown(made.facts()).splitlines() if line]
    assert lines[0] == "# help-centre"
    assert lines[1] == "**Better: of 168 test queries 23 more now find their match first (between 14 and 32).**"


def test_every_metric_appears_once_with_its_change() -> None:
    written = to_markdown(made.facts())
    for metric in made.proof().baseline:
        name, label = metric.split("_", 1)
        assert (
            written.count(f"| `{name}` | `{label}` |") + written.count(f"| `{name}` | **`{label}`** (primary) |") == 1
        )
    assert "+0.1369 [+0.0839, +0.1899] | <0.001 |" in written


def test_the_primary_metric_is_the_first_row_and_marked() -> None:
    rows = [line for line in to_markdown(made.facts()).splitlines() if line.startswith("| `")]
    assert rows[0].startswith("| `help-test` | **`cosine_accuracy@1`** (primary) | 0.5500 | **0.6869** |")


@pytest.mark.parametrize("examples", [True, False])
def test_hostile_texts_make_no_markup(examples: bool) -> None:
    written = to_markdown(made.hostile(examples))
    tokens = MARKDOWN.parse(written)
    inline = [child for token in tokens for child in token.children or []]
    assert not {token.type for token in tokens} & {"html_block", "blockquote_open", "hr"}
    assert not {child.type for child in inline} & {"html_inline", "link_open", "image"}
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert "heading" not in headings
    assert headings[:2] == ["help-centre", "Results"]
    assert headings[-2:] == ["Load the model", "Recipe"]


def test_a_recipe_with_a_fence_stays_in_its_block() -> None:
    tokens = MARKDOWN.parse(to_markdown(made.facts(recipe_yaml="a: 1\n```\n# out\n````\n")))
    assert tokens[-1].type == "fence"
    assert "# out" in tokens[-1].content


def test_texts_are_there_only_where_they_may_be() -> None:
    shown, hidden = to_markdown(made.hostile(True)), to_markdown(made.hostile(False))
    assert all(word in shown for word in made.WORDS)
    assert not any(word in hidden for word in made.WORDS)


def test_what_was_removed_is_counted() -> None:
    assert "- shapes: rows without a gold label were left out **3,104**" in to_markdown(made.facts())


def test_the_best_evaluation_is_marked_however_many_there_are() -> None:
    history = made.history(1000, 10)
    written = to_markdown(made.facts(history=history, steps=1000, best_step=730))
    rows = [line for line in written.splitlines() if line.endswith("| best |")]
    assert len(rows) == 1
    assert rows[0].startswith("| 730 |")


def test_a_sparkline_goes_from_lowest_to_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 40) == "▁▂▃▄▅▆▇█"
    assert sparkline([2.0, 2.0], 40) == "▁▁"
    assert len(sparkline([float(i) for i in range(1000)], 40)) == 40


def test_a_run_without_test_and_dev_has_a_report() -> None:
    proof = made.proof(verdict="unmeasured", sentence="unmeasured: x", baseline={}, tuned={}, change={}, counts=None)
    written = to_markdown(made.facts(proof=proof, history=[], metric=None, notes=[], findings=[]))
    assert "No test set was there" in written
    assert "Nothing was removed or changed." in written


def test_findings_stand_in_a_table_and_their_examples_below() -> None:
    text = to_markdown(made.facts())
    assert "| train \\| test help | 12 | 7.1 % | Anchors of test help that stand in train. 12 rows dropped. |" in text
    assert "- `...`\n- `—`" in text
    assert "`...`" not in to_markdown(made.facts(examples=False))


def test_the_guard_has_a_section_with_diagnosis_remedies_and_advice() -> None:
    written = to_markdown(made.guarded())
    told = written.split("## What the guard saw")[1].split("\n## ")[0]
    assert "**Overfitting:** accuracy@1 from 0.69 (step 150)" in told
    assert "| 180 | rate | every rate is 0.5 of it | dev fell | 150 | dev rose from 0.69 to 0.7 |" in told
    assert "| dev \\<fell\\> | 210 |" in told
    assert "1. `train.epochs`: 4 instead of 5. Dev was best after 3.5 passes of 5.0 (Prechelt 1998)." in told
    assert "2 steps changed nothing" in told
    assert "What the guard saw" not in to_markdown(made.facts())


def test_what_was_won_and_lost_and_found_is_there_in_short() -> None:
    written, seen = to_markdown(made.facts()), made.seen()
    tokens = MARKDOWN.parse(written)
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[2:4] == ["Similarity functions", "Sizes"]
    assert {"Won and lost", "What is found first"} <= set(headings)
    assert "- Dot accuracy@1 falls by 0.0120, where cosine rises\n- The saved model compares by cosine" in written
    assert written.count("- 0.0000 → 1.0000\n") == written.count("- 1.0000 → 0.0000\n") == 3
    query = seen.neighbours[0]
    after = f"| 0.900 |  | `{query.before[0].text}` | 0.900 | ✓ | `{query.after[0].text}` |"
    assert f"`{query.query}`\n\n| before | | | after | | |\n|--:|---|---|--:|---|---|\n{after}" in written
    assert "| tuned | 64 | 6 | 0.6400 [0.5900, 0.6900] |  |" in written


def test_tables_of_neighbours_have_as_many_cells_as_their_head_whatever_is_missing() -> None:
    seen = made.seen()
    short = replace(seen.neighbours[0], after=seen.neighbours[0].after[:2])
    written = to_markdown(made.facts(seen=replace(seen, neighbours=(short,))))
    lines = written.split("| before | | | after | | |")[1].split("\n\n")[0].splitlines()[2:]
    assert [len(line.strip("|").split("|")) for line in lines] == [6] * 5
    assert all(not cell.strip() for cell in lines[-1].split("|")[4:])


def test_where_nothing_was_seen_there_is_no_section_of_it() -> None:
    written = to_markdown(made.facts(seen=None))
    assert not any(f"### {name}" in written for name in ("Won and lost", "Sizes", "Similarity functions"))
