"""Nearest neighbours in bounded memory, and the ranking metrics that trec_eval reads off them."""

from __future__ import annotations

import numpy as np
from pytrec_eval import RelevanceEvaluator

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


def ranking_items(found: IntArray, relevant: Relevant) -> dict[str, FloatArray]:
    """Per-query values (queries,), named as by the host's InformationRetrievalEvaluator: `accuracy@1` … `map@100`.

    `found` is (queries, depth) from `nearest`. Relevance is binary. Worked out by trec_eval, but for one divisor: that
    of average precision is min(100, relevant documents), as in the host. That of precision@k is k in both.
    """
    at = ",".join(map(str, ACCURACY_AT))
    asked = {f"success.{at}", f"P.{at}", f"recall.{at}", f"ndcg_cut.{NDCG_AT}", f"map_cut.{MAP_AT}"}
    told = _by_trec_eval(found, relevant, asked)
    values = {
        f"{name}@{k}": told[f"{theirs}_{k}"]
        for k in ACCURACY_AT
        for name, theirs in (("accuracy", "success"), ("precision", "P"), ("recall", "recall"))
    }
    values[f"ndcg@{NDCG_AT}"] = told[f"ndcg_cut_{NDCG_AT}"]
    values[f"mrr@{MRR_AT}"] = _by_trec_eval(found[:, :MRR_AT], relevant, {"recip_rank"})["recip_rank"]
    values[f"map@{MAP_AT}"] = told[f"map_cut_{MAP_AT}"] * relevant.counts / np.minimum(relevant.counts, MAP_AT)
    return values


def _by_trec_eval(found: IntArray, relevant: Relevant, asked: set[str]) -> dict[str, FloatArray]:
    """Measures of trec_eval by their names there, (queries,) each; places stand for similarities: nothing ties."""
    judged = np.split(relevant.documents, np.cumsum(relevant.counts)[:-1])
    depth = found.shape[1]
    qrels = {str(query): {str(document): 1 for document in some.tolist()} for query, some in enumerate(judged)}
    run = {
        str(query): {str(document): float(depth - place) for place, document in enumerate(some)}
        for query, some in enumerate(found.tolist())
    }
    told = RelevanceEvaluator(qrels, asked).evaluate(run)
    each = [told[str(query)] for query in range(len(found))]
    return {name: np.array([one[name] for one in each], dtype=np.float64) for name in each[0]} if each else {}


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
