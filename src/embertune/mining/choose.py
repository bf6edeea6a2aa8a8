"""Which of the nearest candidates become negatives, and what stands in where they are too few."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embertune.data.hashing import Keys, mix
from embertune.errors import DataError
from embertune.mining.alike import Alike
from embertune.mining.lists import Places
from embertune.mining.pool import Pool
from embertune.mining.search import Floats, Near
from embertune.recipe.negatives import WHERE, NegativesSection

Flags = npt.NDArray[np.bool_]

#: Draws by hash before all candidates are gone through in the order of their hash.
_DRAWS = 16


@dataclass(frozen=True)
class Chosen:
    """`negatives` (anchors, n) as candidates, mined ones first; `drawn` (anchors, n) marks those that chance chose.

    `filled` anchors have fewer mined ones than asked for, so chance gave the rest. Of the candidates within the window
    of ranks, `too_close` were nearer than the margins allow and `alike` nearly the text of a positive.
    """

    negatives: Places
    drawn: Flags
    filled: int
    too_close: int
    alike: int


@dataclass
class _Counts:
    too_close: int = 0
    alike: int = 0


def ceilings(positives: Floats, settings: NegativesSection) -> Floats:
    """The highest score that a negative may have, (n,), from the score of the positive, (n,).

    The relative margin is a share of the score's size, so that it lowers a negative score too.
    """
    highest = np.full(len(positives), settings.max_score if settings.max_score is not None else np.inf, np.float32)
    if settings.relative_margin is not None:
        highest = np.minimum(highest, positives - np.abs(positives) * np.float32(settings.relative_margin))
    if settings.absolute_margin is not None:
        highest = np.minimum(highest, positives - np.float32(settings.absolute_margin))
    return highest


def choose(
    pool: Pool, found: Iterable[Near], highest: Floats, settings: NegativesSection, alike: Alike, seed: int
) -> Chosen:
    """Negatives for every anchor. `highest` (anchors,) is what `ceilings` says.

    Raises DataError where an anchor has fewer texts that may be its negatives than are asked for.
    """
    wanted = settings.num_negatives - settings.random
    negatives = np.full((len(pool.anchors), settings.num_negatives), -1, dtype=np.int64)
    counts = _Counts()
    for near in found:
        ranks = near.scores[:, settings.range_min :]
        there = ranks > -np.inf
        fine = there & (ranks <= highest[near.first : near.first + len(ranks), None])
        counts.too_close += int((there & ~fine).sum())
        for row, allowed in enumerate(fine):
            anchor = near.first + row
            ordered = near.places[row, settings.range_min :][allowed]
            _take(negatives[anchor, :wanted], ordered, pool.positives[anchor].tolist(), alike, counts)
    drawn = negatives < 0
    filled = int(drawn[:, :wanted].any(axis=1).sum())
    for empty in np.flatnonzero(drawn.any(axis=1)).tolist():
        _draw(pool, empty, negatives[empty], alike, seed)
    _refuse(negatives, pool)
    return Chosen(negatives, drawn, filled, counts.too_close, counts.alike)


def _take(row: Places, ordered: Places, positives: list[int], alike: Alike, counts: _Counts) -> None:
    """Fill `row` from its start with candidates in their order, but for those that are alike to a positive."""
    have = 0
    for candidate in ordered.tolist():
        if have == len(row):
            return
        if alike.any(candidate, positives):
            counts.alike += 1
            continue
        row[have] = candidate
        have += 1


def _draw(pool: Pool, anchor: int, row: Places, alike: Alike, seed: int) -> None:
    """Fill what is empty in `row` with candidates drawn by the hash of the anchor; what cannot be filled stays."""
    barred = set(pool.barred(np.array([anchor]))[1].tolist()) | set(row[row >= 0].tolist())
    positives = pool.positives[anchor].tolist()
    key = pool.anchor_keys[anchor : anchor + 1]

    def fits(candidate: int) -> bool:
        return candidate not in barred and not alike.any(candidate, positives)

    for candidate in _order(pool, key, seed):
        empty = np.flatnonzero(row < 0)
        if not len(empty):
            return
        if fits(candidate):
            row[empty[0]] = candidate
            barred.add(candidate)


def _order(pool: Pool, key: Keys, seed: int) -> Iterator[int]:
    """Candidates in an order that is a function of the anchor's key; some stand twice."""
    words = mix(key.repeat(_DRAWS) ^ np.arange(_DRAWS), seed, "negatives")
    yield from (words % np.uint64(len(pool.candidates))).astype(np.int64).tolist()
    yield from mix(pool.candidate_keys ^ key, seed, "all negatives").argsort(kind="stable").tolist()


def _refuse(negatives: Places, pool: Pool) -> None:
    short = np.flatnonzero((negatives < 0).any(axis=1))
    if not len(short):
        return
    found = (
        f"{len(short):,} of {len(pool.anchors):,} anchors have fewer than {negatives.shape[1]} texts that may be "
        f"their negatives, such as {pool.anchors[int(short[0])].as_py()[:80]!r}; there are {len(pool.candidates):,} "
        "candidates, and those of an anchor's own group, its positives and what is nearly the same are none"
    )
    raise DataError(WHERE, found, "ask for fewer (num_negatives), give more rows, or group them otherwise (data.group)")
