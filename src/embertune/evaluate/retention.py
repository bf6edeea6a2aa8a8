"""What training cost the model of what it could do before: sets that are not of the task, scored before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from embertune.evaluate.between import between, said
from embertune.evaluate.bootstrap import SIGNIFICANT, Change, paired
from embertune.evaluate.score import Scores

Word = Literal["kept", "lost", "gained"]


@dataclass(frozen=True)
class Retained:
    """One set: its headline metric (full name) before and after, and the paired change with its interval."""

    name: str
    metric: str
    items: int
    before: float
    after: float
    change: Change

    @property
    def label(self) -> str:
        """The metric without the name of the set."""
        return self.metric.removeprefix(f"{self.name}-retention_")

    @property
    def word(self) -> Word:
        """`lost` or `gained` where interval and p-value say so, else `kept`: a change that chance may have made.

        The bundled pairs have 40 groups, too few for the interval's word alone.
        """
        if not self.change.excludes_zero or self.change.p_value >= SIGNIFICANT:
            return "kept"
        return "gained" if self.change.difference > 0 else "lost"


def retained(before: Sequence[Scores], after: Sequence[Scores], seed: int) -> tuple[Retained, ...]:
    """Compare two models on the same sets, in the same order. Raises ValueError for sets that do not match."""
    if len(before) != len(after):
        raise ValueError("both models must be scored on the same retention sets")
    found = []
    for one, other in zip(before, after, strict=True):
        change = paired(one, other, one.headline, seed)
        name = one.name.removesuffix("-retention")
        values = (one.values[one.headline], other.values[other.headline])
        found.append(Retained(name, one.headline, len(one), *values, change))
    return tuple(found)


def difference_of(before: Sequence[Scores], after: Sequence[Scores]) -> tuple[float, float]:
    """By how much one model does better than another, on average over sets, and the standard error of that.

    By each set's headline metric, paired item by item; items of different sets are independent.
    """
    differences, errors = [], []
    for one, other in zip(before, after, strict=True):
        differences.append(other.values[one.headline] - one.values[one.headline])
        errors.append(between(one, one.headline)(said(one, one.headline), said(other, one.headline)))
    return float(np.mean(differences)), float(np.sqrt(np.square(errors).sum()) / len(errors))
