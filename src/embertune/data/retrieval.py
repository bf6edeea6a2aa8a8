"""Retrieval sets: judgements become pairs of a query and a document that answers it, with all documents beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from embertune.data.prepared import Corpus, Note, Prepared
from embertune.data.sources import Source
from embertune.data.store import batches, cache_key, picked
from embertune.errors import DataError


def judged_pairs(source: Source, base: Prepared, place: str, columns: Mapping[str, str], shape: str | None) -> Prepared:
    """The judgements of `base.rows` as pairs, with the corpus. A document's text is its title, a space, and its body.

    Judgements of zero are no pairs; those whose query or document is missing are left out and counted. Raises DataError
    where none is left, where an id stands twice, and where a judged text is empty.
    """
    if columns or shape not in (None, "retrieval"):
        found = f"{place} is a retrieval set in BEIR's layout, whose columns are fixed"
        raise DataError("data.columns" if columns else "data.shape", found, "leave data.columns and data.shape out")
    assert source.corpus is not None
    assert source.queries is not None
    documents = _texts(source.corpus, ("title", "text"))
    queries = _texts(source.queries, ("text",))
    corpus_ids, query_ids = _ids(source.corpus, f"{place}: corpus"), _ids(source.queries, f"{place}: queries")
    judged = base.rows
    relevant = np.flatnonzero(np.concatenate([piece.to_numpy() for piece in batches(judged, "score")]) > 0)
    query = _positions(_strings(judged, "query-id"), query_ids)[relevant]
    document = _positions(_strings(judged, "corpus-id"), corpus_ids)[relevant]
    there = np.flatnonzero((query >= 0) & (document >= 0))
    notes = _notes(len(judged), len(relevant), len(there), relevant[np.flatnonzero((query < 0) | (document < 0))][:3])
    if not len(there):
        raise DataError(
            place, "no judgement names a query and a document that are there", "compare the ids in qrels/ with `_id`"
        )
    query, document = query[there], document[there]
    _check_empty(queries, query, query_ids, f"{place}: queries")
    _check_empty(documents, document, corpus_ids, f"{place}: corpus")
    rows = picked(
        {
            "anchor": (queries, query),
            "positive": (documents, document),
            "query_id": (query_ids, query),
            "doc_id": (corpus_ids, document),
        },
        cache_key("retrieval", base.fingerprint),
        f"{place}: judgements with their texts",
    )
    corpus = Corpus(tuple(corpus_ids.to_pylist()), tuple(documents.to_pylist()))
    return replace(base, shape="retrieval", rows=rows, corpus=corpus, notes=(*base.notes, *notes))


def _strings(rows: Dataset, column: str) -> pa.Array:
    parts = [piece.cast(pa.large_string()) for piece in batches(rows, column)]
    return pa.concat_arrays([chunk for part in parts for chunk in part.chunks])


def _texts(rows: Dataset, columns: tuple[str, ...]) -> pa.Array:
    """The named columns that are there, joined by a space and stripped; null counts as empty."""
    parts = [pc.fill_null(_strings(rows, name), "") for name in columns if name in rows.column_names]
    return pc.utf8_trim_whitespace(pc.binary_join_element_wise(*parts, pa.scalar(" ", pa.large_string())))


def _ids(rows: Dataset, place: str) -> pa.Array:
    ids = _strings(rows, "_id")
    counts = pc.value_counts(ids)
    twice = [item["values"].as_py() for item in counts.filter(pc.greater(counts.field("counts"), 1))[:1]]
    if ids.null_count or twice:
        found = f"the _id {twice[0]!r} stands twice" if twice else f"{ids.null_count} rows have no _id"
        raise DataError(place, found, "give every line an _id of its own")
    return ids


def _positions(wanted: pa.Array, ids: pa.Array) -> npt.NDArray[np.int64]:
    """Where each wanted id stands in `ids`; -1 where it does not."""
    return np.asarray(pc.fill_null(pc.index_in(wanted, ids), -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _notes(judged: int, relevant: int, there: int, examples: npt.NDArray[np.int64]) -> tuple[Note, ...]:
    notes = []
    if relevant < judged:
        notes.append(Note("shape", "judgements of 0 are no pairs", judged - relevant))
    if there < relevant:
        rows = tuple(f"row {int(row) + 1}" for row in examples)
        notes.append(Note("shape", "judgements left out: their query or document is missing", relevant - there, rows))
    return tuple(notes)


def _check_empty(texts: pa.Array, used: npt.NDArray[np.int64], ids: pa.Array, place: str) -> None:
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    empty = np.unique(used[lengths[used] == 0])
    if len(empty):
        shown = ", ".join(ids[int(i)].as_py() for i in empty[:5])
        remedy = "give them text, or take their judgements out"
        raise DataError(place, f"{len(empty)} judged texts are empty ({shown})", remedy)
