"""Several models on the same test sets: their order by one metric, and which of them can be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from embertune.evaluate.bootstrap import SIGNIFICANT, Change, holm, paired
from embertune.evaluate.resampling import bootstrap
from embertune.evaluate.score import Scores


@dataclass(frozen=True)
class Place:
    """A model in the ranking: its value, the 95 % interval of that alone, and the models it is better than for sure.

    `low` and `high` are NaN where the metric cannot be resampled.
    """

    model: str
    value: float
    low: float
    high: float
    beats: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """Models by `metric` (full name), best first. `pairs` has the change from the second of two models to the first.

    The p-values of `pairs` are adjusted together (Holm 1979); their intervals are each for itself.
    """

    metric: str
    places: tuple[Place, ...]
    pairs: Mapping[tuple[str, str], Change]

    @property
    def leaders(self) -> tuple[str, ...]:
        """The best model and all that it cannot be told from."""
        first = self.places[0]
        return tuple(place.model for place in self.places if place.model not in first.beats)


def rank(models: Mapping[str, Sequence[Scores]], metric: str, seed: int, resamples: int = 10_000) -> Ranking:
    """Order models, by name, that were scored on the same sets, by a metric that one of these sets has.

    A model is better than another for sure where the adjusted p-value is below 0.05 and the interval of the difference
    excludes zero. Raises ValueError where no set has the metric.
    """
    scored = {name: _having(metric, sets) for name, sets in models.items()}
    order = sorted(scored, key=lambda name: scored[name].values[metric], reverse=True)
    pairs = holm(
        {
            (better, worse): paired(scored[worse], scored[better], metric, seed, resamples)
            for better, worse in combinations(order, 2)
        }
    )
    return Ranking(metric, tuple(_place(name, scored[name], metric, pairs, seed, resamples) for name in order), pairs)


def _place(
    name: str, scores: Scores, metric: str, pairs: Mapping[tuple[str, str], Change], seed: int, resamples: int
) -> Place:
    (drawn,) = bootstrap([scores.statistic(metric)], scores.groups, resamples, seed)
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    beats = tuple(
        worse
        for (better, worse), change in pairs.items()
        if better == name and change.p < SIGNIFICANT and change.excludes_zero and change.difference > 0
    )
    return Place(name, scores.values[metric], float(low), float(high), beats)


def _having(metric: str, sets: Sequence[Scores]) -> Scores:
    for scores in sets:
        if metric in scores.comparable:
            return scores
    known = ", ".join(name for scores in sets for name in scores.comparable)
    raise ValueError(f"{metric} was not measured; measured were {known}")
