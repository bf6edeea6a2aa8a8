"""Drawing resamples of groups, and working out statistics on each of them.

Two ways of drawing: the bootstrap (groups with replacement) says how far a value may be off, the exchange (base and
tuned change places in a random half of the groups) how large a difference may be by chance. All statistics of one
call see the same draws, and a bounded number of cells is held at once whatever the number of resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from embertune.evaluate.evalset import FloatArray, IntArray
from embertune.evaluate.statistic import KINDS, KindName, Linear, Ranked, Statistic, largest

_CELLS = 4_000_000  # resamples × groups (or items) held at once
_FEW_CELLS = (
    400_000  # the same where few columns are summed: draws that stay in the processor's cache are twice as fast
)
_FEW_COLUMNS = 8
_RANKED_CELLS = 3_000_000  # resamples × items worked out for rank statistics, which are slower
_RANKED_LEAST = 1000
_MANY = 2000  # groups from which on counts are drawn independently

#: Poisson(1) in 256 equally likely levels: 0 to 5 with mean 1, variance 1 and third moment 4.96 (Poisson: 5).
_LEVELS = np.repeat(np.arange(6, dtype=np.float32), [95, 92, 49, 15, 4, 1])
#: Two such counts for 16 random bits, packed as one 64-bit word because numpy takes words faster than rows.
_COUNTS = (
    np.stack(np.broadcast_arrays(_LEVELS[None, :], _LEVELS[:, None]), axis=-1).reshape(65_536, 2).view(np.uint64)[:, 0]
)
#: Eight signs for 8 random bits.
_SIGNS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) * 2 - 1

Draws = Iterator[npt.NDArray[np.floating]]
Key = TypeVar("Key")


def bootstrap(statistics: Sequence[Statistic], groups: IntArray, resamples: int, seed: int) -> list[FloatArray]:
    """Each statistic on resamples of the groups: (resamples,) each, NaN where a resample leaves it undefined.

    Rank statistics get as many resamples as `ranked_resamples` says. Up to 2,000 groups are drawn with replacement;
    beyond, the count of each group is drawn on its own from Poisson(1), the same in the limit (Hanley & MacGibbon
    2006).
    """
    _, place = np.unique(groups, return_inverse=True)
    parts = {(one.kind, id(one.truth), id(part)): (one, part) for one in statistics for part in one.parts}
    linear = {key: part for key, part in parts.items() if isinstance(KINDS[key[0]], Linear)}
    ranked = {key: part for key, part in parts.items() if key not in linear}
    found = _linear_bootstrap(linear, place, resamples, seed)
    found |= _ranked_bootstrap(ranked, place, ranked_resamples(len(groups), resamples), seed)
    return [largest([found[one.kind, id(one.truth), id(part)] for part in one.parts]) for one in statistics]


def exchange(
    pairs: Sequence[tuple[Statistic, Statistic]], groups: IntArray, resamples: int, seed: int
) -> list[FloatArray]:
    """Second minus first of each pair, where the two change places in a random half of the groups: (resamples,) each.

    What a rank or correlation statistic ignores is taken away first (ranks, or mean and deviation), so that models
    whose similarities lie on different scales can change places.
    """
    _, place = np.unique(groups, return_inverse=True)
    parts = {
        (first.kind, id(one), id(other)): (first, one, other)
        for first, second in pairs
        for one, other in zip(first.parts, second.parts, strict=True)
    }
    linear = {key: part for key, part in parts.items() if isinstance(KINDS[key[0]], Linear)}
    ranked = {key: part for key, part in parts.items() if key not in linear}
    found = _linear_exchange(linear, place, resamples, seed)
    found |= _ranked_exchange(ranked, place, ranked_resamples(len(groups), resamples), seed)
    differences = []
    for first, second in pairs:
        sides = [found[first.kind, id(one), id(other)] for one, other in zip(first.parts, second.parts, strict=True)]
        differences.append(largest([side[1] for side in sides]) - largest([side[0] for side in sides]))
    return differences


def ranked_resamples(items: int, resamples: int) -> int:
    """How many resamples rank statistics get: fewer for large sets, but 1,000 at least (or all that were asked for)."""
    return min(resamples, max(_RANKED_LEAST, _RANKED_CELLS // max(items, 1)))


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, stream])))


def _counts(groups: int, most: int, resamples: int, seed: int) -> Draws:
    """How often each group stands in each resample: blocks (b, groups), b at most `most`, `resamples` rows in all."""
    generator = _generator(seed, 0)
    for rows in _rows(most, resamples):
        if groups > _MANY:
            words = generator.integers(0, 2**64, size=(rows, -(-groups // 8)), dtype=np.uint64)
            yield np.take(_COUNTS, words.view(np.uint16)).view(np.float32)[:, :groups]
        else:
            drawn = generator.integers(0, groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
            yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def _signs(groups: int, most: int, resamples: int, seed: int) -> Draws:
    """-1 where a group's two models change places, else 1: blocks (b, groups) as above."""
    generator = _generator(seed, 1)
    for rows in _rows(most, resamples):
        words = generator.integers(0, 2**64, size=(rows, -(-groups // 64)), dtype=np.uint64)
        yield np.take(_SIGNS, words.view(np.uint8), axis=0).reshape(rows, -1)[:, :groups]


def _rows(most: int, resamples: int) -> Iterator[int]:
    return (min(most, resamples - start) for start in range(0, resamples, most))


def _products(draw: Callable[[int, int, int, int], Draws], sums: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Every draw times the group sums (groups, c): (resamples, c). Equal columns are done once, empty ones never."""
    places: dict[bytes, int] = {np.zeros(len(sums)).tobytes(): -1}
    which = [places.setdefault(column.tobytes(), len(places) - 1) for column in sums.T]
    distinct = [which.index(place) for place in range(len(places) - 1)]
    out = np.zeros((resamples, len(distinct) + 1))  # the last column is that of the empty ones
    cells = _FEW_CELLS if len(distinct) <= _FEW_COLUMNS else _CELLS
    most = max(1, cells // len(sums))
    terms, start = np.ascontiguousarray(sums[:, distinct]), 0
    for block in draw(len(sums), most, resamples, seed):
        if terms.dtype != block.dtype:
            terms = terms.astype(block.dtype)
        out[start : start + len(block), :-1] = block @ terms
        start += len(block)
    return out[:, which]


def _sums(terms: FloatArray, place: IntArray) -> FloatArray:
    """Terms of items (n, c) summed by group: (groups, c)."""
    return np.stack([np.bincount(place, weights=column) for column in terms.T], axis=1)


def _line(kind: KindName) -> Linear:
    row = KINDS[kind]
    assert isinstance(row, Linear)
    return row


def _rank(kind: KindName) -> Ranked:
    row = KINDS[kind]
    assert isinstance(row, Ranked)
    return row


def _block(items: int) -> int:
    """How many resamples of rank statistics are held at once: several arrays of (b, items) at a time."""
    return max(1, _FEW_CELLS // items)


def _joined(blocks: list[dict[Key, FloatArray]]) -> dict[Key, FloatArray]:
    return {key: np.concatenate([block[key] for block in blocks], axis=-1) for key in blocks[0]} if blocks else {}


def _linear_bootstrap(
    parts: dict[Key, tuple[Statistic, FloatArray]], place: IntArray, resamples: int, seed: int
) -> dict[Key, FloatArray]:
    """All linear parts by one matrix product per block of draws."""
    if not parts:
        return {}
    sums, columns = _stacked([(_line(one.kind), one.truth, values) for one, values in parts.values()], place)
    drawn = _products(_counts, sums, resamples, seed)
    return {
        key: _line(one.kind).finish(drawn[:, at]) for (key, (one, _)), at in zip(parts.items(), columns, strict=True)
    }


def _stacked(parts: Sequence[tuple[Linear, FloatArray, FloatArray]], place: IntArray) -> tuple[FloatArray, list[slice]]:
    """The group sums of all parts' terms side by side (groups, all c), and which columns are whose."""
    sums = [_sums(row.terms(truth, values), place) for row, truth, values in parts]
    ends = np.cumsum([one.shape[1] for one in sums])
    return np.concatenate(sums, axis=1), [
        slice(int(end) - one.shape[1], int(end)) for one, end in zip(sums, ends, strict=True)
    ]


def _linear_exchange(
    parts: dict[Key, tuple[Statistic, FloatArray, FloatArray]], place: IntArray, resamples: int, seed: int
) -> dict[Key, FloatArray]:
    """(2, resamples) per part. A side's sums are half of the total, plus or minus half of the difference."""
    if not parts:
        return {}
    first, columns = _stacked([(_line(one.kind), one.truth, mine) for one, mine, _ in parts.values()], place)
    second, _ = _stacked([(_line(one.kind), one.truth, other) for one, _, other in parts.values()], place)
    moved = _products(_signs, (second - first) / 2, resamples, seed)
    both = (first + second).sum(axis=0) / 2
    sides = (both - moved, both + moved)
    return {
        key: np.stack([_line(one.kind).finish(side[:, at]) for side in sides])
        for (key, (one, _, _)), at in zip(parts.items(), columns, strict=True)
    }


def _ranked_bootstrap(
    parts: dict[Key, tuple[Statistic, FloatArray]], place: IntArray, resamples: int, seed: int
) -> dict[Key, FloatArray]:
    if not parts:
        return {}
    blocks: list[dict[Key, FloatArray]] = []
    for counts in _counts(int(place.max()) + 1, _block(len(place)), resamples, seed):
        weights = counts[:, place].astype(np.float64)
        shared = {(one.kind, id(one.truth)): _rank(one.kind).prepare(one.truth, weights) for one, _ in parts.values()}
        blocks.append({})
        for key, (one, values) in parts.items():
            truth = shared[one.kind, id(one.truth)]
            blocks[-1][key] = _rank(one.kind).evaluate(truth, values[None, :], weights)
    return _joined(blocks)


def _ranked_exchange(
    parts: dict[Key, tuple[Statistic, FloatArray, FloatArray]], place: IntArray, resamples: int, seed: int
) -> dict[Key, FloatArray]:
    """(2, resamples) per part; every exchange mixes two models' values and is ranked anew."""
    if not parts:
        return {}
    ready = {key: _ready(*part) for key, part in parts.items()}
    blocks: list[dict[Key, FloatArray]] = []
    for signs in _signs(int(place.max()) + 1, _block(len(place)), resamples, seed):
        kept = signs[:, place] > 0
        blocks.append({})
        for key, (rank, truth, mine, other) in ready.items():
            sides = (np.where(kept, mine, other), np.where(kept, other, mine))
            blocks[-1][key] = np.stack([rank.evaluate(truth, side, None) for side in sides])
    return _joined(blocks)


def _ready(one: Statistic, mine: FloatArray, other: FloatArray) -> tuple[Ranked, FloatArray, FloatArray, FloatArray]:
    rank = _rank(one.kind)
    return rank, rank.prepare(one.truth, None), rank.comparable(mine), rank.comparable(other)
