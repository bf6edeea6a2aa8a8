"""A part of dev, and of the rows among which its neighbours are looked for, where all of it costs too much."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from embertune.data.hashing import mix
from embertune.data.prepared import Prepared
from embertune.data.split import dev_corpus
from embertune.data.strata import lowest_and_highest, strata_of

#: Documents that answer nobody, and rows among which neighbours are looked for, that stay beside a sample of dev.
BESIDE = 1_000


def sampled(dev: Prepared, share: float, seed: int) -> Prepared:
    """The groups of lowest hash that make `share` of every class, label or score bin, or of the whole.

    For retrieval, the documents that answer what is left, and as many others as a sample keeps.
    """
    strata = strata_of(dev)
    taken = lowest_and_highest(strata, (share, 0.0), seed, "sample of dev")[strata.place] == 1
    return dev_corpus(replace(dev, rows=dev.rows.select(np.flatnonzero(taken))), BESIDE, seed)


def spread(train: Prepared, seed: int) -> Prepared:
    """About as many rows of train as a sample keeps, as many of each class: the groups of lowest hash."""
    strata = strata_of(train)
    rank, _ = strata.ranked(mix(strata.groups, seed, "rows of an index"))
    taken = rank[strata.place] < math.ceil(BESIDE / len(np.unique(strata.keys)))
    return replace(train, rows=train.rows.select(np.flatnonzero(taken)))
