"""The proof: baseline against tuned on the same test items, one verdict, and a sentence that says it in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from embertune.evaluate.bootstrap import SIGNIFICANT, Change, check_same_set, holm, paired_all
from embertune.evaluate.retention import Retained
from embertune.evaluate.score import Scores
from embertune.evaluate.words import sentence

Verdict = Literal["better", "no clear change", "worse", "too few to tell", "unmeasured"]

#: Below these the percentile bootstrap covers badly (58 % at 15 items, 64 % at 50 with 3 % discordant), so that the
#: exchange test has to agree.
ENOUGH_GROUPS = 200
ENOUGH_DISCORDANT = 20


@dataclass(frozen=True)
class Counts:
    """How much the primary metric's set holds. `discordant` items are those on which the two models differ.

    `wins`, `losses` and `ties` are items where tuned is higher, lower, equal; None where the metric has no per-item
    values.
    """

    items: int
    groups: int
    discordant: int
    wins: int | None = None
    losses: int | None = None
    ties: int | None = None


@dataclass(frozen=True)
class Proof:
    """What `metrics.json` says of the test sets: every metric before and after, and what can be concluded.

    `change` has every metric that can be resampled (all but thresholds). `primary` is None where nothing was
    measured. `retention` says what became of what the model could do before, which decides nothing here.
    """

    baseline: dict[str, float]
    tuned: dict[str, float]
    change: dict[str, Change]
    primary: str | None
    verdict: Verdict
    sentence: str
    counts: Counts | None = None
    retention: tuple[Retained, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON: NaN and infinity become null."""
        record = asdict(self)
        return {key: plain(value) for key, value in record.items()}


def prove(base: Sequence[Scores], tuned: Sequence[Scores], primary: str | None, seed: int) -> Proof:
    """Compare two models, given their scores on the same test sets in the same order.

    `primary` is a full metric name; None takes the headline of the first set. It decides the verdict alone.
    Raises ValueError for sets that do not match, or a primary metric that no set has.
    """
    if len(base) != len(tuned) or len({scores.name for scores in base}) != len(base):
        raise ValueError("base and tuned must be scored on the same test sets, each with a name of its own")
    if not base:
        return Proof({}, {}, {}, None, "unmeasured", sentence("unmeasured"))
    primary = primary or base[0].headline
    before, after = _of(primary, base, tuned)
    change: dict[str, Change] = {}
    for one, other in zip(base, tuned, strict=True):
        change |= paired_all(one, other, one.comparable, seed)
    change = holm(change, primary)
    counts = count(before, after, primary)
    found = verdict(change[primary], counts)
    return Proof(
        baseline=_values(base),
        tuned=_values(tuned),
        change=change,
        primary=primary,
        verdict=found,
        sentence=sentence(found, before, after, change[primary], primary),
        counts=counts,
    )


def verdict(change: Change | None, counts: Counts | None) -> Verdict:
    """What may be said of a change.

    The interval must exclude zero; with fewer than 200 groups or 20 discordant items the exchange test's p must be
    below 0.05 as well, and what is not clear then is `too few to tell`. Two models that agree on every item of a set
    with enough groups have no clear change, however few items are discordant.
    """
    if change is None or counts is None:
        return "unmeasured"
    enough = is_enough(counts)
    if change.excludes_zero and (enough or change.p_value < SIGNIFICANT):
        return "better" if change.difference > 0 else "worse"
    return "no clear change" if enough and not math.isnan(change.low) else "too few to tell"


def is_enough(counts: Counts) -> bool:
    """Whether the interval can be taken at its word: enough groups, and enough items that differ, or none at all."""
    return counts.groups >= ENOUGH_GROUPS and (counts.discordant == 0 or counts.discordant >= ENOUGH_DISCORDANT)


def count(base: Scores, tuned: Scores, metric: str) -> Counts:
    """Wins, losses and ties of a metric, and how much there was to compare."""
    check_same_set(base, tuned)
    groups = len(np.unique(base.groups))
    differs = base.statistic(metric).differs(tuned.statistic(metric))
    if metric not in base.items:
        return Counts(len(base), groups, int(differs.sum()))
    step = np.sign(tuned.items[metric] - base.items[metric])
    wins, losses = int((step > 0).sum()), int((step < 0).sum())
    return Counts(len(base), groups, wins + losses, wins, losses, len(base) - wins - losses)


def _of(primary: str, base: Sequence[Scores], tuned: Sequence[Scores]) -> tuple[Scores, Scores]:
    """The set that has the primary metric, scored for both."""
    for before, after in zip(base, tuned, strict=True):
        check_same_set(before, after)
        if primary in before.comparable:
            return before, after
    known = ", ".join(metric for scores in base for metric in scores.comparable)
    raise ValueError(f"primary metric {primary} was not measured; measured were {known}")


def _values(scores: Sequence[Scores]) -> dict[str, float]:
    return {metric: value for one in scores for metric, value in one.values.items()}


def plain(value: Any) -> Any:
    """The same for JSON: null for NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
