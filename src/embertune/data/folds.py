"""Folds for cross-validation: every group is held out in exactly one of them, and each stratum is dealt out evenly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embertune.data.hashing import mix
from embertune.data.prepared import Note, Prepared
from embertune.data.strata import STRATA, Strata, strata_of, stratum_numbers
from embertune.errors import DataError


def folds(prepared: Prepared, k: int, seed: int) -> list[tuple[Prepared, Prepared]]:
    """`k` pairs of (what to train on, what is held out), in an order that hangs on nothing but rows, k and seed.

    Groups are dealt out like cards: stratum after stratum (class, label, score bin), within one by the hash of (seed,
    group). So folds differ by one group at most, in each stratum and altogether, whatever the order of the rows; unlike
    the sides of `split`, groups may change their fold when rows join the data, and all folds are to be run again.

    A class of a single group is held out with it: the note of that fold's training rows counts such classes. Raises
    DataError for k below 2 or above the number of groups.
    """
    strata = strata_of(prepared)
    if not 2 <= k <= len(strata.groups):
        found = f"{k} folds of {len(strata.groups)} groups cannot be made"
        raise DataError(prepared.source or prepared.name, found, f"ask for 2 to {len(strata.groups)} folds")
    fold = _dealt(strata, k, seed)[strata.place]
    return [_pair(prepared, fold == number) for number in range(k)]


def _dealt(strata: Strata, k: int, seed: int) -> npt.NDArray[np.int64]:
    """The fold of every group, (g,)."""
    order = np.lexsort((strata.groups, mix(strata.groups, seed, "folds"), strata.keys))
    fold = np.empty(len(order), np.int64)
    fold[order] = np.arange(len(order)) % k
    return fold


def _pair(prepared: Prepared, held: npt.NDArray[np.bool_]) -> tuple[Prepared, Prepared]:
    train, out = (replace(prepared, rows=prepared.rows.select(np.flatnonzero(rows))) for rows in (~held, held))
    if prepared.shape not in STRATA or prepared.shape == "scored":
        return train, out
    numbers = stratum_numbers(prepared)
    lost = len(np.setdiff1d(numbers, numbers[~held]))
    if not lost:
        return train, out
    word = STRATA[prepared.shape][lost > 1]
    text = f"{lost} {word} of {prepared.name} stand in the held-out fold only: their single group cannot be in both"
    return replace(train, notes=(*train.notes, Note("split", text, lost))), out
