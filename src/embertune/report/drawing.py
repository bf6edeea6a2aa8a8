"""The intervals of the results as a table draws them, in percent of its axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from embertune.evaluate.bootstrap import Change
from embertune.report.results import Row, level
from embertune.report.scale import Scale, Tick, spanning

Tone = Literal["gain", "loss", "unclear"]


@dataclass(frozen=True)
class Interval:
    """A change on the common axis of a table: its point, the ends of its interval, and where zero is."""

    low: float
    point: float
    high: float
    zero: float
    tone: Tone


@dataclass(frozen=True)
class Line:
    """A metric and the drawing of its change."""

    row: Row
    drawing: Interval | None


@dataclass(frozen=True)
class Block:
    """The lines of one test set; `about` says what it holds."""

    name: str
    about: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """Test sets whose changes are drawn on one axis."""

    blocks: tuple[Block, ...]
    ticks: tuple[Tick, ...]
    level: str

    def __len__(self) -> int:
        """The number of metrics."""
        return sum(len(block.lines) for block in self.blocks)


def table(sets: Sequence[tuple[str, str, Sequence[Row]]]) -> Table:
    """Sets as (name, what it holds, metrics) with the drawings of all changes on one axis."""
    all_rows = [row for _, _, rows in sets for row in rows]
    scale = common_scale(all_rows)
    blocks = tuple(
        Block(name, about, tuple(Line(row, interval(row.change, scale)) for row in rows)) for name, about, rows in sets
    )
    return Table(blocks, scale.ticks(3, sign=True), level(all_rows))


def tone(change: Change) -> Tone:
    """A gain or a loss only where the whole interval says so."""
    if not change.excludes_zero:
        return "unclear"
    return "gain" if change.difference > 0 else "loss"


def common_scale(rows: Sequence[Row]) -> Scale:
    """The axis that holds the intervals of all rows, and zero."""
    changes = [row.change for row in rows if row.change is not None]
    return spanning([0.0, *(end for change in changes for end in (change.low, change.high))], margin=0.06)


def interval(change: Change | None, scale: Scale) -> Interval | None:
    """The drawing of a change; None where it has no interval."""
    if change is None or not math.isfinite(change.low + change.high + change.difference):
        return None
    low, point, high = (scale.at(value) for value in (change.low, change.difference, change.high))
    return Interval(low, point, high, scale.at(0.0), tone(change))
