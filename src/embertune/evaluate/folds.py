"""The proof over folds: every row is test in one of them, and the mean change has an interval that knows they overlap.

The folds' changes are not independent, since any two share most of their training rows; a plain t interval over them is
far too short. It is corrected as Nadeau & Bengio (2003, "Inference for the generalization error", Machine Learning 52,
section 3) do for repeated splits: the variance of the mean is (1/k + test/train) times that of the folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from embertune.evaluate.bootstrap import Change, holm
from embertune.evaluate.proof import Counts, Proof, Verdict, plain, verdict
from embertune.evaluate.words import About, told
from embertune.recipe.sections import Shape


@dataclass(frozen=True)
class OverFolds:
    """A metric over folds: its mean change, and in each fold its value before and after."""

    change: Change
    baseline: tuple[float, ...]
    tuned: tuple[float, ...]
    deviation: float


@dataclass(frozen=True)
class Crossed:
    """What all folds say together. `counts` are those of all items, each of which is test in one fold."""

    metrics: dict[str, OverFolds]
    primary: str
    verdict: Verdict
    sentence: str
    counts: Counts

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON: NaN and infinity become null."""
        record: dict[str, Any] = plain(asdict(self))
        return record


def crossed(proofs: Sequence[Proof], name: str, shape: Shape) -> Crossed:
    """What the proofs of two or more folds say together; `name` and `shape` are those of the test set of each.

    Raises ValueError for fewer than two, or for folds that were not measured by the same metric.
    """
    primary, counted = proofs[0].primary, [one.counts for one in proofs if one.counts is not None]
    if len(proofs) < 2 or primary is None or any(one.primary != primary for one in proofs):
        raise ValueError("two folds or more, measured by the same metric, are needed")
    shared = [metric for metric in proofs[0].change if all(metric in one.change for one in proofs)]
    share = 1 / (len(proofs) - 1)
    changes = {metric: corrected([one.change[metric].difference for one in proofs], share) for metric in shared}
    changes = holm(changes, primary)
    found = {metric: _over(proofs, metric, change) for metric, change in changes.items()}
    counts = Counts(*(sum(getattr(one, what) for one in counted) for what in ("items", "groups", "discordant")))
    word = verdict(changes[primary], counts)
    about = About(primary.removeprefix(f"{name}_"), shape, counts.items, counted[0].wins is not None)
    of = found[primary]
    said = told(about, float(np.mean(of.baseline)), float(np.mean(of.tuned)), of.change)
    return Crossed(found, primary, word, f"{word}: over {len(proofs)} folds, {said}", counts)


def corrected(differences: Sequence[float], share: float, level: float = 0.95) -> Change:
    """The mean of differences over k folds, with the corrected interval and p-value (t, k - 1 degrees of freedom).

    `share` is the number of test items over that of training items, 1/(k - 1) for folds that take each item once.
    """
    values = np.asarray(differences, dtype=np.float64)
    mean, k = float(values.mean()), len(values)
    error = float(np.sqrt((1 / k + share) * values.var(ddof=1)))
    if error == 0:
        return Change(mean, mean, mean, 1.0 if mean == 0 else 0.0, 0, level)
    reach = float(stats.t.ppf((1 + level) / 2, k - 1)) * error
    return Change(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, k - 1)), 0, level)


def _over(proofs: Sequence[Proof], metric: str, change: Change) -> OverFolds:
    before, after = (tuple(float(getattr(one, side)[metric]) for one in proofs) for side in ("baseline", "tuned"))
    deviation = float(np.std([one.change[metric].difference for one in proofs], ddof=1))
    return OverFolds(change, before, after, deviation)


@dataclass(frozen=True)
class Growth:
    """How the primary metric grows with the number of training rows, fold by fold.

    `rows` are the mean numbers of training rows, ascending; `values` the mean metric at each. `doubling` is what twice
    the rows would add, by a straight line through each fold's values over the logarithm of its rows, with the corrected
    interval over folds; `answer` says it in words.
    """

    rows: tuple[int, ...]
    values: tuple[float, ...]
    doubling: Change
    answer: str


def growth(rows: Sequence[Sequence[int]], values: Sequence[Sequence[float]]) -> Growth:
    """The learning curve of folds: for each the rows it was trained on, ascending, and what it reached with them.

    A line over the logarithm of the rows is what little data and many tasks have in common in the middle of their
    learning curves (Hestness et al. 2017, arXiv:1712.00409, section 2); it says nothing far beyond the rows there are.
    Raises ValueError for fewer than two folds or two sizes.
    """
    if len(rows) < 2 or min(map(len, rows)) < 2:
        raise ValueError("two folds and two sizes or more are needed")
    slopes = [float(np.polyfit(np.log2(some), of, 1)[0]) for some, of in zip(rows, values, strict=True)]
    found = corrected(slopes, 1 / (len(rows) - 1))
    sizes = tuple(round(float(np.mean(some))) for some in zip(*rows, strict=True))
    means = tuple(float(np.mean(some)) for some in zip(*values, strict=True))
    return Growth(sizes, means, found, _answer(found))


def _answer(doubling: Change) -> str:
    """Would more data help?"""
    about = f"twice the rows would add about {doubling.difference:+.4f} ({doubling.low:+.4f} to {doubling.high:+.4f})"
    if doubling.low > 0:
        return f"more data would help: {about}"
    if doubling.high < 0:
        return f"more data of this kind would not help: {about}"
    return f"these folds do not tell whether more data would help: {about}"
