"""Near duplicates: MinHash signatures by rensa, bands by sorting, every pair verified by exact Jaccard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from embertune.data.hashing import Keys, mix
from embertune.data.shingles import Hashes, Places, Shingles, ranges

#: Slots of a signature; the seed of its hash functions is fixed, so that a pair is found in every run or in none.
SLOTS, SEED = 64, 1
#: How likely a pair right at the threshold must become a candidate.
SURE = 0.9
#: Texts that share a band are compared all with all up to `CROWD`; beyond, each with the next `REACH`.
CROWD, REACH = 256, 32
#: Verified pairs that are kept at most.
MOST = 20_000_000
#: Texts whose signatures are made at a time.
_BLOCK = 10_000


@dataclass(frozen=True)
class NearPairs:
    """Texts at `left[i]` and `right[i]` (places in what was asked about, `left < right`) with their Jaccard similarity.

    Ascending by left, then right. `passed_over` counts the candidates that were not compared, because too many texts
    shared a band or too many pairs were found already: 0 says that the search was complete up to `met`.
    """

    left: Places
    right: Places
    jaccard: npt.NDArray[np.float64]
    passed_over: int = 0

    def __len__(self) -> int:
        return len(self.left)

    def either(self, count: int) -> npt.NDArray[np.bool_]:
        """Which of `count` texts stand in a pair."""
        mask = np.zeros(count, dtype=bool)
        mask[self.left] = mask[self.right] = True
        return mask


def banding(threshold: float) -> tuple[int, int]:
    """Bands and rows per band: the most rows with which a pair at the threshold is met with probability `SURE`.

    Two texts of similarity s agree in a slot with probability s, and are met (agree in all rows of some band) with
    probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3rd ed., 3.4.2). At
    the default of 0.8 these are 10 bands of 6 rows: 0.952 at 0.8, 0.9995 at 0.9.
    """
    enough = [rows for rows in range(1, SLOTS + 1) if met(threshold, SLOTS // rows, rows) >= SURE]
    rows = max(enough, default=1)
    return SLOTS // rows, rows


def met(similarity: float, bands: int, rows: int) -> float:
    """The probability that two texts of that similarity share a band."""
    return float(1.0 - (1.0 - similarity**rows) ** bands)


def near_pairs(texts: Shingles, threshold: float, order: Keys | None = None) -> NearPairs:
    """All pairs of texts whose shingles have a Jaccard similarity of at least `threshold`, with the recall of `met`.

    Every pair returned was verified. `order` are keys of the texts; where a crowd shares a band they decide who is
    compared with whom, so that what is found hangs on what the texts say and not on where they stand. Texts without a
    word are in no pair. Memory: 8 bytes per text and band, and the pairs found.
    """
    order = np.arange(len(texts)) if order is None else order
    alive = np.argsort(order, kind="stable")
    alive = alive[texts.sizes[alive] > 0]
    bands = _bands(texts, alive, threshold)
    found: list[tuple[Places, Places, npt.NDArray[np.float64]]] = []
    kept = passed_over = 0
    crowded = np.zeros(bands.shape, dtype=bool)
    for number in range(len(bands)):
        passed_over += _mark_crowds(bands[number], crowded[number])
        for one, other in _candidates(bands[number]):
            fresh = ~_met_before(bands, crowded, number, one, other)
            left, right = alive[one[fresh]], alive[other[fresh]]
            if kept >= MOST:
                passed_over += len(left)
                continue
            pairs = _verified(texts, left, right, threshold)
            kept += len(pairs[0])
            found.append(pairs)
    return _sorted(found, passed_over)


def _bands(texts: Shingles, alive: Places, threshold: float) -> Hashes:
    """One hash for each band and text, (bands, texts)."""
    bands, rows = banding(threshold)
    keys = np.empty((bands, len(alive)), dtype=np.uint64)
    for start in range(0, len(alive), _BLOCK):
        part = alive[start : start + _BLOCK]
        slots = _signatures(texts, part)[:, : bands * rows].reshape(len(part), bands, rows)
        total = np.zeros((len(part), bands), dtype=np.int64)
        for row in range(rows):
            total = mix(total ^ slots[:, :, row], row, "band").astype(np.int64)
        keys[:, start : start + _BLOCK] = total.astype(np.uint64).T
    return keys


def _signatures(texts: Shingles, places: Places) -> Places:
    """The MinHash signatures of some texts, (texts, SLOTS)."""
    at, owners = ranges(texts.starts, places)
    starts = np.searchsorted(owners, np.arange(len(places) + 1)).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(texts.hashes[at], starts, SLOTS, SEED)
    flat = chain.from_iterable(matrix.to_rows())
    return np.fromiter(flat, dtype=np.int64, count=len(places) * SLOTS).reshape(len(places), SLOTS)


def _runs(keys: Hashes) -> tuple[Places, Places, Places]:
    """Texts in the order of their key, and where in it the runs of two and more begin, and their lengths."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    edges = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1], [True]]))
    lengths = np.diff(edges)
    return order, edges[:-1][lengths > 1], lengths[lengths > 1]


def _mark_crowds(keys: Hashes, crowded: npt.NDArray[np.bool_]) -> int:
    """Mark, in place, the texts of runs longer than `CROWD`; the pairs among them that will not be compared."""
    if not len(keys):
        return 0
    order, starts, lengths = _runs(keys)
    missed = 0
    for start, length in zip(starts[lengths > CROWD], lengths[lengths > CROWD], strict=True):
        crowded[order[start : start + length]] = True
        missed += int((length - REACH) * (length - REACH - 1) // 2)
    return missed


def _candidates(keys: Hashes) -> Iterator[tuple[Places, Places]]:
    """Pairs of texts that share a key, in pieces: the first with its next neighbour, then with the one after, …"""
    if not len(keys):
        return
    order, starts, lengths = _runs(keys)
    for distance in range(1, CROWD):
        far = (lengths > distance) & ((lengths <= CROWD) | (distance <= REACH))
        if not far.any():
            return
        heads = np.repeat(starts[far], lengths[far] - distance)
        firsts = np.cumsum(lengths[far] - distance) - (lengths[far] - distance)
        at = heads + np.arange(len(heads)) - np.repeat(firsts, lengths[far] - distance)
        yield order[at], order[at + distance]


def _met_before(
    bands: Hashes, crowded: npt.NDArray[np.bool_], number: int, one: Places, other: Places
) -> npt.NDArray[np.bool_]:
    """Whether a pair shared an earlier band, in a run where all were compared with all."""
    before = np.zeros(len(one), dtype=bool)
    for earlier in range(number):
        before |= (bands[earlier, one] == bands[earlier, other]) & ~crowded[earlier, one]
    return before


def _verified(
    texts: Shingles, left: Places, right: Places, threshold: float
) -> tuple[Places, Places, npt.NDArray[np.float64]]:
    """The candidates that hold; those whose lengths rule it out are not compared."""
    small = np.minimum(texts.sizes[left], texts.sizes[right])
    large = np.maximum(texts.sizes[left], texts.sizes[right])
    possible = small >= threshold * large
    left, right = left[possible], right[possible]
    values = texts.jaccard(left, right)
    holds = values >= threshold
    return left[holds], right[holds], values[holds]


def _sorted(found: list[tuple[Places, Places, npt.NDArray[np.float64]]], passed_over: int) -> NearPairs:
    """All pairs once, the smaller place first, ascending."""
    left = np.concatenate([np.empty(0, dtype=np.int64), *(pairs[0] for pairs in found)])
    right = np.concatenate([np.empty(0, dtype=np.int64), *(pairs[1] for pairs in found)])
    values = np.concatenate([np.empty(0), *(pairs[2] for pairs in found)])
    small, large = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((large, small))
    small, large, values = small[order], large[order], values[order]
    once = np.ones(len(small), dtype=bool)
    once[1:] = (small[1:] != small[:-1]) | (large[1:] != large[:-1])
    return NearPairs(small[once], large[once], values[once], passed_over)
