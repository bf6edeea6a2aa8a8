"""The pages of several runs together: the folds of a cross-validation, and the seeds of one recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.folds import Crossed, Growth
from embertune.evaluate.retention import Retained
from embertune.evaluate.seeds import Joint
from embertune.report import folds as of_folds
from embertune.report import seeds as of_seeds
from embertune.report.drawing import table
from embertune.report.figures import drawn
from embertune.report.folds import HOW_OVER_FOLDS, Fold, best_of, by_fold, mean_of
from embertune.report.numbers import interval, number, signed
from embertune.report.page import SIGNS, template
from embertune.report.plots import LEVEL, MAIN, Axis, Line, Look, Plot, Point, csv_link
from embertune.report.results import BEFORE, Group, grouped, primary
from embertune.report.seeds import HOW_OVER_SEEDS, Seed, by_seed
from embertune.report.shown import begun

_BEFORE, _AFTER = Look("against", 0, marker="s"), Look("accent", 0, marker="o")
_MEAN = Look("ink", 2.0, marker="D")
#: What of a table is no figure.
_WORDS = ("saved", "verdict")
#: As many runs are named along an axis.
_NAMED = 12
#: How p-values are to be read.
_HOLM = "The p-values of all metrics but the primary one are adjusted together (Holm)."


@dataclass(frozen=True)
class _Several:
    """What a page shows. `lines` are the cells of its table under `heads`, the last two the mean and the deviation."""

    title: str
    verdict: str
    sentence: str
    told: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str]]
    how: str
    groups: Sequence[Group]
    plots: Sequence[Plot]
    values: Sequence[Sequence[str | float]]
    retention: Sequence[Retained] = ()
    growth: Growth | None = None


def folds_page(found: Crossed, folds: Sequence[Fold], steps: int, final: str, grown: Growth | None) -> str:
    """The page of a cross-validation; `final` is the folder of the model trained on all rows, '' for none."""
    before, after = ({metric: mean_of(getattr(one, side)) for metric, one in found.metrics.items()} for side in _SIDES)
    changes = {metric: one.change for metric, one in found.metrics.items()}
    kept = f" A model trained so long on all rows is in {final}." if final else ""
    rows = [
        (metric, fold.number, base, tuned)
        for metric, one in found.metrics.items()
        for fold, base, tuned in zip(folds, one.baseline, one.tuned, strict=True)
    ]
    return _page(
        _Several(
            f"{len(folds)} folds",
            found.verdict,
            found.sentence,
            f"{best_of(steps)}{kept} The reports of the single runs are in their folders.",
            of_folds.HEADS,
            by_fold(found, folds),
            HOW_OVER_FOLDS,
            grouped(before, after, changes, found.primary),
            [_by_fold(found, folds), *([_growth(grown, found.primary)] if grown else [])],
            [("metric", "fold", "baseline", "tuned"), *rows],
            growth=grown,
        )
    )


_SIDES = ("baseline", "tuned")


def seeds_page(found: Joint, seeds: Sequence[Seed], why: str) -> str:
    """The page of several seeds; `why` says which is to be taken."""
    changes = {metric: one.change for metric, one in found.change.items()}
    rows = [
        (metric, seed.number, difference)
        for metric, one in found.change.items()
        for seed, difference in zip(seeds, one.by_seed, strict=True)
    ]
    return _page(
        _Several(
            f"{len(seeds)} seeds",
            found.verdict,
            found.sentence,
            f"{begun(why)}. The reports of the single runs are in their folders.",
            of_seeds.HEADS,
            by_seed(found, seeds) if found.primary else [],
            HOW_OVER_SEEDS,
            grouped(found.baseline, found.tuned, changes, found.primary or ""),
            [_by_seed(found, seeds)] if found.primary else [],
            [("metric", "seed", "change"), *rows],
            found.retention,
        )
    )


def _page(all_of: _Several) -> str:
    figures = drawn(all_of.plots)
    page = template("several.html").render(
        one=all_of,
        sign=SIGNS.get(all_of.verdict, ""),
        primary=primary(all_of.groups),
        main=table([(group.name, "", group.main) for group in all_of.groups]),
        further=table([(group.name, "", group.further) for group in all_of.groups if group.further]),
        figures=figures[:1],
        curve=figures[1:],
        values=csv_link(all_of.values),
        before=BEFORE,
        holm=_HOLM,
        words=_WORDS,
    )
    return page.rstrip() + "\n"


def _by_fold(found: Crossed, folds: Sequence[Fold]) -> Plot:
    """Base and tuned in each fold; at the end their means, with the interval of the mean change."""
    mean, last = found.metrics[found.primary], float(len(folds) + 1)
    base, tuned = mean_of(mean.baseline), mean_of(mean.tuned)
    lines = [
        Line("baseline", _BEFORE, [*((float(one.number), one.baseline) for one in folds), (last, base)]),
        Line("tuned", _AFTER, [(float(one.number), one.tuned) for one in folds]),
        Line(
            f"mean of tuned, with the interval of the change ({100 * mean.change.level:g} %)",
            _MEAN,
            [(last, tuned)],
            [(base + mean.change.low, base + mean.change.high)],
            bars=True,
        ),
    ]
    told = f"mean change {signed(mean.change.difference)} {interval(mean.change.low, mean.change.high)}"
    about = f"{found.primary} before and after in {len(folds)} folds; {told}."
    across = Axis("fold", (0.5, last + 0.5), names=_names([one.number for one in folds], last))
    return Plot("folds", "Before and after, by fold", about, across, Axis(found.primary), lines)


def _by_seed(found: Joint, seeds: Sequence[Seed]) -> Plot:
    """The change of each seed and of the mean, with their intervals, over no change."""
    assert found.primary is not None
    mean, last = found.change[found.primary].change, float(len(seeds) + 1)
    each = [one.change for one in seeds]
    places = [float(place) for place in range(1, len(seeds) + 1)]
    lines = [
        Line("each seed", _AFTER, _points(places, each), _spread(each), bars=True),
        Line("mean", _MEAN, _points([last], [mean]), _spread([mean]), bars=True),
    ]
    told = f"mean {signed(mean.difference)} {interval(mean.low, mean.high)}"
    about = f"Change of {found.primary} in {len(seeds)} seeds; {told}."
    across = Axis("seed", (0.5, last + 0.5), names=_names([one.number for one in seeds], last))
    up = Axis(f"change of {found.primary}")
    return Plot("seeds", "Change, by seed", about, across, up, lines, level=0.0, said="dashed: no change")


def _growth(grown: Growth, metric: str) -> Plot:
    """What was reached with how many rows, and the line through it as far as twice the rows."""
    slope, sizes = grown.doubling.difference, [math.log2(rows) for rows in grown.rows]
    middle, height = mean_of(sizes), mean_of(grown.values)
    first, last = grown.rows[0], grown.rows[-1]
    ends = [(float(rows), height + slope * (math.log2(rows) - middle)) for rows in (first, last, 2 * last)]
    reach = [(ends[1][1] + grown.doubling.low, ends[1][1] + grown.doubling.high)]
    lines = [
        Line("line through them", LEVEL, ends),
        Line(
            "mean of the folds", replace(MAIN, marker="o"), list(zip(map(float, grown.rows), grown.values, strict=True))
        ),
        Line("twice the rows, if it went on", Look("ink", 1.25, marker="D"), ends[2:], reach, bars=True),
    ]
    told = "; ".join(f"{rows:,} rows {number(value)}" for rows, value in zip(grown.rows, grown.values, strict=True))
    across = Axis("training rows", (0.85 * first, 2.35 * last), "log")
    about = f"{metric} over training rows: {told}. {begun(grown.answer)}."
    return Plot("learning-curve", "Learning curve", about, across, Axis(metric), lines)


def _points(places: Sequence[float], changes: Sequence[Change]) -> list[Point]:
    return [(place, one.difference) for place, one in zip(places, changes, strict=True)]


def _spread(changes: Sequence[Change]) -> list[Point]:
    return [(one.low, one.high) for one in changes]


def _names(numbers: Sequence[int], last: float) -> Mapping[float, str]:
    """What stands along the axis: the numbers, or some of many, and the mean."""
    step = math.ceil(len(numbers) / _NAMED)
    return {**dict(_placed(numbers, step)), last: "mean"}


def _placed(numbers: Sequence[int], step: int) -> Iterator[tuple[float, str]]:
    for place in range(0, len(numbers), step):
        yield float(place + 1), str(numbers[place])
