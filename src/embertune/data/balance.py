"""Classes of unequal size: how uneven they are, rows taken out or repeated, and the weights that make up for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from embertune.data.hashing import joined, keys, mix
from embertune.data.prepared import Note, Prepared, Sides
from embertune.data.strata import STRATA, stratum_numbers
from embertune.errors import DataError
from embertune.recipe.balancing import BALANCED_SHAPES, Balance

WHERE = "data.balance"
#: A row of a class of its own gives a pair loss nothing to pair it with.
_LEAST = 2

Counts = npt.NDArray[np.int64]


def balanced(sides: Sides, how: Balance | None, seed: int) -> Sides:
    """The sides with training rows repeated or left out as `data.balance` says; dev and test stay as they are.

    Shapes without classes stay as they are too; guidance refuses the setting for them. Raises DataError where
    undersampling would leave less than two rows of a class.
    """
    train = sides.train
    if how is None or train.shape not in BALANCED_SHAPES or not len(train):
        return sides
    numbers = stratum_numbers(train)
    counts = np.bincount(numbers)
    there = counts[counts > 0]
    words = f"{len(there)} {STRATA[train.shape][1]}"
    if there.min() == there.max():
        note = Note(WHERE, f"nothing is to be balanced: {words} have {there.max()} training rows each")
        return dataclasses.replace(sides, notes=(*sides.notes, note))
    if how not in ("oversample", "undersample"):
        return sides
    goal = int(there.max() if how == "oversample" else there.min())
    if goal < _LEAST:
        name = train.classes[int(np.flatnonzero(counts == goal)[0])] if train.classes else "a label"
        remedy = "add rows of it, or write oversample, batches or weights"
        raise DataError(WHERE, f"undersample would leave {goal} row of each class: {name!r} has no more", remedy)
    times = repeats(train, numbers, goal, seed)
    rows = train.rows.select(np.repeat(np.arange(len(train)), times))
    note = Note(WHERE, _told(words, there, goal, times), abs(len(rows) - len(train)), _examples(train, times))
    return dataclasses.replace(sides, train=train.take(rows), notes=(*sides.notes, note))


def repeats(train: Prepared, numbers: Counts, goal: int, seed: int) -> Counts:
    """How often each row stands in a set with `goal` rows of each class, (rows,): 0 or 1, or as even as can be.

    Which rows of a class stand once more, or stay, is decided by the hash of (seed, texts).
    """
    order = mix(joined([keys(train.rows, column) for column in train.text_columns]), seed, "balance")
    sorted_ = np.lexsort((order, numbers))
    counts = np.bincount(numbers)
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(train), np.int64)
    rank[sorted_] = np.arange(len(train)) - starts[numbers[sorted_]]
    whole, over = goal // counts[numbers], goal % counts[numbers]
    return whole + (rank < over)


def _told(words: str, counts: Counts, goal: int, times: Counts) -> str:
    sizes = f"{words} of {counts.min():,} to {counts.max():,} training rows have {goal:,} each"
    if goal == counts.max():
        return f"{sizes}: {int(times.sum()) - len(times):,} copies, no row more than {int(times.max())} times"
    return f"{sizes}: {int((times == 0).sum()):,} of {len(times):,} rows are left out"


def _examples(train: Prepared, times: Counts) -> tuple[str, ...]:
    """A few of the rows that stand most often, or not at all."""
    rows = np.flatnonzero(times == 0) if not times.all() else np.argsort(-times, kind="stable")
    return tuple(" | ".join(train.rows[int(row)][column] for column in train.text_columns) for row in rows[:5])


def class_weights(train: Prepared) -> npt.NDArray[np.float64]:
    """A weight for each class or label, inverse to its rows, such that the mean over all rows is 1: (classes,).

    A class without rows has weight 0.
    """
    counts = np.bincount(stratum_numbers(train), minlength=len(train.classes))
    there = counts > 0
    return np.where(there, len(train) / (there.sum() * np.maximum(counts, 1)), 0.0)
