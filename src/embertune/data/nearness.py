"""Near duplicates of the sides of a run: which texts nearly repeat another, within a side and across two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embertune.data.findings import Finding
from embertune.data.hashing import Keys
from embertune.data.keyed import Keyed
from embertune.data.near import NearPairs, near_pairs
from embertune.data.repeats import EXAMPLES, shortened
from embertune.data.shingles import shingled
from embertune.data.store import batches

Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class NearTexts:
    """The distinct texts of some sides, and the pairs of them that nearly repeat each other.

    `keys` are folded keys, ascending; `pairs` counts in places among them. `source` says where each text stands first:
    the number of a (side, column), and `row` the row there.
    """

    keys: Keys
    pairs: NearPairs
    source: Places
    row: Places

    def place(self, keys: Keys) -> Places:
        """Where texts stand among the distinct ones; all must be there."""
        return np.searchsorted(self.keys, keys)


def near_texts(sides: Sequence[Keyed], threshold: float) -> NearTexts:
    """Compare all distinct texts of the sides; texts that are the same when folded count as one."""
    columns = [(side, column) for side in sides for column in side.prepared.text_columns]
    everything = np.concatenate([side.folded[column] for side, column in columns])
    keys, first = np.unique(everything, return_index=True)
    starts = np.cumsum([0, *(len(side) for side, _ in columns)])
    by_place = np.argsort(first)  # the distinct texts in the order in which they are read
    texts = shingled(_distinct(columns, first[by_place], starts))
    found = near_pairs(texts, threshold, keys[by_place])
    one, other = by_place[found.left], by_place[found.right]
    left, right = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((right, left))
    pairs = NearPairs(left[order], right[order], found.jaccard[order], found.passed_over)
    source = np.searchsorted(starts, first, side="right") - 1
    return NearTexts(keys, pairs, source, first - starts[source])


def _distinct(columns: Sequence[tuple[Keyed, str]], wanted: Places, starts: Places) -> Iterator[pa.Array]:
    """The texts at `wanted`, ascending places in all columns laid end to end."""
    for (side, column), begin in zip(columns, starts, strict=False):
        for piece in batches(side.prepared.rows, column):
            low, high = np.searchsorted(wanted, (begin, begin + len(piece)))
            yield piece.combine_chunks().take(pa.array(wanted[low:high] - begin))
            begin += len(piece)


def findings_of_near(sides: Sequence[Keyed], threshold: float | None) -> list[Finding]:
    """Texts within each side that nearly repeat another there, and those of the others that nearly repeat train.

    `sides` begin with train. None for the threshold looks for nothing.
    """
    if threshold is None:
        return []
    near = near_texts(sides, threshold)
    members = {side.side: _members(near, side.texts()) for side in sides}
    found = [_within(near, sides, side, members[side.side], threshold) for side in sides]
    for side in sides[1:]:
        found.append(_across(near, sides, side, members, threshold))
    return [finding for finding in found if finding.count]


def _members(near: NearTexts, keys: Keys) -> Mask:
    mask = np.zeros(len(near.keys), dtype=bool)
    mask[near.place(keys)] = True
    return mask


def _within(near: NearTexts, sides: Sequence[Keyed], side: Keyed, member: Mask, threshold: float) -> Finding:
    inside = member[near.pairs.left] & member[near.pairs.right]
    mask = np.zeros(len(near.keys), dtype=bool)
    mask[near.pairs.left[inside]] = mask[near.pairs.right[inside]] = True
    text = f"distinct texts nearly repeat another (Jaccard similarity of at least {threshold:g}){_bound(near)}"
    shown = _examples(near, sides, np.flatnonzero(inside))
    return Finding("near_duplicates", side.side, text, int(mask.sum()), int(member.sum()), shown)


def _across(
    near: NearTexts, sides: Sequence[Keyed], side: Keyed, members: Mapping[str, Mask], threshold: float
) -> Finding:
    """Anchors, or all texts where rows are judged as pairs, of a side that nearly repeat a text of train."""
    paired = side.prepared.shape in ("scored", "labelled", "nli")
    asked = np.unique(side.texts() if paired else side.folded[side.first])
    own, train = _members(near, asked), members["train"]
    forth = own[near.pairs.left] & train[near.pairs.right]
    back = train[near.pairs.left] & own[near.pairs.right]
    mask = np.zeros(len(near.keys), dtype=bool)
    mask[near.pairs.left[forth]] = mask[near.pairs.right[back]] = True
    what = "texts" if paired or side.prepared.shape == "classes" else "anchors"
    text = f"distinct {what} of {side.side} nearly repeat a text of train (from {threshold:g}){_bound(near)}"
    shown = _examples(near, sides, np.flatnonzero(forth | back))
    return Finding("near_duplicates", f"train | {side.side}", text, int(mask.sum()), len(asked), shown)


def _bound(near: NearTexts) -> str:
    passed = near.pairs.passed_over
    return f"; at least, for {passed} candidate pairs in crowds were not compared" if passed else ""


def _examples(near: NearTexts, sides: Sequence[Keyed], pairs: Places) -> tuple[str, ...]:
    """Pairs as text, the first by the keys of their texts."""
    columns = [(side, column) for side in sides for column in side.prepared.text_columns]

    def text(place: int) -> str:
        side, column = columns[near.source[place]]
        return shortened(str(side.prepared.rows[int(near.row[place])][column]))

    found = near.pairs
    return tuple(
        f"{text(found.left[pair])} | {text(found.right[pair])} | {found.jaccard[pair]:.2f}" for pair in pairs[:EXAMPLES]
    )
