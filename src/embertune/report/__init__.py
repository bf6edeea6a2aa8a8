"""What a run ends with: report.html, report.md, and the card of the saved model, all from one value, `Facts`."""

from __future__ import annotations

from pathlib import Path

from embertune.report.card import to_card
from embertune.report.facts import Facts, Side
from embertune.report.html import to_html
from embertune.report.markdown import to_markdown
from embertune.rundir import REPORT_HTML, REPORT_MD, write_text

__all__ = ["Facts", "Side", "to_card", "to_html", "to_markdown", "write"]


def write(facts: Facts, folder: Path) -> None:
    """Write report.md and report.html into the run folder, each whole or not at all."""
    write_text(folder / REPORT_MD, to_markdown(facts))
    write_text(folder / REPORT_HTML, to_html(facts))
