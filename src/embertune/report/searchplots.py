"""The plots of a search: values in the order of trials, how trials learnt, and the value over each setting."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import quantiles
from typing import Any

from embertune.report.numbers import number, percent
from embertune.report.plots import MAIN, SEVERAL, THIN, Axis, Line, Look, Plot, Point
from embertune.report.settings import short_names, spelled
from embertune.report.tried import Searched, Tried

#: How the trials of each state look.
LOOKS: Mapping[str, Look] = {
    "complete": Look("accent", 0, marker="o"),
    "pruned": Look("soft", 0, marker="v"),
    "failed": Look("against", 0, marker="x"),
}
#: The lines of trials that stand out, and of the others.
_LINES: Mapping[str, Look] = {
    "the winner": MAIN,
    "the recipe as written": SEVERAL[3],
    "the defaults": SEVERAL[1],
    "complete": THIN,
    "pruned": Look("soft", 0.75, dashes=(2, 2)),
    "failed": Look("against", 1.0, dashes=(6, 2)),
}
#: How a range is told, before why it is one.
_RANGE = re.compile(r"[-+.\de]+ to [-+.\de]+(?P<log> \(log\))?(?::|$)")
#: A setting with more different words than this has the rarer ones put together.
_WORDS = 8
#: A value that is worse than three quarters of all by so many times the width of their middle half stands apart.
_APART = 3.0
#: Of fewer values none stands apart.
_MANY = 8


def history_plot(found: Searched) -> Plot:
    """What each trial reached, in their order, beside the base; what was best so far as a line."""
    course = list(best_so_far(found))
    lines = [Line("best so far", replace(MAIN, width=1.25), course)] if len(course) > 1 else []
    lines += _by_state(found.tried, lambda trial: float(trial.number))
    order = [trial.number for trial in found.tried] or [0]
    room = 0.4 + 0.02 * (max(order) - min(order))
    across = Axis("trial", (min(order) - room, max(order) + room), "whole")
    best = f"the best {number(course[-1][1])}" if course else "none came to a value"
    about = f"{found.metric} of {len(found.tried)} trials in their order: {best}; the base {number(found.base)}."
    ring = _ring(found, lambda trial: float(trial.number))
    said = "dashed: the base" + ("; ring: the winner" if ring else "")
    up, title = Axis(found.metric), "Trials in their order"
    return Plot("history", title, about, across, up, lines, level=found.base, ring=ring, said=said)


def learning_plot(found: Searched) -> Plot | None:
    """The best value of each trial so far over the share of its training that was done; pruned ones end early."""
    looked = [trial for trial in found.tried if any(math.isfinite(value) for _, value in trial.looks)]
    if not looked:
        return None
    kinds = list(_LINES)
    ordered = sorted(((_kind(trial, found), trial) for trial in looked), key=lambda pair: -kinds.index(pair[0]))
    lines = [
        Line(f"{trial.number}, {kind}", _LINES[kind], [(100 * share, value) for share, value in trial.looks])
        for kind, trial in ordered
    ]
    legend = tuple((kind, look) for kind, look in _LINES.items() if any(kind == of for of, _ in ordered))
    ended = sum(trial.state == "pruned" for trial in looked)
    about = f"Best {found.metric} so far over the share of training done, of {len(looked)} trials; {ended} ended early."
    across = Axis("share of the training done, %", (-1.5, 101.5))
    up = Axis(found.metric, _ends(found, [value for trial in looked for _, value in trial.looks]))
    return Plot("learning", "How trials learnt", about, across, up, lines, legend=legend)


def slice_plots(found: Searched) -> list[Plot]:
    """For each setting, the value of the trials over it: what explains most first; none for a setting of one value."""
    names = short_names(path for trial in found.tried for path in trial.settings)
    ordered = sorted(names, key=lambda path: -found.importance.get(path, 0.0))
    plots = [plot for path in ordered if (plot := _slice(found, path, names[path])) is not None]
    return [replace(plot, name=f"slice-{place}") for place, plot in enumerate(plots, start=1)]


def best_so_far(found: Searched) -> Iterator[Point]:
    """The best value up to each trial that has one."""
    best = math.nan
    for trial in found.tried:
        value = reached(trial)
        if math.isfinite(value):
            best = value if math.isnan(best) else (min if found.lower else max)(best, value)
            yield float(trial.number), best


def reached(trial: Tried) -> float:
    """The value of a trial, NaN where it has none."""
    return math.nan if trial.value is None else trial.value


def beyond(plot: Plot) -> bool:
    """Whether marks stand on the edge of a plot whose values lie beyond it."""
    low, high = plot.y.ends or (-math.inf, math.inf)
    return any(y < low or y > high for line in plot.lines for _, y in line.points)


def _slice(found: Searched, path: str, name: str) -> Plot | None:
    having = [trial for trial in found.tried if path in trial.settings]
    across, place = _across(name, found.space.get(path, ""), [trial.settings[path] for trial in having])
    placed = [trial for trial in having if math.isfinite(place(trial.settings[path]))]
    if len({place(trial.settings[path]) for trial in placed}) < 2:
        return None
    up = Axis(found.metric, _ends(found, [reached(trial) for trial in found.tried]))
    lines = _by_state(placed, lambda trial: place(trial.settings[path]))
    share = f"explains {percent(found.importance[path])}" if path in found.importance else ""
    missing = len(found.tried) - len(placed)
    said = "; ".join(filter(None, [share, f"not in {missing} trials" if missing else ""]))
    about = f"{found.metric} over {path} in {len(placed)} trials{f'; {said}' if said else ''}."
    ring = _ring(found, lambda trial: place(trial.settings[path]) if path in trial.settings else math.nan)
    return Plot("slice", path, about, across, up, lines, ring=ring, said=said)


def _across(label: str, words: str, values: Sequence[Any]) -> tuple[Axis, Callable[[Any], float]]:
    """The axis of a setting, and where a value stands on it (NaN: nowhere).

    Numbers stand by their size where `words` begin with a range, or where they are many; all else side by side.
    """
    ranged, figures = _RANGE.match(words), [float(value) for value in values if _is_figure(value)]
    many = len(set(figures)) > _WORDS and len(figures) == len(values)
    if not figures or not (ranged or many):
        return _side_by_side(label, values)
    low, high = min(figures), max(figures)
    if ranged and ranged["log"] and low > 0:
        room = (high / low) ** 0.06
        return Axis(label, (low / room, high * room), "log"), _size
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return Axis(label, (low - room, high + room)), _size


def _size(value: Any) -> float:
    return float(value) if _is_figure(value) else math.nan


def _side_by_side(label: str, values: Sequence[Any]) -> tuple[Axis, Callable[[Any], float]]:
    """Each different value a place of its own, numbers first; the rarest share the last, where there are many."""
    counts = Counter(map(spelled, values))
    kept = {name for name, _ in counts.most_common(_WORDS - 1 if len(counts) > _WORDS else None)}
    shown = [name for name, _ in sorted({spelled(value): value for value in values}.items(), key=_in_order)]
    places = {name: float(place) for place, name in enumerate(name for name in shown if name in kept)}
    last = float(len(places))
    names = {place: name for name, place in places.items()}
    if len(counts) > len(kept):
        names[last] = f"{len(counts) - len(kept)} others"
    axis = Axis(label, (-0.5, len(names) - 0.5), names=names)
    return axis, lambda value: places.get(spelled(value), last)


def _in_order(named: tuple[str, Any]) -> tuple[int, float, str]:
    name, value = named
    return (0, float(value), name) if _is_figure(value) else (1, 0.0, name)


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _by_state(trials: Sequence[Tried], x: Callable[[Tried], float]) -> list[Line]:
    """Marks for each state there is; a trial of no value stands at the foot."""
    lines = []
    for state, look in LOOKS.items():
        having = [trial for trial in trials if trial.state == state and math.isfinite(reached(trial))]
        if having:
            lines.append(Line(state, look, [(x(trial), reached(trial)) for trial in having]))
        if nothing := [trial for trial in trials if trial.state == state and not math.isfinite(reached(trial))]:
            label = state if state == "failed" else f"{state}, without a value"
            lines.append(Line(label, look, [(x(trial), math.nan) for trial in nothing], at_foot=True))
    return lines


def _ring(found: Searched, x: Callable[[Tried], float]) -> Point | None:
    """Where the winner's trial stands."""
    points = [(x(trial), reached(trial)) for trial in found.tried if trial.number == won(found)]
    return next((point for point in points if all(map(math.isfinite, point))), None)


def won(found: Searched) -> int | None:
    """The number of the winner's trial."""
    return next((one.trial for one in found.candidates if one.name == found.winner), None)


def _kind(trial: Tried, found: Searched) -> str:
    if trial.number == won(found):
        return "the winner"
    return {"recipe": "the recipe as written", "defaults": "the defaults"}.get(trial.origin, trial.state)


def _ends(found: Searched, values: Sequence[float]) -> tuple[float, float] | None:
    """The ends of an axis that does not reach for values that are far worse than the others; None without such."""
    up = sorted((-value if found.lower else value) for value in values if math.isfinite(value))
    if len(up) < _MANY:
        return None
    low, _, high = quantiles(up, n=4)
    kept = [value for value in up if value >= low - _APART * (high - low)]
    if len(kept) == len(up) or low == high:
        return None
    room = 0.08 * (kept[-1] - kept[0])
    ends = (kept[0] - room, kept[-1] + room)
    return (-ends[1], -ends[0]) if found.lower else ends
