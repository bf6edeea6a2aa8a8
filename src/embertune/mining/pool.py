"""What negatives are drawn from and for whom: distinct anchors, distinct candidates, and who must not meet whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embertune.data.groups import group_column
from embertune.data.hashing import Keys, folded, keys, keys_of
from embertune.data.prepared import Prepared
from embertune.data.store import BATCH, batches
from embertune.mining.lists import Lists, Places, lists


@dataclass(frozen=True)
class Pool:
    """Texts are one where they differ in case, white space and marks at their ends only; the first one stands for all.

    `anchors` and `candidates` are Arrow arrays of texts with the keys `anchor_keys` and `candidate_keys`. Row i has the
    anchor `anchor_of[i]` and the positive `positive_of[i]`. An anchor may have no text of its `groups`; `texts` has
    those of each group. `positives` are the candidates known to be right for each anchor.
    """

    anchors: pa.Array
    candidates: pa.Array
    anchor_keys: Keys
    candidate_keys: Keys
    anchor_of: Places
    positive_of: Places
    groups: Lists
    texts: Lists
    positives: Lists

    def barred(self, anchors: Places) -> tuple[Places, Places]:
        """Pairs (place in `anchors`, candidate) that are no negatives; some may stand twice."""
        places, groups = self.groups.of(anchors)
        of_group, candidates = self.texts.of(groups)
        return places[of_group], candidates

    def barred_counts(self) -> Places:
        """How many pairs `barred` has for each anchor."""
        sizes = self.texts.counts[self.groups.members]
        return np.diff(np.concatenate([[0], np.cumsum(sizes)])[self.groups.starts])


def make_pool(train: Prepared) -> Pool:
    """The candidates are all positives, the negatives that are there, and the documents of a corpus."""
    columns = {column: keys(train.rows, column, folded) for column in train.text_columns}
    anchor_keys, anchor_of = np.unique(columns["anchor"], return_inverse=True)
    others = [columns[column] for column in train.text_columns[1:]]
    corpus = keys_of(train.corpus.texts, folded) if train.corpus else np.empty(0, dtype=np.int64)
    corpus = corpus[corpus != keys_of([""], folded)[0]]
    candidate_keys = np.unique(np.concatenate([*others, corpus]))
    groups, group_of = np.unique(group_column(train), return_inverse=True)
    positive_of = np.searchsorted(candidate_keys, columns["positive"])
    return Pool(
        _gathered(train, ("anchor",), anchor_keys, corpus=False),
        _gathered(train, train.text_columns[1:], candidate_keys, corpus=True),
        anchor_keys,
        candidate_keys,
        anchor_of,
        positive_of,
        _groups_of_anchors(anchor_keys, columns, group_of, anchor_of),
        _texts_of_groups(candidate_keys, columns, group_of, len(groups)),
        lists(anchor_of, positive_of, len(anchor_keys)),
    )


def _groups_of_anchors(anchor_keys: Keys, columns: dict[str, Keys], group_of: Places, anchor_of: Places) -> Lists:
    """The groups of an anchor's rows, and of the rows whose positive it is: what is right one way is right both."""
    place, there = _found(columns["positive"], anchor_keys)
    owners = np.concatenate([anchor_of, place[there]])
    return lists(owners, np.concatenate([group_of, group_of[there]]), len(anchor_keys))


def _texts_of_groups(candidate_keys: Keys, columns: dict[str, Keys], group_of: Places, count: int) -> Lists:
    """The candidates that stand in a row of each group, on any side."""
    owners, members = [], []
    for values in columns.values():
        place, there = _found(values, candidate_keys)
        owners.append(group_of[there])
        members.append(place[there])
    return lists(np.concatenate(owners), np.concatenate(members), count)


def _found(values: Keys, known: Keys) -> tuple[Places, Places]:
    """Where each value stands in `known` (ascending), and the places of the values that do."""
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return place, np.flatnonzero(known[place] == values)


def _gathered(train: Prepared, columns: tuple[str, ...], wanted: Keys, *, corpus: bool) -> pa.Array:
    """The first text of each key in `wanted` (ascending), column by column, then the corpus."""
    missing = np.ones(len(wanted), dtype=bool)
    chunks, order = [], []
    for found, texts in _pieces(train, columns, corpus):
        place, there = _found(found, wanted)
        _, first = np.unique(place[there], return_index=True)
        here = there[np.sort(first)]
        here = here[missing[place[here]]]
        missing[place[here]] = False
        chunks.append(texts.take(pa.array(here)))
        order.append(place[here])
    places = np.argsort(np.concatenate(order))
    return pa.concat_arrays(chunks).take(pa.array(places))


def _pieces(train: Prepared, columns: tuple[str, ...], corpus: bool) -> Iterator[tuple[Keys, pa.Array]]:
    """All texts with their keys, a batch at a time."""
    for column in columns:
        for piece in batches(train.rows, column):
            texts = pa.concat_arrays(piece.cast(pa.large_string()).chunks)
            yield keys_of(texts.to_pylist(), folded), texts
    if corpus and train.corpus:
        for start in range(0, len(train.corpus), BATCH):
            documents = train.corpus.texts[start : start + BATCH]
            yield keys_of(documents, folded), pa.array(documents, pa.large_string())
