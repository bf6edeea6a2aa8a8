"""How often another row of a batch is no negative at all: counted exactly, over all batches that could be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from embertune.data.findings import Finding
from embertune.data.groups import group_column
from embertune.data.hashing import Keys, joined
from embertune.data.keyed import Keyed


@dataclass(frozen=True)
class Batches:
    """How the rows of a run come together: `size` rows (pairs of a class for classes) in a batch.

    `sampler` is its name in the table of losses; `in_batch` says whether the other rows of a batch serve as negatives,
    `masked` whether the loss takes known positives out of them.
    """

    size: int
    sampler: str
    in_batch: bool
    masked: bool = False


@dataclass(frozen=True)
class FalseNegatives:
    """Of all ordered pairs of rows, `pairs`, those that are no negatives of each other: `false`; `left` by sampler."""

    pairs: int
    false: int
    left: int


def false_negatives(train: Keyed, how: Batches) -> FalseNegatives:
    """Pairs of rows that share a class, or an anchor or positive (folded) or a group; exact, from counts.

    The sampler `distinct` keeps rows apart that share an anchor or a positive to the letter, those of classes keep
    classes apart.
    """
    rows = len(train)
    pairs = rows * (rows - 1)
    if train.prepared.shape == "classes":
        assert train.targets is not None
        false = _sharing(train.targets.astype(np.int64))
        return FalseNegatives(pairs, false, 0 if how.sampler != "shuffled" or how.masked else false)
    columns = train.prepared.text_columns[:2]
    apart = _sharing_any([train.exact[column] for column in columns]) if how.sampler == "distinct" else 0
    false = _sharing_any([*(train.folded[column] for column in columns), group_column(train.prepared)])
    return FalseNegatives(pairs, false, 0 if how.masked else false - apart)


def _sharing(values: Keys) -> int:
    """Ordered pairs of places with equal values."""
    _, counts = np.unique(values, return_counts=True)
    return int((counts * (counts - 1)).sum())


def _sharing_any(columns: Sequence[Keys]) -> int:
    """Ordered pairs of rows that are equal in at least one column, by inclusion and exclusion."""
    total = 0
    for size in range(1, len(columns) + 1):
        for chosen in combinations(columns, size):
            here = _sharing(chosen[0] if size == 1 else joined(chosen))
            total += here if size % 2 else -here
    return total


def finding_of_batches(train: Keyed, how: Batches) -> Finding | None:
    """The expected share of in-batch negatives that are none; None where rows of a batch are no negatives.

    Its `count` and `of` are those of one pass over the rows in random batches.
    """
    if not how.in_batch or len(train) < 2:
        return None
    found = false_negatives(train, how)
    rate, rest = found.false / found.pairs, found.left / found.pairs
    if not found.false:
        return None
    what = "a class" if train.prepared.shape == "classes" else "an anchor, positive or group"
    others = min(how.size, len(train)) - 1
    text = (
        f"in-batch negatives would be false in random batches of {how.size} (they share {what}): "
        f"{others * rate:.2g} for each anchor"
    )
    of = len(train) * others
    return Finding("false_negatives", "train", text, round(of * rate), of, (), _done(how, others * rest))


def _done(how: Batches, left: float) -> str:
    if how.masked:
        return "taken out of the loss (known positives)"
    if how.sampler.startswith("class"):
        return "no batch has two of a class, save as a pair"
    if how.sampler == "distinct":
        rest = f"; {left:.2g} for each anchor are left, which share a group only" if left else ", which leaves none"
        return f"batches keep equal texts apart{rest}"
    return ""
