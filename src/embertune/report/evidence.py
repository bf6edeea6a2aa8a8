"""From the scores of two models to what people see of them: similarities, items won and lost, neighbours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from embertune.data.hashing import keys_of, mix
from embertune.evaluate.evalset import EvalSet, FloatArray, IntArray
from embertune.evaluate.scene import Scene
from embertune.evaluate.score import Scores
from embertune.evaluate.seen import Histogram, Moved, Neighbour, Neighbours, Seen
from embertune.evaluate.sight import Near, Shown, Sight, belonging, query_of
from embertune.evaluate.similarity import Vectors
from embertune.report.shown import LONGEST, shortened, visible

#: Items shown of those won, and of those lost; queries whose neighbours are shown; texts of one column of an item.
ITEMS, QUERIES, TEXTS = 10, 5, 3
#: A histogram has at most so many stretches.
STRETCHES = 40
#: What stands for a value per item where gold scores are compared with similarities.
AGREEMENT = "nearness of a pair's place by similarity to its place by gold score (1: the same place)"
#: What is more than rounding.
_LEAST = 1e-9


def gather(scene: Scene, before: Sequence[Scores], after: Sequence[Scores], examples: bool) -> Seen | None:
    """What was seen with the model as it came and with the saved one, measured on the same test sets.

    Without `examples`, no text of the data is in it. None where nothing was to be shown.
    """
    shown = scene.shown
    if shown is None:
        return None
    sights = (_sight(before), _sight(after))
    (judged, first), (_, last) = (values_of(_scores(scores, shown), shown) for scores in (before, after))
    seen = Seen(shown.metric, shown.similarity, *histograms(*sights), judged=judged)
    if not examples:
        return seen
    values = np.zeros((2, len(shown.items)))
    values[:, shown.items] = first, last
    won, lost = _moved(values[1] - values[0], shown.evalset)
    queries = chain.from_iterable(zip_longest(won, lost))
    return dataclasses.replace(
        seen,
        won=tuple(_item(shown.evalset, item, values) for item in won[:ITEMS]),
        lost=tuple(_item(shown.evalset, item, values) for item in lost[:ITEMS]),
        neighbours=tuple(_neighbours(shown.evalset, sights, [item for item in queries if item is not None])),
    )


def values_of(scores: Scores, shown: Shown) -> tuple[str, FloatArray]:
    """What each item is worth (items,), the more the better, and the name of that.

    The metric's own values, where it is a mean of such. Else whether each item is right, where that is known (labelled
    pairs); for gold scores, how near a pair's place by similarity is to its place by score.
    """
    prefix = f"{scores.name}_"
    right = f"{prefix}{shown.similarity}_accuracy"
    for metric in (shown.metric, right):
        if metric in scores.items:
            return metric.removeprefix(prefix), scores.items[metric]
    statistic = scores.resample[shown.metric]
    places, gold = rankdata(statistic.parts[0]), rankdata(statistic.truth)
    return AGREEMENT, 1 - np.abs(places - gold) / max(1, len(gold) - 1)


def histograms(one: Sight, other: Sight) -> tuple[Histogram, Histogram]:
    """How the similarities of two models are spread, over the same stretches."""
    held = np.concatenate([one.positive, one.negative, other.positive, other.negative]).astype(np.float64)
    held = held[np.isfinite(held)]
    edges = edges_of(float(held.min()), float(held.max())) if len(held) else np.array([0.0, 1.0])
    return _histogram(one, edges), _histogram(other, edges)


def edges_of(low: float, high: float) -> FloatArray:
    """Round numbers, evenly apart, that `low` and `high` lie between: at most `STRETCHES` stretches, at least one."""
    width = max((high - low) / (STRETCHES - 2), max(abs(low), abs(high), 1e-3) * _LEAST)
    power = 10.0 ** math.floor(math.log10(width))
    step = next(times * power for times in (1, 2, 2.5, 5, 10) if times * power >= width * (1 - _LEAST))
    first, last = math.floor(low / step), math.floor(high / step) + 1
    return np.round(np.arange(first, last + 1) * step, 12)


def _histogram(sight: Sight, edges: FloatArray) -> Histogram:
    counts = (_counts(values, edges) for values in (sight.positive, sight.negative))
    return Histogram(tuple(edges.tolist()), *counts)


def _counts(values: Vectors, edges: FloatArray) -> tuple[int, ...]:
    inside = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    return tuple(np.histogram(inside, edges)[0].tolist())


def _sight(scores: Sequence[Scores]) -> Sight:
    return next(one.sight for one in scores if one.sight is not None)


def _scores(scores: Sequence[Scores], shown: Shown) -> Scores:
    return next(one for one in scores if one.name == shown.name)


def _moved(change: FloatArray, evalset: EvalSet) -> tuple[list[int], list[int]]:
    """Numbers of the items won and lost, largest movement first; of equal ones chance decides, which hangs on texts."""
    moved = np.flatnonzero(np.abs(change) > _LEAST)
    order = moved[np.lexsort((_chance(evalset, moved), -np.abs(change[moved]).round(9)))]
    return order[change[order] > 0].tolist(), order[change[order] < 0].tolist()


def _chance(evalset: EvalSet, items: IntArray) -> npt.NDArray[np.uint64]:
    return mix(keys_of([query_of(evalset, item) for item in items]), 0, "shown")


def _item(evalset: EvalSet, item: int, values: FloatArray) -> Moved:
    texts = {column: tuple(map(_short, held[:TEXTS])) for column, held in evalset.item(item).items()}
    return Moved(texts | _gold(evalset, item), float(values[0, item]), float(values[1, item]))


def _gold(evalset: EvalSet, item: int) -> dict[str, tuple[str, ...]]:
    """What the data says of the item beside its texts."""
    if evalset.target is None:
        return {}
    value = evalset.target[item]
    if evalset.shape == "classes":
        return {"class": (_short(evalset.classes[int(value)]),)} if evalset.classes else {}
    return {"label": (f"{value:.0f}",)} if evalset.shape == "labelled" else {"score": (f"{value:g}",)}


def _neighbours(evalset: EvalSet, sights: tuple[Sight, Sight], preferred: Iterable[int]) -> Iterator[Neighbours]:
    """Of the preferred items first, then of any by chance; of two sentences, those that belong together."""
    items = sights[0].items
    if evalset.shape in ("labelled", "scored"):
        items = items[belonging(evalset)[0][items]]
    place = {int(item): int(at) for item, at in zip(items, np.searchsorted(sights[0].items, items), strict=True)}
    others = items[np.argsort(_chance(evalset, items), kind="stable")].tolist()
    by_query: dict[str, int] = {}
    for item in chain(preferred, others):
        if item in place and len(by_query) < QUERIES:
            by_query.setdefault(query_of(evalset, item), place[item])
    for query, at in by_query.items():
        yield Neighbours(_short(query), *(tuple(_near(sight.near[at])) for sight in sights))


def _near(found: Iterable[Near]) -> Iterator[Neighbour]:
    return (Neighbour(_short(text), similarity, belongs) for text, similarity, belongs in found)


def _short(text: str) -> str:
    """As much of a text as a report shows, with nothing in it that acts."""
    return shortened(visible(text[: LONGEST + 1]))
