"""Nearest neighbours in bounded memory, and the ranking metrics read off them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embertune.evaluate.evalset import FloatArray, IntArray, Relevant
from embertune.evaluate.similarity import BY_NAME, SimilarityName, Vectors, blocks

#: The depths that the host's evaluator reports, and the depth that is looked up for them.
ACCURACY_AT = (1, 3, 5, 10)
NDCG_AT = MRR_AT = 10
MAP_AT = 100

_QUERIES = 256
_DOCUMENTS = 16_384


def nearest(name: SimilarityName, queries: Vectors, documents: Vectors, depth: int) -> IntArray:
    """The `depth` documents most alike to each query, best first: (queries, min(depth, documents)) int64.

    Equal similarities go by the document's number. Never more than 256 × 16,384 similarities are held at once.
    """
    similarity = BY_NAME[name]
    queries, documents = similarity.ready(queries), similarity.ready(documents)
    depth = min(depth, len(documents))
    found = np.empty((len(queries), depth), dtype=np.int64)
    for some in blocks(len(queries), _QUERIES):
        count = some.stop - some.start
        best = np.empty((count, 0), dtype=np.int64)
        values = np.empty((count, 0), dtype=np.float32)
        for part in blocks(len(documents), _DOCUMENTS):
            block = similarity.block(queries[some], documents[part])
            columns = _top(block, min(depth, block.shape[1]))
            values = np.concatenate([values, np.take_along_axis(block, columns, axis=1)], axis=1)
            best = np.concatenate([best, columns + part.start], axis=1)
            order = np.lexsort((best, -values), axis=1)[:, :depth]
            values, best = np.take_along_axis(values, order, axis=1), np.take_along_axis(best, order, axis=1)
        found[some] = best
    return found


def _top(block: Vectors, depth: int) -> IntArray:
    """Columns of the `depth` largest values of each row, in no order; lower columns win ties: (q, depth)."""
    width = block.shape[1]
    if depth == width:
        return np.broadcast_to(np.arange(width, dtype=np.int64), block.shape)
    columns = np.argpartition(block, width - depth, axis=1)[:, width - depth :].astype(np.int64)
    least = np.take_along_axis(block, columns, axis=1).min(axis=1)
    torn = np.flatnonzero((block >= least[:, None]).sum(axis=1) > depth)
    for row in torn:  # equal values on both sides of the cut
        above = np.flatnonzero(block[row] > least[row])
        equal = np.flatnonzero(block[row] == least[row])
        columns[row] = np.concatenate([above, equal[: depth - len(above)]])
    return columns


def ranking_items(found: IntArray, relevant: Relevant, documents: int) -> dict[str, FloatArray]:
    """Per-query values (queries,) of the host's InformationRetrievalEvaluator, by metric: `accuracy@1` … `map@100`.

    `found` is (queries, depth) from `nearest`, `documents` the size of the corpus. Relevance is binary. As in the
    host, the divisor of average precision is min(100, relevant documents), and that of precision@k is k.
    """
    hits = _hits(found, relevant, documents)
    counts = relevant.counts
    values: dict[str, FloatArray] = {}
    within = np.cumsum(hits, axis=1)
    for k in ACCURACY_AT:
        correct = within[:, min(k, hits.shape[1]) - 1].astype(np.float64)
        values[f"accuracy@{k}"] = (correct > 0).astype(np.float64)
        values[f"precision@{k}"] = correct / k
        values[f"recall@{k}"] = correct / counts
    values[f"ndcg@{NDCG_AT}"] = _ndcg(hits[:, :NDCG_AT], counts)
    values[f"mrr@{MRR_AT}"] = _reciprocal_rank(hits[:, :MRR_AT])
    values[f"map@{MAP_AT}"] = _average_precision(hits[:, :MAP_AT], counts)
    return values


def _hits(found: IntArray, relevant: Relevant, documents: int) -> npt.NDArray[np.bool_]:
    """Whether each found document is relevant to its query: (queries, depth)."""
    queries = np.arange(len(found), dtype=np.int64)
    judged = np.repeat(queries, relevant.counts) * documents + relevant.documents  # ascending, as `documents` are
    keys = queries[:, None] * documents + found
    places = np.minimum(np.searchsorted(judged, keys), len(judged) - 1)
    return np.asarray(judged[places] == keys)


def _ndcg(hits: npt.NDArray[np.bool_], counts: IntArray) -> FloatArray:
    discount = 1 / np.log2(np.arange(2, NDCG_AT + 2))
    ideal = np.cumsum(discount)[np.minimum(counts, NDCG_AT) - 1]
    return np.asarray(hits @ discount[: hits.shape[1]] / ideal, dtype=np.float64)


def _reciprocal_rank(hits: npt.NDArray[np.bool_]) -> FloatArray:
    return np.asarray(hits.any(axis=1) / (hits.argmax(axis=1) + 1), dtype=np.float64)


def _average_precision(hits: npt.NDArray[np.bool_], counts: IntArray) -> FloatArray:
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return np.asarray((precision * hits).sum(axis=1) / np.minimum(counts, MAP_AT), dtype=np.float64)


def nearest_rows(name: SimilarityName, vectors: Vectors, items: IntArray, reference: IntArray) -> IntArray:
    """The reference row nearest to each item: (items,) row numbers of `reference`, the earlier row where equal.

    `items` and `reference` number the texts whose embeddings are `vectors`; those of the reference come first, in
    order.
    """
    texts, first = np.unique(reference, return_index=True)
    wanted, back = np.unique(items, return_inverse=True)
    found = nearest(name, vectors[wanted], vectors[texts], 1)[:, 0]
    return np.asarray(first[found][back], dtype=np.int64)


def nearest_others(name: SimilarityName, vectors: Vectors, rows: IntArray) -> IntArray:
    """The row nearest to each row, itself excepted: (rows,) row numbers; another row of the same text counts."""
    order = np.argsort(rows, kind="stable")
    texts, start, counts = np.unique(rows[order], return_index=True, return_counts=True)
    first, second = order[start], order[np.minimum(start + 1, len(rows) - 1)]
    found = nearest(name, vectors[texts], vectors[texts], 2)
    place = np.searchsorted(texts, rows)
    best = found[place, 0]
    is_self = best == place
    other = found[place, -1]
    twin = np.where(first[place] == np.arange(len(rows)), second[place], first[place])
    itself = np.where(counts[place] > 1, twin, first[other])
    return np.asarray(np.where(is_self, itself, first[best]), dtype=np.int64)
