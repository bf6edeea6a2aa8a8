"""The statistics that metrics are, in a form that can be worked out when items count several times or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from embertune.evaluate.evalset import FloatArray, IntArray

_FLAT = 1e-12  # a variance this small beside the mean square is rounding

KindName = Literal["mean", "pearson", "spearman", "average_precision", "precision", "recall", "f1", "mcc"]


def _same(values: FloatArray) -> FloatArray:
    return values


@dataclass(frozen=True)
class Linear:
    """A function of sums. `terms`: (truth (n,), values (n,)) -> (n, c); `finish`: weighted sums (b, c) -> (b,).

    `comparable` brings the values of two models to one scale before they change places, by what the statistic
    ignores.
    """

    terms: Callable[[FloatArray, FloatArray], FloatArray]
    finish: Callable[[FloatArray], FloatArray]
    comparable: Callable[[FloatArray], FloatArray] = _same


#: How often each item counts, (b, n); None for once each.
Weights = FloatArray | None


@dataclass(frozen=True)
class Ranked:
    """A function of an order. `prepare` works out once per weighting what all models share, `evaluate` the rest.

    `prepare`: (truth (n,), weights) -> what broadcasts with (b, n). `evaluate`: (that, values (r, n) with r 1 or b,
    weights) -> (b,). `comparable` as for Linear.
    """

    prepare: Callable[[FloatArray, Weights], FloatArray]
    evaluate: Callable[[FloatArray, FloatArray, Weights], FloatArray]
    comparable: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Statistic:
    """One metric of one model on a set of items; the largest over `parts` where there are several similarities.

    `truth` (items,) is the gold score or label (zeros for a mean), each part (items,) what the model says: an item's
    value for a mean, a similarity for the rank statistics, a prediction of 0 or 1 for those of the confusion matrix.
    """

    kind: KindName
    truth: FloatArray
    parts: tuple[FloatArray, ...]

    def value(self) -> float:
        """The metric on all items, each counted once; NaN where it is undefined."""
        return float(largest([_plain(self.kind, self.truth, part) for part in self.parts])[0])

    def differs(self, other: Statistic) -> npt.NDArray[np.bool_]:
        """The items on which two models do not say the same, each on its own scale: (items,)."""
        comparable = KINDS[self.kind].comparable
        pairs = zip(self.parts, other.parts, strict=True)
        return np.asarray(np.any([comparable(mine) != comparable(theirs) for mine, theirs in pairs], axis=0))


def mean_of(items: FloatArray) -> Statistic:
    """The mean of per-item values (items,)."""
    return Statistic("mean", np.zeros(len(items)), (items,))


def largest(values: list[FloatArray]) -> FloatArray:
    """The largest of several (b,) arrays, passing over NaN."""
    out = values[0]
    for more in values[1:]:
        out = np.fmax(out, more)
    return out


def _plain(kind: KindName, truth: FloatArray, values: FloatArray) -> FloatArray:
    row = KINDS[kind]
    if isinstance(row, Linear):
        return row.finish(row.terms(truth, values).sum(axis=0, keepdims=True))
    return row.evaluate(row.prepare(truth, None), values[None, :], None)


def _ratio(above: FloatArray, below: FloatArray, empty: float) -> FloatArray:
    """`above / below`, and `empty` where `below` is zero."""
    out = np.full(np.shape(below), empty, dtype=np.float64)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _mean_terms(_truth: FloatArray, values: FloatArray) -> FloatArray:
    return np.stack([values, np.ones_like(values)], axis=1)


def _mean(sums: FloatArray) -> FloatArray:
    return _ratio(sums[:, 0], sums[:, 1], np.nan)


def _standard(values: FloatArray) -> FloatArray:
    """Mean 0 and deviation 1; zeros where all values are equal."""
    centred = values - values.mean()
    spread = centred.std()
    return (
        centred / spread
        if spread > np.finfo(np.float64).eps * np.abs(values).max(initial=0)
        else np.zeros_like(centred)
    )


def _pearson_terms(truth: FloatArray, values: FloatArray) -> FloatArray:
    x, y = _standard(truth), _standard(values)
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def _pearson(sums: FloatArray) -> FloatArray:
    count, x, y, xx, yy, xy = (sums[:, i] for i in range(6))
    spread_x, spread_y = count * xx - x * x, count * yy - y * y
    flat = (spread_x <= _FLAT * count * xx) | (spread_y <= _FLAT * count * yy)
    return _ratio(count * xy - x * y, np.where(flat, 0.0, np.sqrt(np.maximum(spread_x * spread_y, 0.0))), np.nan)


def _confusion_terms(truth: FloatArray, predicted: FloatArray) -> FloatArray:
    return np.stack([truth * predicted, truth, predicted, np.ones_like(truth)], axis=1)


def _precision(sums: FloatArray) -> FloatArray:
    return _ratio(sums[:, 0], sums[:, 2], 0.0)


def _recall(sums: FloatArray) -> FloatArray:
    return _ratio(sums[:, 0], sums[:, 1], 0.0)


def _f1(sums: FloatArray) -> FloatArray:
    return _ratio(2 * sums[:, 0], sums[:, 1] + sums[:, 2], 0.0)


def _mcc(sums: FloatArray) -> FloatArray:
    """Matthews correlation; 0 where a side is empty, as scikit-learn has it."""
    hit, true, said, count = (sums[:, i] for i in range(4))
    return _ratio(hit * count - true * said, np.sqrt(true * (count - true) * said * (count - said)), 0.0)


class _Order:
    """The ascending order of `values` (r, n), and the runs of equal values in it."""

    def __init__(self, values: FloatArray) -> None:
        self.order: IntArray = np.argsort(values, axis=1)
        ordered = np.take_along_axis(values, self.order, axis=1)
        new = np.ones(values.shape, dtype=bool)
        new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        self.tied = not new.all()
        self.places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
        self.begin = self.end = self.places
        if self.tied:
            last = np.ones(values.shape, dtype=bool)
            last[:, :-1] = new[:, 1:]
            final = values.shape[1] - 1
            self.begin = np.maximum.accumulate(np.where(new, self.places, 0), axis=1)
            self.end = np.minimum.accumulate(np.where(last, self.places, final)[:, ::-1], axis=1)[:, ::-1]

    def sorted(self, values: FloatArray) -> FloatArray:
        """Values of items, (1 or b, n), in this order."""
        return _pick(values, self.order)

    def reached(self, ordered: FloatArray) -> FloatArray:
        """Of what is in this order, the sum up to the end of each place's run: (b, n)."""
        sums = np.cumsum(ordered, axis=1)
        return _pick(sums, self.end) if self.tied else sums

    def ranks(self, ordered: Weights) -> FloatArray:
        """Average ranks, less a half, of the places of this order, where what stands there counts `ordered` times."""
        if ordered is None:
            return np.asarray((self.begin + self.end + 1) / 2)
        upto = np.cumsum(ordered, axis=1)
        if not self.tied:
            return upto - ordered / 2
        before = upto - ordered
        return (_pick(before, self.begin) + _pick(upto, self.end)) / 2


def _pick(values: FloatArray, places: IntArray) -> FloatArray:
    """As `take_along_axis`, and faster where one of the two is a single row for all."""
    if len(places) == 1:
        return values[:, places[0]]
    return values[0][places] if len(values) == 1 else np.take_along_axis(values, places, axis=1)


def _truth_ranks(truth: FloatArray, weights: Weights) -> FloatArray:
    """Average ranks of the gold scores less their mean: (1 or b, n)."""
    order = _Order(truth[None, :])
    ranks = order.ranks(None if weights is None else order.sorted(weights))
    back = np.argsort(order.order[0])
    return ranks[:, back] - _middle(weights, len(truth))


def _middle(weights: Weights, items: int) -> FloatArray:
    """The mean of all ranks, less a half: (b, 1)."""
    return np.full((1, 1), items / 2) if weights is None else weights.sum(axis=1, keepdims=True) / 2


def _spearman(truth_ranks: FloatArray, values: FloatArray, weights: Weights) -> FloatArray:
    order = _Order(values)
    ordered = None if weights is None else order.sorted(weights)
    x, y = order.sorted(truth_ranks), order.ranks(ordered) - _middle(weights, values.shape[1])
    often_x, often_y = (x, y) if ordered is None else (ordered * x, ordered * y)
    below = np.einsum("bn,bn->b", often_x, x) * np.einsum("bn,bn->b", often_y, y)
    return _ratio(np.einsum("bn,bn->b", often_x, y), np.sqrt(below), np.nan)


def _truth_itself(truth: FloatArray, _weights: Weights) -> FloatArray:
    return truth[None, :]


def _average_precision(truth: FloatArray, values: FloatArray, weights: Weights) -> FloatArray:
    """As scikit-learn's: precision at each distinct value, weighted by the recall it adds. NaN without a positive."""
    order = _Order(-values)
    ordered = np.ones((1, truth.shape[1])) if weights is None else order.sorted(weights)
    positive = ordered * order.sorted(truth)
    precision = _ratio(order.reached(positive), np.broadcast_to(order.reached(ordered), positive.shape), 0.0)
    return _ratio((positive * precision).sum(axis=1), positive.sum(axis=1), np.nan)


def _as_ranks(values: FloatArray) -> FloatArray:
    return np.asarray(rankdata(values), dtype=np.float64)


KINDS: Mapping[KindName, Linear | Ranked] = {
    "mean": Linear(_mean_terms, _mean),
    "pearson": Linear(_pearson_terms, _pearson, comparable=_standard),
    "spearman": Ranked(_truth_ranks, _spearman, comparable=_as_ranks),
    "average_precision": Ranked(_truth_itself, _average_precision, comparable=_as_ranks),
    "precision": Linear(_confusion_terms, _precision),
    "recall": Linear(_confusion_terms, _recall),
    "f1": Linear(_confusion_terms, _f1),
    "mcc": Linear(_confusion_terms, _mcc),
}
