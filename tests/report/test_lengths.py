"""Test sets measured with vectors cut off take one line each, in the report and on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from embertune.evaluate.bootstrap import Change
from embertune.outcomes import result_table
from embertune.report.facts import Facts, Side
from embertune.report.markdown import to_markdown
from embertune.report.results import groups
from embertune.result import Result
from tests.report import made

LENGTHS = (128, 64)


def with_lengths() -> Facts:
    """The usual facts, their first test set measured at two lengths as well."""
    facts = made.facts()
    whole = next(side for side in facts.sides if side.role == "test")
    of_whole = [metric for metric in facts.proof.baseline if metric.startswith(f"{whole.name}_")]
    names = {m: [m.replace(whole.name, f"{whole.name}-{n}", 1) for n in LENGTHS] for m in of_whole}
    proof = facts.proof
    for part in ("baseline", "tuned", "change"):
        values = dict(getattr(proof, part))
        values |= {name: values[metric] for metric in of_whole if metric in values for name in names[metric]}
        proof = replace(proof, **{part: values})
    short = [Side("test", f"{whole.name}-{n}", whole.shape, whole.rows, n) for n in LENGTHS]
    return replace(facts, proof=proof, sides=[*facts.sides, *short])


def test_of_a_length_the_report_shows_what_the_set_is_judged_by_and_keeps_the_rest() -> None:
    facts = with_lengths()
    found = {group.name: group for group in groups(facts)}
    primary = str(facts.proof.primary)
    for length in LENGTHS:
        group = found[f"help-test-{length}"]
        assert [row.metric for row in group.main] == [primary.replace("help-test", f"help-test-{length}")]
        assert len(group.further) == len(found["help-test"].main) + len(found["help-test"].further) - 1
    assert "help-test-64" in to_markdown(facts)


def test_the_terminal_shows_one_line_for_each_length() -> None:
    metrics = [f"{name}_{s}_accuracy" for name in ("a-test", "a-test-64") for s in ("cosine", "dot", "max")]
    change = {metric: Change(0.1, 0.0, 0.2, 0.01, 1000) for metric in metrics}
    values = dict.fromkeys(metrics, 0.5)
    result = Result(Path(), "better", "s", "a-test_cosine_accuracy", values, values, change, "tuned", "r", {})
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(result_table(result))
    lines = [line.split()[0] for line in console.export_text().splitlines()[1:]]
    assert lines == [
        "a-test_cosine_accuracy",
        "a-test_dot_accuracy",
        "a-test_max_accuracy",
        "a-test-64_cosine_accuracy",
    ]
