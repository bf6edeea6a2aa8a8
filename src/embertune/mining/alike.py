"""Is a candidate nearly the text of a positive? Exact Jaccard similarity of words and word pairs, two at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from embertune.data.shingles import shingled
from embertune.data.store import BATCH


class Alike:
    """Compares candidates by their number. `threshold` is the similarity from which two are alike, None for never."""

    def __init__(self, candidates: pa.Array, threshold: float | None) -> None:
        self.threshold = threshold
        if threshold is not None:
            pieces = (candidates.slice(start, BATCH) for start in range(0, len(candidates), BATCH))
            made = shingled(pieces)
            self._hashes, self._starts = np.asarray(made.hashes), made.starts  # a view keeps the file

    def any(self, candidate: int, others: Sequence[int]) -> bool:
        """Whether `candidate` is alike to one of `others`."""
        return self.threshold is not None and any(self.jaccard(candidate, other) >= self.threshold for other in others)

    def jaccard(self, left: int, right: int) -> float:
        """What `Shingles.jaccard` says of one pair, in a fifth of its time: that one is made for many at once."""
        mine, theirs = (self._hashes[self._starts[n] : self._starts[n + 1]] for n in (left, right))
        if not len(mine) or not len(theirs):
            return 0.0
        places = np.minimum(np.searchsorted(theirs, mine), len(theirs) - 1)
        both = int((theirs[places] == mine).sum())
        return both / (len(mine) + len(theirs) - both)
