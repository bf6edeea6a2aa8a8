"""Strata: the groups of each class, label or score bin, so that every one of them gives its share to a side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embertune.data.groups import group_column
from embertune.data.hashing import Keys, keys_of, mix, unit
from embertune.data.prepared import TARGET_COLUMN, Prepared, ShapeName
from embertune.data.store import batches

#: Scores lie in [0, 1]; edges are fixed, so that new rows move none. A bin is [0, 0.2), [0.2, 0.4) … [0.8, 1].
SCORE_BINS = 5

#: What a stratum is, by shape, for people to read: one and many. A shape that is not here has none.
STRATA: Mapping[ShapeName, tuple[str, str]] = {
    "classes": ("class", "classes"),
    "labelled": ("label", "labels"),
    "nli": ("label", "labels"),
    "scored": ("score bin", "score bins"),
}
_LABELS: Mapping[ShapeName, tuple[str, ...]] = {
    "labelled": ("0", "1"),
    "nli": ("entailment", "neutral", "contradiction"),
    "scored": tuple(f"bin {number}" for number in range(SCORE_BINS)),
}


@dataclass(frozen=True, eq=False)
class Strata:
    """The distinct groups of a set, and which stratum each belongs to: all the same where the shape has none.

    `groups` (g,) ascending; `place` (rows,) of every row's group among them; `keys` (g,) the stratum's key, made of its
    name and not of its number, so that a class that joins later changes none.
    """

    groups: Keys
    place: npt.NDArray[np.int64]
    keys: Keys

    def ranked(self, order: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rank of every group within its stratum by `order` (g,), from 0, and the size of its stratum: (g,)."""
        sorted_ = np.lexsort((self.groups, order, self.keys))
        _, first, stratum, counts = np.unique(
            self.keys[sorted_], return_index=True, return_inverse=True, return_counts=True
        )
        rank, size = np.empty(len(sorted_), np.int64), np.empty(len(sorted_), np.int64)
        rank[sorted_] = np.arange(len(sorted_)) - first[stratum]
        size[sorted_] = counts[stratum]
        return rank, size


def strata_of(prepared: Prepared) -> Strata:
    """The strata of a set. A group whose rows have several belongs to the one most of them have, then to the lowest."""
    groups, place = np.unique(group_column(prepared), return_inverse=True)
    if prepared.shape not in STRATA:
        return Strata(groups, place, np.zeros(len(groups), np.int64))
    numbers = stratum_numbers(prepared)
    pairs, counts = np.unique(np.stack([place, numbers]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    _, first = np.unique(pairs[0][order], return_index=True)
    names = prepared.classes if prepared.shape == "classes" else _LABELS[prepared.shape]
    of_names = keys_of([names[number] if number < len(names) else str(number) for number in range(_many(numbers))])
    return Strata(groups, place, of_names[pairs[1][order][first]])


def _many(numbers: npt.NDArray[np.int64]) -> int:
    return int(numbers.max(initial=-1)) + 1


def stratum_numbers(prepared: Prepared) -> npt.NDArray[np.int64]:
    """The class, label or score bin of every row, (rows,)."""
    pieces = [piece.to_numpy() for piece in batches(prepared.rows, TARGET_COLUMN[prepared.shape])]
    values = np.concatenate(pieces) if pieces else np.empty(0)
    if prepared.shape == "scored":
        return np.minimum((values * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    return values.astype(np.int64)


def counted(sizes: npt.NDArray[np.int64], share: float, dither: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How many groups of strata of these sizes make `share` of them: rounded up with the chance that is left over.

    `dither` is that chance, in [0, 1) and one number for a stratum: with a fixed rule, a hundred classes of four texts
    would give nothing at all to a share of a tenth.
    """
    return np.floor(sizes * share + dither).astype(np.int64)


def lowest_and_highest(strata: Strata, shares: tuple[float, float], seed: int, salt: str) -> npt.NDArray[np.int64]:
    """0 for the rest, 1 for the groups of lowest hash that make the first share of each stratum, 2 for the highest.

    (g,). Within one group of what is asked in every stratum; the two shares, below 1 together, never meet.
    """
    rank, size = strata.ranked(mix(strata.groups, seed, salt))
    dither = unit(strata.keys, seed, f"{salt} rounding")
    low, high = counted(size, shares[0], dither), counted(size, shares[1], 1.0 - dither)
    return np.where(rank < low, 1, np.where(rank >= size - high, 2, 0))
