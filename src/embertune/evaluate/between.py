"""How sure a change between two looks at the same dev items is, from what each look says item by item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embertune.evaluate.evalset import FloatArray, IntArray
from embertune.evaluate.resampling import bootstrap
from embertune.evaluate.score import Scores
from embertune.evaluate.statistic import KindName, Statistic

#: Resamples for what is no mean of items: the standard error is then right to about 7 %.
RESAMPLES = 100


def said(scores: Scores, metric: str) -> FloatArray:
    """What a model says of each item, (parts, items): all of it that two looks need to be compared by `metric`."""
    return np.stack(scores.statistic(metric).parts)


@dataclass(frozen=True, eq=False)
class Between:
    """The standard error of the difference of a metric between two looks, each (parts, items) as `said` gives it.

    Items of one group count as dependent. For a mean the cluster-robust formula over the differences of its items,
    for the others the deviation over resamples that both looks share; NaN where it cannot be worked out.
    """

    kind: KindName
    truth: FloatArray
    groups: IntArray

    def __call__(self, before: FloatArray, after: FloatArray) -> float:
        """In the metric's own unit; 0 for two looks that say the same."""
        if np.array_equal(before, after):
            return 0.0
        if self.kind == "mean" and len(before) == 1:
            return _of_mean(after[0] - before[0], self.groups)
        both = [Statistic(self.kind, self.truth, tuple(look)) for look in (before, after)]
        first, second = bootstrap(both, self.groups, RESAMPLES, seed=0)
        differences = second - first
        return float(np.nanstd(differences)) if np.isfinite(differences).any() else float("nan")


def _of_mean(items: FloatArray, groups: IntArray) -> float:
    """The standard error of the mean of items (items,), those of one group dependent; NaN with a single group."""
    _, place = np.unique(groups, return_inverse=True)
    residuals = np.bincount(place, weights=items - items.mean())
    if len(residuals) < 2:
        return float("nan")
    return float(np.sqrt(np.square(residuals).sum() * len(residuals) / (len(residuals) - 1)) / len(items))


def between(scores: Scores, metric: str) -> Between:
    """For looks at the set of `scores`."""
    statistic = scores.statistic(metric)
    return Between(statistic.kind, statistic.truth, scores.groups)
