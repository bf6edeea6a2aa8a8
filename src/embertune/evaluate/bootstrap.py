"""The change from base to tuned on the same items: its size, its interval, and how likely chance alone makes one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from embertune.evaluate.evalset import FloatArray
from embertune.evaluate.resampling import bootstrap, exchange
from embertune.evaluate.score import Scores
from embertune.evaluate.statistic import Statistic, mean_of

_ROUNDING = 1e-6  # two differences this near, relative to the larger, count as equal (draws are summed in float32)
#: What a p-value is held against.
SIGNIFICANT = 0.05
#: Up to so many groups that differ, all ways of exchanging the models are counted instead of drawn.
EXACT = 20

#: What a change is about: a metric, or two models.
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Change:
    """Tuned minus base, in the metric's unit. NaN where it cannot be worked out.

    `low` and `high` are the percentile interval of the paired bootstrap at `level`, pointwise: nothing is taken off
    for looking at several metrics. `p_value` is two-sided, from exchanging the two models within groups, and never 0;
    for a mean that differs in up to 20 groups it is exact. `p_adjusted` is the same after Holm's correction for all
    metrics that were looked at beside the primary one, None for that and where nothing was corrected.
    `resamples` is how many of each were drawn (fewer for rank statistics on large sets).
    """

    difference: float
    low: float
    high: float
    p_value: float
    resamples: int
    level: float = 0.95
    p_adjusted: float | None = None

    @property
    def p(self) -> float:
        """The p-value to go by: adjusted, where it was."""
        return self.p_value if self.p_adjusted is None else self.p_adjusted

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero; false where it is undefined."""
        return self.low > 0 or self.high < 0

    @property
    def says(self) -> Literal["better", "worse", "no clear change"]:
        """What this change says for itself, however many items there are: interval and p-value must agree."""
        if not self.excludes_zero or self.p_value >= SIGNIFICANT:
            return "no clear change"
        return "better" if self.difference > 0 else "worse"


def paired(base: Scores, tuned: Scores, metric: str, seed: int, resamples: int = 10_000, level: float = 0.95) -> Change:
    """The change of one metric (full name), by resampling groups. Raises ValueError where the sets differ."""
    return paired_all(base, tuned, [metric], seed, resamples, level)[metric]


def paired_all(
    base: Scores, tuned: Scores, metrics: Sequence[str], seed: int, resamples: int = 10_000, level: float = 0.95
) -> dict[str, Change]:
    """The change of several metrics from the same draws, which costs little more than one of them."""
    check_same_set(base, tuned)
    pairs = [_pair(base, tuned, metric) for metric in metrics]
    seen = bootstrap([one for pair in pairs for one in pair], base.groups, resamples, seed)
    drawn = [after - before for before, after in zip(seen[::2], seen[1::2], strict=True)]
    chance = exchange(pairs, base.groups, resamples, seed)
    changes = {
        metric: _change(tuned.values[metric] - base.values[metric], boot, flips, level)
        for metric, boot, flips in zip(metrics, drawn, chance, strict=True)
    }
    _, place = np.unique(base.groups, return_inverse=True)
    for metric in base.items.keys() & changes.keys():
        sums = np.bincount(place, weights=tuned.items[metric] - base.items[metric])
        exact = exact_p(sums.astype(np.float64))
        if exact is not None and np.isfinite(changes[metric].p_value):
            changes[metric] = replace(changes[metric], p_value=exact)
    return changes


def exact_p(differences: FloatArray) -> float | None:
    """Of all signs that the differences of groups (groups,) may have, the share whose sum is as far from 0 as theirs.

    For items that are won or lost, one a group, this is the exact sign test. None where more than `EXACT` differ.
    """
    moved = differences[differences != 0]
    if len(moved) > EXACT:
        return None
    sums = np.zeros(1)
    for one in moved:
        sums = np.concatenate([sums + one, sums - one])
    return float((np.abs(sums) >= abs(moved.sum()) * (1 - _ROUNDING)).mean())


def holm(changes: Mapping[Key, Change], primary: Key | None = None) -> dict[Key, Change]:
    """The same changes, the p-values of all but the primary one adjusted together (Holm 1979, section 3).

    What is adjusted holds for all of them at once: with 0.05, the chance that any is called a change by accident is
    5 %. Undefined ones stay as they are and are not counted.
    """
    asked = {
        name: change.p_value for name, change in changes.items() if name != primary and np.isfinite(change.p_value)
    }
    adjusted, least = dict[Key, float](), 0.0
    for place, name in enumerate(sorted(asked, key=lambda name: asked[name])):
        least = max(least, min(1.0, (len(asked) - place) * asked[name]))
        adjusted[name] = least
    return {name: replace(change, p_adjusted=adjusted.get(name)) for name, change in changes.items()}


def check_same_set(base: Scores, tuned: Scores) -> None:
    """Raises ValueError unless both were scored on the same items."""
    if base.name != tuned.name or base.shape != tuned.shape or not np.array_equal(base.groups, tuned.groups):
        raise ValueError(f"{base.name} ({len(base)} items) and {tuned.name} ({len(tuned)} items) are not the same set")


def _pair(base: Scores, tuned: Scores, metric: str) -> tuple[Statistic, Statistic]:
    """Base and tuned as statistics; two means become nothing and the mean of differences: exactly 0 for equal items."""
    for scores in (base, tuned):
        if metric not in scores.comparable:
            raise ValueError(f"{metric} cannot be compared; {scores.name} has {', '.join(scores.comparable)}")
    if metric in base.items:
        items = tuned.items[metric] - base.items[metric]
        return mean_of(np.zeros_like(items)), mean_of(items)
    return base.statistic(metric), tuned.statistic(metric)


def _change(difference: float, drawn: FloatArray, chance: FloatArray, level: float) -> Change:
    drawn, chance = drawn[np.isfinite(drawn)], chance[np.isfinite(chance)]
    if not np.isfinite(difference) or not len(drawn) or not len(chance):
        nan = float("nan")
        return Change(difference, nan, nan, nan, len(drawn), level)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    reached = np.abs(chance) >= abs(difference) * (1 - _ROUNDING) - np.finfo(np.float64).eps
    p_value = (int(reached.sum()) + 1) / (len(chance) + 1)
    return Change(difference, float(low), float(high), p_value, len(drawn), level)
