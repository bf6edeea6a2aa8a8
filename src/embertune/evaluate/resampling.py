"""Drawing resamples of groups, and working out statistics on each of them.

Two ways of drawing: the bootstrap (groups with replacement) says how far a value may be off, the exchange (base and
tuned change places in a random half of the groups) how large a difference may be by chance. All statistics of one
call see the same draws, and a bounded number of cells is held at once whatever the number of resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from embertune.evaluate.evalset import FloatArray, IntArray
from embertune.evaluate.statistic import KINDS, KindName, Linear, Ranked, Statistic, largest

_CELLS = 4_000_000  # resamples × groups (or items) held at once
_RANKED_CELLS = 4_000_000  # resamples × items worked out for rank statistics, which are slower
_RANKED_LEAST = 1000
_MANY = 5000  # groups from which on counts are drawn independently

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

    Rank statistics get as many resamples as `ranked_resamples` says. Up to 5,000 groups are drawn with replacement;
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


def spread(statistic: Statistic, groups: IntArray, resamples: int = 200) -> float:
    """The standard deviation of a statistic over resamples of the groups; the same draws at every call."""
    found = bootstrap([statistic], groups, resamples, seed=0)[0]
    return float(np.nanstd(found)) if np.isfinite(found).any() else float("nan")


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, stream])))


def _counts(groups: int, items: int, resamples: int, seed: int) -> Draws:
    """How often each group stands in each resample: blocks (b, groups), `resamples` rows in all."""
    generator = _generator(seed, 0)
    for rows in _rows(max(groups, items), resamples):
        if groups > _MANY:
            words = generator.integers(0, 2**64, size=(rows, -(-groups // 8)), dtype=np.uint64)
            yield np.take(_COUNTS, words.view(np.uint16)).view(np.float32)[:, :groups]
        else:
            drawn = generator.integers(0, groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
            yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def _signs(groups: int, items: int, resamples: int, seed: int) -> Draws:
    """-1 where a group's two models change places, else 1: blocks (b, groups), `resamples` rows in all."""
    generator = _generator(seed, 1)
    for rows in _rows(max(groups, items), resamples):
        words = generator.integers(0, 2**64, size=(rows, -(-groups // 64)), dtype=np.uint64)
        yield np.take(_SIGNS, words.view(np.uint8), axis=0).reshape(rows, -1)[:, :groups]


def _rows(width: int, resamples: int) -> Iterator[int]:
    most = max(1, _CELLS // max(width, 1))
    return (min(most, resamples - start) for start in range(0, resamples, most))


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


def _joined(blocks: list[dict[Key, FloatArray]]) -> dict[Key, FloatArray]:
    return {key: np.concatenate([block[key] for block in blocks], axis=-1) for key in blocks[0]} if blocks else {}


def _linear_bootstrap(
    parts: dict[Key, tuple[Statistic, FloatArray]], place: IntArray, resamples: int, seed: int
) -> dict[Key, FloatArray]:
    """All linear parts by one matrix product per block of draws."""
    if not parts:
        return {}
    sums, columns = _stacked([(_line(one.kind), one.truth, values) for one, values in parts.values()], place)
    blocks = []
    for counts in _counts(len(sums), 0, resamples, seed):
        drawn = (counts @ sums.astype(counts.dtype)).astype(np.float64)
        values = zip(parts.items(), columns, strict=True)
        blocks.append({key: _line(one.kind).finish(drawn[:, at]) for (key, (one, _)), at in values})
    return _joined(blocks)


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
    both, apart = (first + second).sum(axis=0) / 2, (second - first) / 2
    blocks = []
    for signs in _signs(len(first), 0, resamples, seed):
        moved = (signs @ apart.astype(signs.dtype)).astype(np.float64)
        sides = (both - moved, both + moved)
        named = zip(parts.items(), columns, strict=True)
        blocks.append(
            {key: np.stack([_line(one.kind).finish(side[:, at]) for side in sides]) for (key, (one, _, _)), at in named}
        )
    return _joined(blocks)


def _ranked_bootstrap(
    parts: dict[Key, tuple[Statistic, FloatArray]], place: IntArray, resamples: int, seed: int
) -> dict[Key, FloatArray]:
    if not parts:
        return {}
    blocks = []
    for counts in _counts(int(place.max()) + 1, len(place), resamples, seed):
        weights = counts[:, place].astype(np.float64)
        blocks.append(
            {key: _rank(one.kind).evaluate(one.truth, values[None, :], weights) for key, (one, values) in parts.items()}
        )
    return _joined(blocks)


def _ranked_exchange(
    parts: dict[Key, tuple[Statistic, FloatArray, FloatArray]], place: IntArray, resamples: int, seed: int
) -> dict[Key, FloatArray]:
    """(2, resamples) per part; every exchange mixes two models' values and is ranked anew."""
    if not parts:
        return {}
    blocks: list[dict[Key, FloatArray]] = []
    for signs in _signs(int(place.max()) + 1, len(place), resamples, seed):
        kept = signs[:, place] > 0
        once = np.ones(kept.shape)
        blocks.append({})
        for key, (one, mine, other) in parts.items():
            rank = _rank(one.kind)
            a, b = rank.comparable(mine), rank.comparable(other)
            sides = (np.where(kept, a, b), np.where(kept, b, a))
            blocks[-1][key] = np.stack([rank.evaluate(one.truth, side, once) for side in sides])
    return _joined(blocks)
