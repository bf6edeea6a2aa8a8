"""Which texts are known to be right for which anchors, so that none of them is taken for a negative."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embertune.data.groups import group_column
from embertune.data.hashing import Keys, folded, keys
from embertune.data.keyed import keyed
from embertune.data.nearness import near_texts
from embertune.data.prepared import Prepared

Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Known:
    """Rows as integers: one code per text, which its near duplicates share.

    `anchors` (rows,); `others` (rows, columns), the positive first and negatives behind it; `groups` (rows,). The codes
    that are right for the anchor of code a are `members[starts[a]:starts[a + 1]]`, ascending. `spoilt` (rows, columns)
    marks a row's own negatives that are no negatives.
    """

    anchors: Codes
    others: Codes
    groups: Codes
    starts: Codes
    members: Codes
    spoilt: Flags

    def mask(self, rows: Codes) -> Flags:
        """For a batch of `rows` (b,): what is no negative of whom, (b, b * columns), columns one after the other.

        No negative of an anchor is its own text, a positive known for it in any row, and the positive of a row of its
        group, near duplicates included. A row's own positive is never marked, and its own negatives only where their
        very text is the anchor's or a positive known for it: a labelled negative may be nearly the positive.
        """
        asked, of_row = np.unique(self.anchors[rows], return_inverse=True)
        marked = self._right(asked, self.others[rows].T.reshape(-1))[of_row]
        count, here = len(rows), np.arange(len(rows))
        groups = self.groups[rows]
        if len(np.unique(groups)) < count:
            marked[:, :count] |= groups[:, None] == groups[None, :]
        for column in range(self.others.shape[1]):
            marked[here, column * count + here] = self.spoilt[rows, column]
        return marked

    def _right(self, asked: Codes, candidates: Codes) -> Flags:
        """Which candidates are right for which codes of anchors, (asked, candidates); `asked` are distinct."""
        order = np.argsort(candidates, kind="stable")
        ranked = candidates[order]
        places, owners = _spans(self.starts[asked], self.starts[asked + 1])
        codes = np.concatenate([self.members[places], asked])
        owners = np.concatenate([owners, np.arange(len(asked))])
        found, hits = _spans(np.searchsorted(ranked, codes), np.searchsorted(ranked, codes, side="right"))
        right = np.zeros((len(asked), len(candidates)), dtype=np.bool_)
        right[owners[hits], order[found]] = True
        return right


def _spans(first: Codes, last: Codes) -> tuple[Codes, Codes]:
    """All whole numbers of the spans `first[i]` to `last[i]`, exclusive, one span after the other; and each one's i."""
    sizes = last - first
    owners = np.repeat(np.arange(len(sizes)), sizes)
    return np.arange(len(owners)) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes), owners


def known_of(train: Prepared, near: Keys | None = None) -> Known:
    """What `train` says about its own texts; its first text column holds anchors, the second positives.

    Texts compare `folded`. `near` (pairs, 2) are the keys, of that form, of texts that count as one too; those that
    hang together by several pairs are one, and pairs with a text that is not in `train` say nothing. Memory is that of
    a few integers for each text.
    """
    columns = np.stack([keys(train.rows, column, folded) for column in train.text_columns], axis=1)
    texts, places = np.unique(columns, return_inverse=True)
    exact: Codes = places.reshape(columns.shape).astype(np.int64)
    codes = exact if near is None or not len(near) else _joined(texts, near)[exact]
    starts, members = _listed(codes[:, 0], codes[:, 1])
    return Known(codes[:, 0], codes[:, 1:], group_column(train), starts, members, _spoilt(exact, len(texts)))


def near_keys(train: Prepared, threshold: float | None) -> Keys | None:
    """The texts of `train` that nearly repeat each other, as `known_of` takes them; None looks for none."""
    if threshold is None:
        return None
    texts = near_texts([keyed("train", train)], threshold)
    return np.stack([texts.keys[texts.pairs.left], texts.keys[texts.pairs.right]], axis=1)


def _joined(texts: Keys, near: Keys) -> Codes:
    """For every one of `texts` (ascending), the number of what it is part of when near ones are joined."""
    places = np.minimum(np.searchsorted(texts, near), len(texts) - 1)
    left, right = places[(texts[places] == near).all(axis=1)].T
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(texts), len(texts)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _listed(anchors: Codes, positives: Codes) -> tuple[Codes, Codes]:
    """`starts` and `members` of all distinct pairs of codes."""
    count = int(max(anchors.max(), positives.max())) + 1
    pairs = np.unique(anchors * count + positives)
    starts = np.searchsorted(pairs // count, np.arange(count + 1))
    return starts.astype(np.int64), pairs % count


def _spoilt(exact: Codes, count: int) -> Flags:
    """A row's negatives whose very text is its anchor's or one of its anchor's positives; never its positive."""
    anchors, others = exact[:, :1], exact[:, 1:]
    right = np.unique(exact[:, 0] * count + exact[:, 1])
    pairs = anchors * count + others
    places = np.minimum(np.searchsorted(right, pairs), len(right) - 1)
    spoilt: Flags = (right[places] == pairs) | (anchors == others)
    spoilt[:, 0] = False
    return spoilt
