"""The history of a run as curves with few enough points to be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, TypeVar

#: As many points as a line gets, however long the history.
POINTS = 500
#: The share of the steps over which the loss is averaged.
_WINDOW = 0.06

Point = tuple[float, float]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Curves:
    """What a run's history shows, by step. `best` is the point of the state that was kept, None where there is none.

    `rates` has the learning rate of each group of layers, the highest first, NaN where the group was frozen.
    """

    loss: tuple[Point, ...]
    smooth: tuple[Point, ...]
    dev: tuple[Point, ...]
    metric: str | None
    best: Point | None
    last_step: int
    rates: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)


def curves(history: Sequence[Mapping[str, Any]], metric: str | None, best_step: int) -> Curves:
    """The curves of the records of history.jsonl; steps written twice, as by a resumed run, count as written last."""
    loss = tuple(_points((record["step"], record.get("loss")) for record in history if "step" in record))
    looks = [(record["step"], record["dev"]) for record in history if "step" in record and record.get("dev")]
    if metric is None and looks:
        metric = next(iter(looks[0][1]))
    dev = tuple(_points((step, values.get(metric)) for step, values in looks))
    best = next((point for point in dev if point[0] == best_step), None)
    last = max((int(record["step"]) for record in history if "step" in record), default=0)
    return Curves(tuple(thinned(loss)), tuple(_sampled(smoothed(loss))), dev, metric, best, last, _rates(history))


def _rates(history: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Point, ...]]:
    """The rates of the same steps for every group, of many steps some."""
    by_step = {float(record["step"]): record["rates"] for record in history if record.get("rates")}
    steps = _sampled(sorted(by_step))
    names = dict.fromkeys(name for step in steps for name in by_step[step])
    return {name: tuple((step, _known(by_step[step].get(name))) for step in steps) for name in names}


def _known(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def smoothed(points: Sequence[Point]) -> list[Point]:
    """The mean over a window centred on each point, so that it does not lag; cut off at the two ends."""
    sums = [0.0, *accumulate(value for _, value in points)]
    reach = max(1, round(_WINDOW * len(points) / 2))
    out = []
    for i, (step, _) in enumerate(points):
        begin, end = max(0, i - reach), min(len(points), i + reach + 1)
        out.append((step, (sums[end] - sums[begin]) / (end - begin)))
    return out


def thinned(points: Sequence[Point], limit: int = POINTS) -> list[Point]:
    """At most `limit` points: of each stretch its lowest and highest, so that no spike is lost."""
    if len(points) <= limit:
        return list(points)
    stretches = limit // 2
    bounds = [len(points) * i // stretches for i in range(stretches + 1)]
    out: list[Point] = []
    for begin, end in pairwise(bounds):
        stretch = points[begin:end]
        extremes = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        out += sorted(extremes)
    return out


def _sampled(points: Sequence[_T], limit: int = POINTS) -> list[_T]:
    if len(points) <= limit:
        return list(points)
    return [points[(len(points) - 1) * i // (limit - 1)] for i in range(limit)]


def _points(pairs: Iterator[tuple[int, Any]]) -> list[Point]:
    """Finite values only, in the order of their steps."""
    by_step = {
        float(step): float(value) for step, value in pairs if isinstance(value, int | float) and math.isfinite(value)
    }
    return sorted(by_step.items())
