"""The table of layers in every report: a sentence where all are alike, otherwise a row for each."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from embertune.report import to_html, to_markdown
from embertune.report.layers import alike, shares, summary
from embertune.tables import layer_screen
from embertune.terminal import Terminal
from embertune.watch import FROZEN, LayerLine
from tests.report import made

LINES = (
    LayerLine("embeddings", 600, 1e-5, FROZEN),
    LayerLine("block 0", 200, 1e-5, "from step 121"),
    LayerLine("block 1", 200, 2e-5),
)
SAME = tuple(LayerLine(line.name, line.parameters, 2e-5) for line in LINES)


def test_layers_that_are_all_alike_are_one_sentence() -> None:
    assert alike(SAME)
    assert not alike(LINES)
    assert summary(SAME) == "all 1,000 parameters are trained, at up to 2e-05"
    for page in (to_markdown(made.facts(layers=SAME)), to_html(made.facts(layers=SAME))):
        assert "All 1,000 parameters are trained, at up to 2e-05." in page
        assert "block 1" not in page


def test_layers_that_differ_are_a_table_with_rates_and_what_is_frozen() -> None:
    assert summary(LINES) == "400 of 1,000 parameters are trained (40.0 %), at up to 2e-05"
    assert shares(LINES) == [0, 0.5, 1]
    page = to_markdown(made.facts(layers=LINES))
    assert "| embeddings | 600 | frozen |" in page
    assert "| block 0 | 200 | 1e-05, from step 121 |" in page
    rows = re.findall(r"<tr[^>]*><td><bdi>(.*?)</bdi></td>", to_html(made.facts(layers=LINES)))
    assert rows == [line.name for line in LINES]


def test_a_name_that_is_markup_stays_a_name() -> None:
    odd = (*LINES, LayerLine("block 1, [red]*<b>|", 5, 1e-6))
    assert "block 1, [red]*&lt;b&gt;|" in to_html(made.facts(layers=odd))
    assert "<b>" not in to_markdown(made.facts(layers=odd))
    console = Console(width=120, record=True)
    console.print(layer_screen(odd, indent=2))
    assert "block 1, [red]*<b>|" in console.export_text()


@pytest.mark.parametrize(("lines", "rows"), [(SAME, 1), (LINES, 5)])
def test_the_terminal_says_it_once_before_training(lines: tuple[LayerLine, ...], rows: int) -> None:
    console = Console(width=120, record=True)
    Terminal(console=console).layers(lines)
    assert len(console.export_text().strip().splitlines()) == rows
    silent = Console(width=120, record=True)
    Terminal(quiet=True, console=silent).layers(lines)
    assert not silent.export_text()
