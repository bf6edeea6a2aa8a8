"""Which plots a report has: learning curves over one axis of steps, similarities before and after, sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from embertune.evaluate.seen import Histogram, Seen, SizePoint
from embertune.report.curves import Curves, Point
from embertune.report.layers import rate
from embertune.report.numbers import number, percent
from embertune.report.plots import (
    DOTTED,
    FILLED,
    HATCHED,
    KINDS,
    MAIN,
    OTHER,
    SEVERAL,
    THIN,
    Axis,
    Bins,
    Line,
    Look,
    Mark,
    Plot,
    csv_link,
    numbers_of,
)
from embertune.report.story import Glance, Story
from embertune.report.svg import draw

#: What the lines over the whole height mean, in the order of the key.
_MEANINGS = {
    "best": "the best state",
    "remedy": "a remedy of the guard, numbered as below",
    "thawed": "layers were thawed",
    "negatives": "negatives were mined anew",
    "skipped": "short, at the foot: a step was skipped",
}
#: The two models whose similarities are drawn.
_MODELS = {"base": "the model as it came", "saved": "the saved model"}
#: Of one kind of event, as many marks as can be told apart along the axis.
_APART = 200


@dataclass(frozen=True)
class Figure:
    """A plot that was drawn: the drawing, the address that holds its numbers, the file they are saved as."""

    plot: Plot
    drawing: Markup
    data: str
    file: str


@dataclass(frozen=True)
class Figures:
    """The plots of a report, by section. `events` is the key to the marks of the learning curves."""

    curves: tuple[Figure, ...]
    similarity: tuple[Figure, ...]
    sizes: tuple[Figure, ...]
    events: tuple[tuple[str, Look], ...]


def figures(curves: Curves, told: Story, seen: Seen | None) -> Figures:
    """Everything there is to draw; a plot without points is left out."""
    learning = learning_plots(curves, told)
    likeness, sizes = (similarity_plots(seen), size_plots(seen)) if seen else ([], [])
    done = drawn([*learning, *likeness, *sizes])
    first, second = len(learning), len(learning) + len(likeness)
    there = {mark.kind for plot in learning for mark in plot.marks}
    events = tuple((words, KINDS[kind]) for kind, words in _MEANINGS.items() if kind in there)
    return Figures(done[:first], done[first:second], done[second:], events)


def drawn(plots: Sequence[Plot]) -> tuple[Figure, ...]:
    """Each plot with its drawing and its numbers."""
    return tuple(
        Figure(plot, drawing, csv_link(numbers_of(plot)), f"{plot.name}.csv")
        for plot, drawing in zip(plots, draw(plots), strict=True)
    )


def learning_plots(curves: Curves, told: Story) -> list[Plot]:
    """Losses, the dev metric and the rates over the same steps, with what happened on the way."""
    last = max(1, curves.last_step)
    steps = Axis("step", (-0.015 * last, 1.015 * last), "whole")
    marks = tuple(_marks(told, curves.best, last))
    made = (_dev(curves, told, steps), _probes(told, steps), _loss(curves, steps), _rates(curves, steps))
    return [replace(plot, marks=marks) for plot in made if plot is not None]


def _marks(told: Story, best: Point | None, last: int) -> Iterator[Mark]:
    """What happened, one of a kind in every stretch that can be told apart; remedies numbered in their order."""
    if best is not None:
        yield Mark(best[0], "best")
    placed = {(event.kind, event.step * _APART // last): Mark(event.step, event.kind) for event in told.events}
    yield from placed.values()
    for place, remedy in enumerate(told.remedies, start=1):
        yield Mark(remedy.step, "remedy", str(place))


def _loss(curves: Curves, steps: Axis) -> Plot | None:
    if not curves.loss:
        return None
    about = f"Loss of each training step: {_course(curves.smooth)}, averaged."
    lines = [Line("each step", THIN, curves.loss), Line("running average", MAIN, curves.smooth)]
    return Plot("training-loss", "Training loss", about, steps, Axis("loss, with dropout"), lines)


def _probes(told: Story, steps: Axis) -> Plot | None:
    """The losses without dropout, on rows of train and of dev."""
    named: tuple[tuple[str, Look, Callable[[Glance], float | None]], ...] = (
        ("rows of train", DOTTED, lambda look: look.train_loss),
        ("rows of dev", OTHER, lambda look: look.dev_loss),
    )
    lines = [Line(name, look, _finite((one.step, of(one)) for one in told.looks)) for name, look, of in named]
    lines = [line for line in lines if len(line.points) > 1]
    if not lines:
        return None
    about = "Loss without dropout: " + "; ".join(f"{line.label} {_course(line.points)}" for line in lines) + "."
    return Plot("loss", "Loss on train and dev", about, steps, Axis("loss, without dropout"), lines)


def _dev(curves: Curves, told: Story, steps: Axis) -> Plot | None:
    if not curves.dev:
        return None
    errors = {float(look.step): look.error or 0.0 for look in told.looks}
    reach = [errors.get(step, 0.0) for step, _ in curves.dev]
    spread = [(value - error, value + error) for (_, value), error in zip(curves.dev, reach, strict=True)]
    line = Line(f"dev {curves.metric}", DOTTED, curves.dev, spread if any(reach) else ())
    level = curves.dev[0][1] if curves.dev[0][0] == 0 and len(curves.dev) > 1 else None
    said = f"best {number(curves.best[1])} at step {curves.best[0]:,.0f}" if curves.best else ""
    about = f"{curves.metric} on dev: {_course(curves.dev)}{f', {said}' if said else ''}."
    title, axis = f"Dev {curves.metric}", Axis(str(curves.metric))
    return Plot("dev", title, about, steps, axis, [line], ring=curves.best, level=level, said=said)


def _rates(curves: Curves, steps: Axis) -> Plot | None:
    """A line for all layers that have the same rate all the way."""
    named: dict[tuple[Point, ...], list[str]] = {}
    for name, points in curves.rates.items():
        named.setdefault(points, []).append(name)
    if not named:
        return None
    labels = ["all that is trained"] if len(named) == 1 else [_together(names) for names in named.values()]
    lines = [Line(label, look, points) for label, look, points in zip(labels, _looks(len(named)), named, strict=True)]
    top = max(value for points in named for _, value in points if math.isfinite(value))
    about = f"Learning rate of {len(curves.rates)} groups of layers, the highest {rate(top)}."
    said = "" if len(named) <= len(SEVERAL) else "thin lines: layers between"
    axis = Axis("learning rate", (0.0, 1.05 * top if top > 0 else 1.0), "rate")
    return Plot("learning-rate", "Learning rate by layer", about, steps, axis, lines, said=said)


def _looks(count: int) -> list[Look]:
    """A look for each of so many lines; of more than can be told apart, the first, the last and some between."""
    if count <= len(SEVERAL):
        return list(SEVERAL[:count])
    found = [THIN] * count
    for place, look in enumerate(SEVERAL):
        found[(count - 1) * place // (len(SEVERAL) - 1)] = look
    return found


def _together(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 3 else f"{names[0]} to {names[-1]}"


def similarity_plots(seen: Seen) -> list[Plot]:
    """How near to an item what belongs to it is, and what does not, before and after, on the same axes."""
    found = [(when, one) for when, one in (("base", seen.before), ("saved", seen.after)) if one and _any(one)]
    found = [(when, _coarser(one, _stretches([one for _, one in found]))) for when, one in found]
    plots = [_similarity(seen.similarity, when, one) for when, one in found]
    if not plots:
        return []
    top = 1.06 * max(share for plot in plots for bins in plot.bins for share in bins.percents())
    first, last = found[0][1].edges[0], found[0][1].edges[-1]
    ends = _around([edge for _, one in found for edge in _inhabited(one)] or [first, last])
    return [replace(plot, x=replace(plot.x, ends=ends), y=replace(plot.y, ends=(0.0, top))) for plot in plots]


def _similarity(function: str, which: str, one: Histogram) -> Plot:
    bins = (
        Bins("belongs together", FILLED, one.edges, one.positive),
        Bins("does not", HATCHED, one.edges, one.negative),
    )
    sums = f"{sum(one.positive):,} that belong together, {sum(one.negative):,} that do not"
    overlap = f"{percent(_overlap(one))} of the shares overlap"
    about = f"Histogram of {function} similarity, {_MODELS[which]}: {sums}; {overlap}."
    title = f"{_MODELS[which][0].upper()}{_MODELS[which][1:]}"
    return Plot(f"similarity-{which}", title, about, Axis(f"{function} similarity"), Axis("share, %"), bins=bins)


def _stretches(several: Sequence[Histogram]) -> int:
    """How many stretches are put together, so that no more of them stand than Rice's rule gives their counts."""
    fewest = min(sum(counts) for one in several for counts in (one.positive, one.negative) if any(counts))
    widest = max(len(one.positive) for one in several)
    return max(1, math.ceil(widest / max(10.0, 2 * math.cbrt(fewest))))


def _coarser(one: Histogram, times: int) -> Histogram:
    """The same counts in stretches that are so many times as wide; the last may be narrower."""
    firsts = range(0, len(one.positive), times)
    positive, negative = (tuple(sum(of[n : n + times]) for n in firsts) for of in (one.positive, one.negative))
    return Histogram((*one.edges[:-1:times], one.edges[-1]), positive, negative)


def _any(one: Histogram) -> bool:
    return sum(one.positive) + sum(one.negative) > 0


def _overlap(one: Histogram) -> float:
    """The share that both histograms have in common: 0 where they stand apart, 1 where they are the same."""
    pairs = zip(one.positive, one.negative, strict=True)
    whole = sum(one.positive) or 1, sum(one.negative) or 1
    return sum(min(yes / whole[0], no / whole[1]) for yes, no in pairs)


def _inhabited(one: Histogram) -> list[float]:
    """Both ends of the stretches in which there is something."""
    there = [place for place, both in enumerate(zip(one.positive, one.negative, strict=True)) if any(both)]
    return [one.edges[there[0]], one.edges[there[-1] + 1]] if there else []


def size_plots(seen: Seen) -> list[Plot]:
    """Quality against each of dimensions, layers and seconds in which the sizes differ."""
    axes: tuple[tuple[str, str, Axis, Callable[[SizePoint], float | None]], ...] = (
        ("dimensions", "Quality and dimensions", Axis("dimensions", None, "whole"), lambda one: one.dimensions),
        ("layers", "Quality and layers", Axis("layers", None, "whole"), lambda one: one.layers),
    )
    if len({one.layers for one in seen.sizes}) > 1:  # vectors that are cut off take the same time
        axes += (("speed", "Quality and speed", Axis("seconds to encode 1,000 texts"), lambda one: one.seconds),)
    made = (_sizes(seen, name, title, axis, of) for name, title, axis, of in axes)
    return [plot for plot in made if plot is not None]


def _sizes(seen: Seen, name: str, title: str, axis: Axis, of: Callable[[SizePoint], float | None]) -> Plot | None:
    places = [(float(x), one) for one in seen.sizes if (x := of(one)) is not None and math.isfinite(one.value)]
    if len({x for x, _ in places}) < 2:
        return None
    by_label: dict[str, list[tuple[float, SizePoint]]] = {}
    for x, one in sorted(places, key=lambda place: place[0]):
        by_label.setdefault(one.label, []).append((x, one))
    last = sorted(by_label.items(), key=lambda item: item[0] == "baseline")
    lines = [_sizes_line(label, place, points) for place, (label, points) in enumerate(last)]
    told = "; ".join(f"{one.label} {x:g}: {number(one.value)}" for x, one in places)
    ends = _around([x for x, _ in places])
    about = f"{seen.metric} against {axis.label}: {told}."
    return Plot(f"size-{name}", title, about, replace(axis, ends=ends), Axis(seen.metric), lines)


def _sizes_line(label: str, place: int, points: Sequence[tuple[float, SizePoint]]) -> Line:
    look = replace(SEVERAL[place % len(SEVERAL)], marker="os^Dvp"[place % len(SEVERAL)])
    spread = [(one.low, one.high) for _, one in points]
    return Line(label, look, [(x, one.value) for x, one in points], spread, bars=True)


def _around(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis a little beyond the values."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room


def _finite(pairs: Iterable[tuple[int, float | None]]) -> list[Point]:
    return [(float(step), value) for step, value in pairs if value is not None and math.isfinite(value)]


def _course(points: Sequence[Point]) -> str:
    """`from 2.4000 at step 1 to 0.3500 at step 300`."""
    (first, begin), (last, end) = points[0], points[-1]
    return f"from {number(begin)} at step {first:,.0f} to {number(end)} at step {last:,.0f}"
