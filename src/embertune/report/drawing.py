"""What the template draws, in percent of the drawing: learning curves, and the intervals of the results.

Drawings are stretched to the width of the page while strokes and labels keep their size, so that they can be read on a
phone: lines are SVG paths in a box of 100 by 100, labels are HTML beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from embertune.evaluate.bootstrap import Change
from embertune.report.curves import Curves, Point
from embertune.report.numbers import number
from embertune.report.results import Row
from embertune.report.scale import Scale, Tick, spanning
from embertune.report.story import Story

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
class Mark:
    """Something that happened at a step: a line over the whole height, with a sign above it where `sign` is one."""

    x: float
    kind: str
    label: str
    sign: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart over the steps. `lines`: class of the style sheet to SVG path; `level` is a height to compare with.

    `names` says what lines are, where there are several.
    """

    title: str
    lines: dict[str, str]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    markers: tuple[Marker, ...] = ()
    best: Marker | None = None
    level: float | None = None
    names: tuple[tuple[str, str], ...] = ()
    marks: tuple[Mark, ...] = ()


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


def charts(curves: Curves, told: Story | None = None) -> list[Chart]:
    """Losses and the dev metric over the same steps, with what happened on the way; one without points is left out."""
    steps = Scale(0.0, max(1.0, float(curves.last_step)))
    told = told or Story()
    made = []
    if curves.loss:
        made.append(_loss(curves, steps))
    if chart := _probes(told, curves.best, steps):
        made.append(chart)
    if curves.dev:
        made.append(_dev(curves, steps))
    return [replace(chart, marks=tuple(_marks(told, steps))) for chart in made]


def _marks(told: Story, steps: Scale) -> Iterator[Mark]:
    """What happened, one of a kind in every four-hundredth of the axis; remedies numbered in their order."""
    placed: dict[tuple[str, int], Mark] = {}
    for event in told.events:
        x = steps.at(event.step)
        placed.setdefault((event.kind, round(4 * x)), Mark(x, event.kind, f"step {event.step:,}: {event.text}"))
    yield from placed.values()
    for place, remedy in enumerate(told.remedies, start=1):
        yield Mark(steps.at(remedy.step), "remedy", f"step {remedy.step:,}: remedy {remedy.rung}", str(place))


def _probes(told: Story, best: Point | None, steps: Scale) -> Chart | None:
    """The losses without dropout, on rows of train and of dev."""
    named = (("probe", "train rows", "train_loss"), ("held", "dev rows", "dev_loss"))
    found = {name: _finite((look.step, getattr(look, of)) for look in told.looks) for name, _, of in named}
    found = {name: points for name, points in found.items() if len(points) > 1}
    if not found:
        return None
    heights = spanning((value for points in found.values() for _, value in points), margin=0.1)
    chosen = next((point for point in found.get("held", ()) if best and point[0] == best[0]), None)
    mark = _marker(steps, heights)
    return Chart(
        "loss without dropout",
        {name: _path(points, steps, heights) for name, points in found.items()},
        _steps(steps),
        _heights(heights),
        best=mark(chosen) if chosen else None,
        names=tuple((name, words) for name, words, _ in named if name in found),
    )


def _finite(pairs: Iterable[tuple[int, float | None]]) -> list[Point]:
    return [(float(step), value) for step, value in pairs if value is not None and math.isfinite(value)]


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
