"""A part of dev, and of the rows among which its neighbours are looked for, where all of it costs too much."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embertune.data.hashing import mix, unit
from embertune.data.prepared import Prepared
from embertune.data.split import dev_corpus
from embertune.data.strata import Strata, lowest_and_highest, strata_of

#: Documents that answer nobody, and rows among which neighbours are looked for, that stay beside a sample of dev.
BESIDE = 1_000
_SALT = "sample of dev"


def sampled(dev: Prepared, share: float, seed: int) -> Prepared:
    """The groups of lowest hash that make `share` of every class, label or score bin, or of the whole.

    For retrieval, the documents that answer what is left, and as many others as a sample keeps.
    """
    strata = strata_of(dev)
    return _of_groups(dev, strata, lowest_and_highest(strata, (share, 0.0), seed, _SALT) == 1, seed)


def first_of(dev: Prepared, rows: int, seed: int) -> Prepared:
    """So many rows, or a few more to keep the last group whole: every class, label or score bin in proportion.

    Fewer lie within more. For retrieval, documents as `sampled` leaves them.
    """
    strata = strata_of(dev)
    rank, size = strata.ranked(mix(strata.groups, seed, _SALT))
    turn = (rank + unit(strata.keys, seed, f"{_SALT} rounding")) / size
    order = np.lexsort((strata.groups, turn))
    enough = int(np.searchsorted(np.cumsum(np.bincount(strata.place)[order]), rows)) + 1
    taken = np.zeros(len(order), dtype=np.bool_)
    taken[order[:enough]] = True
    return _of_groups(dev, strata, taken, seed)


def _of_groups(dev: Prepared, strata: Strata, taken: npt.NDArray[np.bool_], seed: int) -> Prepared:
    rows = dev.rows.select(np.flatnonzero(taken[strata.place]))
    return dev_corpus(replace(dev, rows=rows), BESIDE, seed)


def spread(train: Prepared, seed: int) -> Prepared:
    """About as many rows of train as a sample keeps, as many of each class: the groups of lowest hash."""
    strata = strata_of(train)
    rank, _ = strata.ranked(mix(strata.groups, seed, "rows of an index"))
    taken = rank[strata.place] < math.ceil(BESIDE / len(np.unique(strata.keys)))
    return replace(train, rows=train.rows.select(np.flatnonzero(taken)))
