"""What the template draws, in percent of the drawing: learning curves, and the intervals of the results.

Drawings are stretched to the width of the page while strokes and labels keep their size, so that they can be read on a
phone: lines are SVG paths in a box of 100 by 100, labels are HTML beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from embertune.evaluate.bootstrap import Change
from embertune.report.curves import Curves, Point
from embertune.report.numbers import number
from embertune.report.results import Row
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
class Marker:
    """A measured point, with what to say of it."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A chart over the steps. `lines`: class of the style sheet to SVG path; `level` is a height to compare with."""

    title: str
    lines: dict[str, str]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    markers: tuple[Marker, ...] = ()
    best: Marker | None = None
    level: float | None = None


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


def charts(curves: Curves) -> list[Chart]:
    """The loss and the dev metric over the same steps; a chart without points is left out."""
    steps = Scale(0.0, max(1.0, float(curves.last_step)))
    made = []
    if curves.loss:
        made.append(_loss(curves, steps))
    if curves.dev:
        made.append(_dev(curves, steps))
    return made


def _loss(curves: Curves, steps: Scale) -> Chart:
    heights = spanning((value for _, value in curves.loss), margin=0.04)
    lines = {"raw": _path(curves.loss, steps, heights), "smooth": _path(curves.smooth, steps, heights)}
    return Chart("training loss", lines, _steps(steps), _heights(heights))


def _dev(curves: Curves, steps: Scale) -> Chart:
    heights = spanning((value for _, value in curves.dev), margin=0.12)
    mark = _marker(steps, heights)
    return Chart(
        f"dev {curves.metric}",
        {"dev": _path(curves.dev, steps, heights)},
        _steps(steps),
        _heights(heights),
        markers=tuple(mark(point) for point in curves.dev),
        best=mark(curves.best) if curves.best else None,
        level=round(100 - heights.at(curves.dev[0][1]), 2) if curves.dev[0][0] == 0 else None,
    )


def _marker(steps: Scale, heights: Scale) -> Callable[[Point], Marker]:
    def mark(point: Point) -> Marker:
        label = f"step {point[0]:,.0f}: {number(point[1])}"
        return Marker(steps.at(point[0]), round(100 - heights.at(point[1]), 2), label)

    return mark


def _path(points: Sequence[Point], steps: Scale, heights: Scale) -> str:
    places = (f"{steps.at(x):g} {100 - heights.at(y):.4g}" for x, y in points)
    return "M" + "L".join(places)


def _steps(steps: Scale) -> tuple[Tick, ...]:
    return tuple(tick for tick in steps.ticks(4) if "." not in tick.label)


def _heights(heights: Scale) -> tuple[Tick, ...]:
    return tuple(Tick(round(100 - tick.at, 2), tick.label) for tick in heights.ticks(4))
