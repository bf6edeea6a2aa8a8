"""The proof over several seeds of one recipe: the mean change, with an interval for test items and seeds together.

The same test items are measured in every seed. What chance did in drawing them is therefore the same in all, and more
seeds do not lessen it; what chance did in training is another in each, and is divided by their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from embertune.evaluate.bootstrap import Change, holm
from embertune.evaluate.proof import Counts, Proof, Verdict, is_enough, plain, verdict
from embertune.evaluate.retention import Retained
from embertune.evaluate.words import About, sentence, told
from embertune.recipe.sections import Shape


@dataclass(frozen=True)
class OverSeeds:
    """A metric over seeds: its mean change, the change in each of them, and the standard deviation of these."""

    change: Change
    by_seed: tuple[float, ...]
    deviation: float

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON, those of the mean change first."""
        record: dict[str, Any] = plain({**asdict(self.change), "by_seed": self.by_seed, "deviation": self.deviation})
        return record


@dataclass(frozen=True)
class Joint:
    """What several seeds say together. `tuned` is the mean over them, `baseline` is the same in all.

    `counts` are those of the seed whose models differ on the fewest items, of those where they differ at all; without
    wins and losses, which are each seed's own.
    """

    baseline: dict[str, float]
    tuned: dict[str, float]
    change: dict[str, OverSeeds]
    primary: str | None
    verdict: Verdict
    sentence: str
    counts: Counts | None = None
    retention: tuple[Retained, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON: NaN and infinity become null."""
        record: dict[str, Any] = plain(asdict(self))
        return {**record, "change": {metric: one.as_record() for metric, one in self.change.items()}}


def joint(proofs: Sequence[Proof], name: str, shape: Shape) -> Joint:
    """What the proofs of two or more seeds say together; `name` and `shape` are those of the primary metric's test set.

    The verdict follows the same rule as that of one run. Where a set has too few groups or discordant items for the
    interval's word alone, the p-value is the largest of the t-test's and all seeds' exchange tests.
    Raises ValueError for fewer than two proofs, or proofs of different metrics.
    """
    first = proofs[0]
    if len(proofs) < 2 or any(list(one.change) != list(first.change) for one in proofs):
        raise ValueError("two proofs or more of the same metrics are needed")
    kept = tuple(map(_retained, zip(*(one.retention for one in proofs), strict=True)))
    if first.primary is None:
        words = sentence("unmeasured")
        return Joint({}, {}, {}, None, "unmeasured", words, retention=kept)
    counts = _counts(proofs)
    found = {}
    for metric in first.change:
        of_seeds = [one.change[metric] for one in proofs]
        found[metric] = pooled(of_seeds, counts.groups if metric == first.primary else None)
    if not is_enough(counts):
        found[first.primary] = cautious(found[first.primary], [one.change[first.primary] for one in proofs])
    found = holm(found, first.primary)
    base = {metric: _mean([one.baseline[metric] for one in proofs]) for metric in found}
    tuned = {metric: _mean([one.tuned[metric] for one in proofs]) for metric in found}
    word, metric = verdict(found[first.primary], counts), first.primary
    by_item = first.counts is not None and first.counts.wins is not None
    about = About(metric.removeprefix(f"{name}_"), shape, counts.items, by_item)
    said = f"{word}: on average over {len(proofs)} seeds, {told(about, base[metric], tuned[metric], found[metric])}"
    over = {key: _over_seeds(change, [one.change[key] for one in proofs]) for key, change in found.items()}
    return Joint(base, tuned, over, metric, word, said, counts, kept)


def pooled(changes: Sequence[Change], groups: int | None) -> Change:
    """The mean change over n >= 2 seeds that were measured on the same items, with its interval and p-value.

    Each seed's bootstrap interval gives the standard error that drawing the items has, (high - low) / (2 · 1.96). Its
    square, in the mean over seeds, is taken whole, as what all seeds share; to it comes the variance of the differences
    over seeds, divided by n. The interval is the mean ± t times the root of the sum, with the degrees of freedom of
    Satterthwaite (1946, "An approximate distribution of estimates of variance components"): groups - 1 for the items
    (None: not known, taken as many), n - 1 for the seeds. `p_value` is that of the same t, two-sided; where nothing
    varies at all, the largest of the seeds'.

    Where it errs: what training does by chance to single items is counted among the items and again in the deviation
    over seeds, so that intervals are somewhat too long: in simulations those of 3 seeds held 96 to 99.5 %; but two
    can agree by accident, and where seeds deviate by twice the items' error theirs held 93 % (prove/coverage.py). Only
    what training draws is covered; splits and data are the same in all seeds, though they vary results at least as much
    (Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks", section 3).
    """
    level, n = changes[0].level, len(changes)
    differences = np.array([one.difference for one in changes])
    wide = np.array([one.high - one.low for one in changes]) / (2 * special.ndtri((1 + level) / 2))
    items, seeds = float((wide**2).mean()), float(differences.var(ddof=1)) / n
    mean, error = float(differences.mean()), float(np.sqrt(items + seeds))
    fewest = min(one.resamples for one in changes)
    if error == 0:
        return Change(mean, mean, mean, max(one.p_value for one in changes), fewest, level)
    doubt = (items**2 / max(1, groups - 1) if groups else 0.0) + seeds**2 / (n - 1)
    freedom = (items + seeds) ** 2 / doubt if doubt else np.inf
    reach = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    p_value = float(2 * special.stdtr(freedom, -abs(mean) / error))
    return Change(mean, mean - reach, mean + reach, p_value, fewest, level)


def cautious(change: Change, changes: Sequence[Change]) -> Change:
    """The same where intervals cannot be relied on: with the largest p-value of all, the seeds' own included."""
    return replace(change, p_value=max(change.p_value, *(one.p_value for one in changes)))


def _over_seeds(change: Change, changes: Sequence[Change]) -> OverSeeds:
    differences = tuple(one.difference for one in changes)
    return OverSeeds(change, differences, float(np.std(differences, ddof=1)))


def _counts(proofs: Sequence[Proof]) -> Counts:
    counted = [one.counts for one in proofs if one.counts is not None]
    differ = [one.discordant for one in counted if one.discordant]
    return Counts(counted[0].items, counted[0].groups, min(differ, default=0))


def _retained(seeds: Sequence[Retained]) -> Retained:
    """The same set in all seeds; these sets may be small, so that the seeds' own tests have to agree."""
    changes = [one.change for one in seeds]
    change = cautious(pooled(changes, None), changes)
    after = _mean([one.after for one in seeds])
    return replace(seeds[0], before=_mean([one.before for one in seeds]), after=after, change=change)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
