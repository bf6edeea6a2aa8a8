"""Negatives that come as one column of lists, laid out as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from embertune.data.prepared import Note
from embertune.data.store import BATCH, batches, cache_key, mapped
from embertune.errors import DataError


def is_list(rows: Dataset, column: str) -> bool:
    """Whether a column holds lists."""
    return bool(pa.types.is_nested(rows.features.arrow_schema.field(column).type))


def unlisted(
    rows: Dataset, names: Mapping[str, str], negatives: Sequence[str], place: str, digest: str
) -> tuple[Dataset, tuple[Note, ...]]:
    """The columns `names` (new -> old) and the lists of negatives as `negative`, `negative_2` …, memory-mapped.

    All rows get as many as the shortest list has; what is cut off is counted in a note. Raises DataError where a list
    is empty or holds an empty text, and where there are further columns of negatives beside the lists.
    """
    if len(negatives) > 1:
        found = f"{' and '.join(negatives)} are lists of negatives and single ones at once"
        raise DataError("data.columns", found, "name one of them as negatives")
    column = negatives[0]
    lengths = _lengths(rows, column, place)
    width = int(lengths.min())
    cut = int((lengths - width).sum())
    note = Note("shape", f"{cut:,} negatives beyond the {width} of the shortest list in {column!r} left out", cut)

    def pieces() -> Iterator[pa.Table]:
        for table in rows.select_columns([*names.values(), column]).with_format("arrow").iter(BATCH):
            columns = {new: table.column(old) for new, old in names.items()}
            for place_ in range(width):
                columns["negative" if place_ == 0 else f"negative_{place_ + 1}"] = pc.list_element(
                    table.column(column), place_
                )
            yield pa.table(columns)

    name = cache_key("lists", digest, sorted(names.items()), column)
    return mapped(pieces(), name, f"{place}: lists of negatives as columns"), (note,) if cut else ()


def _lengths(rows: Dataset, column: str, place: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How many negatives each row has, all of them texts that are there."""
    parts, start = [np.empty(0, dtype=np.int64)], 0
    for piece in batches(rows, column):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(piece), 0).to_numpy(), dtype=np.int64)
        texts = pc.list_flatten(piece)
        empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True).to_numpy()
        parents = pc.list_parent_indices(piece).to_numpy()
        bad = np.union1d(np.flatnonzero(lengths == 0), parents[empty])
        if len(bad):
            found = f"column {column!r} has no negative, or an empty one, in row {start + int(bad[0]) + 1}"
            raise DataError(place, found, "give every row at least one negative text")
        parts.append(lengths)
        start += len(piece)
    return np.concatenate(parts)
