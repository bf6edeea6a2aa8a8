"""The findings of the audit, the table of layers and the curve of a rate, as a person sees them on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from embertune.data.audit import FACTS, troubles
from embertune.data.findings import Finding
from embertune.report import layers as told
from embertune.report.numbers import percent
from embertune.report.ratecurve import to_lines
from embertune.report.shown import begun, shortened, visible
from embertune.watch import FROZEN, TRAINED, LayerLine

if TYPE_CHECKING:
    from embertune.training.ranging import Found

#: Examples below a finding, and the characters that are shown of each.
EXAMPLES, LONGEST = 3, 160
#: Characters of the bar of the highest rate.
BAR = 12
#: From this share on a finding is drawn in red, below in yellow.
LARGE = 0.01


def audit_screen(findings: Sequence[Finding], rows: Mapping[str, int], examples: bool) -> RenderableType:
    """What was found, the gravest first, then what describes the data side by side."""
    found = troubles(findings)
    sides = ", ".join(f"{count:,} {side}" for side, count in rows.items())
    head = f"[bold]{len(found)} finding{'' if len(found) == 1 else 's'}[/] in {escape(sides)}"
    facts = [finding for finding in findings if finding.kind in FACTS]
    parts: list[RenderableType] = ["", head]
    if found:
        parts += ["", _findings(found, examples)]
    if facts:
        parts += ["", "[bold]the data[/]", _facts(facts)]
    return Group(*parts)


def _findings(findings: Sequence[Finding], examples: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for name in ("count", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("where", no_wrap=True)
    table.add_column("what", overflow="fold")
    for finding in findings:
        colour = "red" if finding.share >= LARGE else "yellow"
        count = f"[bold {colour}]{finding.count:,}[/]" if finding.count else f"[{colour}]•[/]"
        share = percent(finding.share) if finding.of else ""
        what = Group(*_told(finding, examples))
        table.add_row(count, share, f"[dim]{escape(finding.side)}[/]", what)
    return table


def _told(finding: Finding, examples: bool) -> Iterator[RenderableType]:
    yield Text(begun(visible(finding.text)))
    if finding.done:
        yield Text(f"→ {visible(finding.done)}", style="green")
    for example in finding.examples[:EXAMPLES] if examples else ():
        yield Padding(Text(_line(example), style="dim", no_wrap=True, overflow="ellipsis"), (0, 0, 0, 2))


def _line(example: str) -> str:
    return shortened(" ".join(visible(example).split()), LONGEST)


def _facts(facts: Sequence[Finding]) -> Table:
    """By side, in the order of the sides."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    by_side = sorted(facts, key=lambda finding: (finding.side != "train", finding.side != "dev", finding.side))
    for side, group in groupby(by_side, key=lambda finding: finding.side):
        for place, finding in enumerate(group):
            table.add_row("" if place else escape(side), Text(visible(finding.text)))
    return table


def layer_screen(lines: Sequence[LayerLine], indent: int) -> RenderableType:
    """Every layer with its parameters and its highest rate, drawn as a bar beside those of the others."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("layer", no_wrap=True)
    for name in ("parameters", "rate"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for line, share in zip(lines, told.shares(lines), strict=True):
        frozen = line.state == FROZEN
        bar = Text("" if frozen else "━" * max(1, round(BAR * share)), style="green")
        if line.state not in (FROZEN, TRAINED):
            bar.append(f"  {line.state}", style="yellow")
        rate = "frozen" if frozen else told.rate(line.rate)
        table.add_row(escape(visible(line.name)), f"{line.parameters:,}", rate, bar, style="blue" if frozen else None)
    return Padding(Group(table, Text(told.summary(lines), style="dim")), (0, 0, 0, indent))


def rate_screen(found: Found) -> RenderableType:
    """The loss over the rate, and what is proposed, or why nothing is."""
    curve = to_lines(found)
    told = found.reason if found.rate is None else curve.pop()
    lines = [Text(line[:8], style="dim") + Text(line[8:], style="blue") for line in curve[:-2]]
    return Group("", *lines, *(Text(line, style="dim") for line in curve[-2:]), Text(told, style="bold yellow"))
