"""What is on a plot, as plain values: lines, bins and marks, how each looks, and its numbers as a file."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Point = tuple[float, float]
#: What begins a formula in a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Look:
    """How a line is drawn: a colour of style.css, its width, lengths of dash and gap, the sign at its points.

    With a width of 0 its points are not joined. Of bins, `hatch` is what fills them, a space where that is the colour.
    """

    colour: str
    width: float = 2.0
    dashes: tuple[float, ...] = ()
    marker: str = ""
    hatch: str = ""


THIN, MAIN, DOTTED = Look("soft", 0.75), Look("accent"), Look("accent", marker="o")
OTHER = Look("against", dashes=(6, 3), marker="s")
FILLED, HATCHED = Look("accent", 1.5, hatch=" "), Look("against", 1.5, hatch="///")
LEVEL = Look("soft", 1.25, dashes=(5, 4))
#: For several lines of one kind: no two alike in colour, nor in dashes.
SEVERAL = (
    Look("accent"),
    Look("against", dashes=(7, 2.5)),
    Look("third", dashes=(1.5, 2)),
    Look("fourth", dashes=(7, 2, 1.5, 2)),
    Look("ink", 1.5, dashes=(3, 1.5)),
    Look("soft", 1.5),
)
#: What may happen on the way, as vertical lines.
KINDS: Mapping[str, Look] = MappingProxyType(
    {
        "best": Look("accent", 1.0),
        "thawed": Look("ink", 1.25, dashes=(1.5, 2.5)),
        "negatives": Look("ink", 1.25, dashes=(6, 3, 1.5, 3)),
        "remedy": Look("against", 1.5),
        "skipped": Look("against", 1.0),
    }
)


@dataclass(frozen=True)
class Line:
    """Points joined by a line, with a gap where y is not finite. `spread` has a low and a high end for each point.

    The spread is a band, or, where `bars` is true, an error bar at each point. With `at_foot` the points stand at the
    foot of the plot, whatever their y.
    """

    label: str
    look: Look
    points: Sequence[Point]
    spread: Sequence[Point] = ()
    bars: bool = False
    at_foot: bool = False


@dataclass(frozen=True)
class Bins:
    """A histogram: `counts` within stretches of `edges`, drawn as shares of all of them."""

    label: str
    look: Look
    edges: Sequence[float]
    counts: Sequence[int]

    def percents(self) -> list[float]:
        """Of each count, how many in a hundred it is."""
        whole = sum(self.counts) or 1
        return [100 * count / whole for count in self.counts]


@dataclass(frozen=True)
class Mark:
    """Something that happened at `x`, of one of `KINDS`, with a sign above it where `sign` is one."""

    x: float
    kind: str
    sign: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis: its label with the unit, its ends where they are set, and what numbers are written along it.

    `log`: by their logarithm. `names` are the words that stand at some places, in the place of numbers.
    """

    label: str
    ends: tuple[float, float] | None = None
    numbers: Literal["plain", "whole", "rate", "log"] = "plain"
    names: Mapping[float, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plot:
    """What is on a plot. `name` is that of its file, `about` tells what it shows to those who cannot see it.

    `ring` is a point that stands out, `level` a height to compare with, and `notes` are words above points. `legend`
    takes the place of the key to each line.
    """

    name: str
    title: str
    about: str
    x: Axis
    y: Axis
    lines: Sequence[Line] = ()
    bins: Sequence[Bins] = ()
    marks: Sequence[Mark] = ()
    ring: Point | None = None
    level: float | None = None
    notes: Sequence[tuple[float, float, str]] = ()
    said: str = ""
    legend: Sequence[tuple[str, Look]] = ()

    @property
    def key(self) -> list[tuple[str, Look]]:
        """What lines and bins are, where a plot has several; of more than can be told apart, those that can."""
        if self.legend:
            return list(self.legend)
        found = [(line.label, line.look) for line in self.lines] + [(bins.label, bins.look) for bins in self.bins]
        if len(found) > len(SEVERAL):
            return [one for one in found if one[1] != THIN]
        return found if len(found) > 1 else []


def as_csv(rows: Iterable[Sequence[str | float]]) -> str:
    """Lines of a table as a file; texts in it cannot be taken for formulas."""
    written = io.StringIO()
    out = csv.writer(written, lineterminator="\n")
    for row in rows:
        out.writerow([_cell(value) for value in row])
    return written.getvalue()


def csv_link(rows: Iterable[Sequence[str | float]]) -> str:
    """`as_csv` as an address that holds the file itself."""
    return "data:text/csv;base64," + base64.b64encode(as_csv(rows).encode("utf-8", "replace")).decode("ascii")


def numbers_of(plot: Plot) -> Iterator[Sequence[str | float]]:
    """The numbers of a plot as a table, a line for each point or bin."""
    if plot.bins:
        yield "bins", f"{plot.x.label}, from", "to", "count", "percent"
    for bins in plot.bins:
        stretches = zip(bins.edges, bins.edges[1:], bins.counts, bins.percents(), strict=False)
        yield from ((bins.label, *stretch) for stretch in stretches)
    if plot.lines:
        yield "line", plot.x.label, plot.y.label, "low", "high"
    for line in plot.lines:
        ends: Sequence[Point] = line.spread or [(math.nan, math.nan)] * len(line.points)
        named = ((plot.x.names.get(x, x), y) for x, y in line.points)
        yield from ((line.label, x, y, low, high) for (x, y), (low, high) in zip(named, ends, strict=True))


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return f"{value:.6g}" if math.isfinite(value) else ""
