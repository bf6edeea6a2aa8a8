"""Test scored once more in two parts: items with a text that training has seen, and items without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embertune.data.audit import is_apart
from embertune.data.leaks import seen
from embertune.data.prepared import Prepared
from embertune.data.store import batches
from embertune.evaluate.evalset import EvalSet
from embertune.evaluate.score import Scores
from embertune.evaluate.statistic import Statistic

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Part:
    """Some items of a test set: `whole` is the name of the set, `items` (items,) marks those of the part."""

    name: str
    whole: str
    items: Mask

    def __len__(self) -> int:
        """The number of items."""
        return int(self.items.sum())


def parts_of(train: Prepared, tests: Mapping[str, Prepared], evalsets: Mapping[str, EvalSet]) -> Iterator[Part]:
    """`{name}-seen-test` and `{name}-unseen-test` of every test set whose rows are of both kinds.

    Where an item is a query, it is seen if one of its documents is. `evalsets` are by the names of `tests`.
    """
    for name, prepared in tests.items():
        if len(prepared.text_columns) < 2:
            continue
        rows = seen(train, prepared)
        if not is_apart(int(rows.sum()), len(rows)):
            continue
        items = _of_items(prepared, evalsets[name], rows)
        if items.any() and not items.all():
            yield Part(f"{name}-seen-test", evalsets[name].name, items)
            yield Part(f"{name}-unseen-test", evalsets[name].name, ~items)


def _of_items(prepared: Prepared, evalset: EvalSet, rows: Mask) -> Mask:
    """What holds for a row, as what holds for an item: a row, or a query with all its rows."""
    if evalset.relevant is None:
        return rows
    numbers = {text: place for place, text in enumerate(evalset.texts["anchor"])}
    asked = [numbers[text] for piece in batches(prepared.rows, "anchor") for text in piece.to_pylist()]
    items = np.zeros(len(evalset), dtype=bool)
    np.logical_or.at(items, np.array(asked, dtype=np.int64), rows)
    return items


def renamed(part: Part, metric: str) -> str:
    """The name of a metric of the whole set, as that of the part."""
    return f"{part.name}_{metric.removeprefix(f'{part.whole}_')}"


def scored_apart(whole: Scores, part: Part) -> Scores:
    """The scores of a part, from those of the whole: nothing is encoded again, and documents stay what they were."""
    items = {renamed(part, metric): values[part.items] for metric, values in whole.items.items()}
    resample = {
        renamed(part, metric): Statistic(
            one.kind, one.truth[part.items], tuple(values[part.items] for values in one.parts)
        )
        for metric, one in whole.resample.items()
    }
    found = {metric: float(values.mean()) for metric, values in items.items()}
    found |= {metric: one.value() for metric, one in resample.items()}
    return Scores(
        name=part.name,
        shape=whole.shape,
        values={renamed(part, metric): found[renamed(part, metric)] for metric in whole.comparable},
        items=items,
        resample=resample,
        groups=whole.groups[part.items],
        thresholds={},
        headline=renamed(part, whole.headline),
    )


def _taken(whole: Statistic, items: Mask) -> Statistic:
    """The same statistic of some items."""
    return Statistic(whole.kind, whole.truth[items], tuple(values[items] for values in whole.parts))
