"""What stands on the terminal at the end of a run: changes in the colour of what they say, and what disagrees."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from embertune.evaluate.bootstrap import Change
from embertune.result import Result
from embertune.terminal import Terminal

GAIN, LOSS, UNCLEAR = (0.1, 0.05, 0.15, 0.001), (-0.1, -0.15, -0.05, 0.001), (0.1, -0.05, 0.25, 0.3)
GREEN, RED, YELLOW = "\x1b[32m", "\x1b[31m", "\x1b[33m"


def told(verdict: str = "better", similarities: tuple[str, ...] = (), **changes: tuple[float, ...]) -> str:
    """What the terminal shows, with its colours, of changes by similarity, cosine the primary one."""
    change = {f"a-test_{name}_accuracy": Change(*values, resamples=100) for name, values in changes.items()}
    values = dict.fromkeys(change, 0.5)
    primary = "a-test_cosine_accuracy"
    result = Result(Path(), verdict, "s", primary, values, values, change, "tuned", "r", {}, similarities=similarities)  # type: ignore[arg-type]  # verdicts by name
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=True, color_system="standard", highlight=False)
    Terminal(console=console).result(result)
    return file.getvalue()


def colour_of(text: str, metric: str) -> str:
    """The colour of the interval in a metric's line."""
    line = next(line for line in text.splitlines() if metric in line)
    return next(code for code in (GREEN, RED, YELLOW) if code in line.replace("\x1b[1;", "\x1b["))


@pytest.mark.parametrize(("values", "colour"), [(GAIN, GREEN), (LOSS, RED), (UNCLEAR, YELLOW)])
def test_a_change_has_the_colour_of_what_its_interval_says(values: tuple[float, ...], colour: str) -> None:
    text = told(cosine=GAIN, dot=values)
    assert colour_of(text, "a-test_dot_accuracy") == colour


def test_the_primary_change_has_the_colour_of_the_verdict() -> None:
    for verdict, colour in (("better", GREEN), ("worse", RED), ("too few to tell", YELLOW)):
        assert colour_of(told(verdict, cosine=GAIN), "a-test_cosine_accuracy") == colour


def test_what_disagrees_has_a_line_and_what_is_saved_another() -> None:
    lines = told(similarities=("dot product says [worse]", "the saved model compares by cosine"), cosine=GAIN)
    assert f"{YELLOW}but:\x1b[0m    dot product says [worse]\n" in lines
    assert "        the saved model compares by cosine" in lines
    assert "but:" not in told(similarities=("the saved model compares by cosine",), cosine=GAIN)
    assert "but:" not in told(cosine=GAIN)
