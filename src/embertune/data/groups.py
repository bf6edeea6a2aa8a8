"""Groups: rows that stay together when data is split or cut, because they share what a model could remember."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from datasets import Dataset
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embertune.data.hashing import Keys, joined, keys, mix
from embertune.data.prepared import Note, Prepared, ShapeName
from embertune.data.store import batches

#: A group with more than this share of all rows would leave nothing to split; then the anchor alone makes the group.
LARGEST = 0.2

#: The column that makes the group of a shape by itself. Pairs and retrieval go by anchor and positive together.
GROUP_COLUMN: dict[ShapeName, str] = {
    "triplets": "anchor",
    "nli": "premise",
    "scored": "sentence1",
    "labelled": "sentence1",
    "classes": "text",
}


def groups_of(shape: ShapeName, rows: Dataset) -> tuple[Keys, str, tuple[Note, ...]]:
    """The group of every row by the rule of its shape, the rule in words, and a note where the rule had to give way.

    A group is the key of its text. For pairs and retrieval, rows that share a text on either side are one group, so
    that neither a question nor an answer stands on two sides; its number is the smallest key in it, in any row order.
    """
    if shape in GROUP_COLUMN:
        column = GROUP_COLUMN[shape]
        return keys(rows, column), column, ()
    anchors, positives = keys(rows, "anchor"), keys(rows, "positive")
    groups = connected(anchors, positives)
    _, first, counts = np.unique(groups, return_index=True, return_counts=True)
    largest = int(counts.argmax())
    alone = len(np.unique(anchors[groups == groups[first[largest]]])) == 1
    if alone or counts[largest] <= LARGEST * len(groups):
        return groups, "anchor or positive", ()
    text = (
        f"{counts[largest]} of {len(groups)} rows hang together by shared texts, too many to split; "
        "rows are grouped by anchor alone, so a positive may stand on two sides"
    )
    return anchors, "anchor", (Note("shape", text, int(counts[largest])),)


def connected(left: Keys, right: Keys) -> Keys:
    """For every row, the smallest key among all rows that hang together by a key on either side."""
    nodes, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    ends = places[: len(left)], places[len(left) :]
    graph = coo_array((np.ones(len(left), dtype=np.int8), ends), shape=(len(nodes), len(nodes)))
    _, part = connected_components(graph, directed=False)
    _, smallest = np.unique(part, return_index=True)  # nodes are sorted, so the first of a part is its smallest
    groups: Keys = nodes[smallest[part[ends[0]]]]
    return groups


def chosen(groups: Keys, row_keys: Keys, limit: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of `limit` rows, ascending: whole groups in the order of their hash, the last one cut by the rows' hash.

    What is chosen does not hang on the order of rows, and a larger limit keeps all that a smaller one kept.
    """
    order = np.lexsort((mix(row_keys, seed, "limit rows"), groups, mix(groups, seed, "limit groups")))
    return np.sort(order[:limit])


def limited(prepared: Prepared, limit: int | None, seed: int) -> Prepared:
    """At most `limit` examples, chosen by hash; the order of the source is kept. A corpus stays whole."""
    if limit is None or len(prepared) <= limit:
        return prepared
    texts = joined([keys(prepared.rows, column) for column in prepared.text_columns])
    keep = chosen(group_column(prepared), texts, limit, seed)
    note = Note("shape", f"{limit} of {len(prepared)} examples kept (data.limit)", len(prepared) - limit)
    return prepared.take(prepared.rows.select(keep), note)


def group_column(prepared: Prepared) -> Keys:
    """The groups of a prepared set, row by row."""
    pieces = [piece.to_numpy() for piece in batches(prepared.rows, "group")]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)
