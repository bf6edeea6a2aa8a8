"""What columns hold, checked and converted: texts that are there, labels, scores on a known scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset

from embertune.data.prepared import Note
from embertune.data.store import batches
from embertune.errors import DataError

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_SHOWN = 5

#: Scales of scores by the largest value that they allow; all become 0..1.
SCALES = (1.0, 5.0, 10.0, 100.0)
_BOOLEANS = {"0": 0, "1": 1, "false": 0, "true": 1}


def check_texts(rows: Dataset, column: str, place: str) -> None:
    """Raise DataError unless a column is text throughout, without a null and without an empty string."""
    kind = rows.features[column]
    if getattr(kind, "dtype", None) not in ("string", "large_string", "string_view"):
        example = repr(rows[0][column])[:60]
        raise DataError(
            place, f"column {column!r} is not text (first value: {example})", "name a text column in data.columns"
        )
    bad: list[int] = []
    count = start = 0
    for piece in batches(rows, column):
        empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(piece), ""), True)
        where = np.flatnonzero(empty.to_numpy())
        bad += [start + int(i) + 1 for i in where[: _SHOWN - len(bad)]]
        count, start = count + len(where), start + len(piece)
    if count:
        raise DataError(
            place, f"column {column!r} is empty or null in {_rows(count, bad)}", "fill them in, or take them out"
        )


def _rows(count: int, first: Sequence[int]) -> str:
    numbers = ", ".join(str(number) for number in first) + (", …" if count > len(first) else "")
    return f"{count} row{'s' if count > 1 else ''} ({numbers})"


@dataclass(frozen=True)
class Labels:
    """A label column as codes into `values`, its distinct values in order of first appearance; -1 is null."""

    codes: Codes
    values: tuple[Any, ...]

    def first(self, code: int) -> int:
        """The number, from 1, of the first row with a code."""
        return int(np.flatnonzero(self.codes == code)[0]) + 1


def labels(rows: Dataset, column: str, place: str) -> Labels:
    """Read a label column; one of class labels by their names, where an index that has no name becomes null."""
    feature = rows.features[column]
    names = feature.names if isinstance(feature, ClassLabel) else []
    seen: dict[Any, int] = {}
    parts = [np.empty(0, dtype=np.int64)]
    for piece in batches(rows, column):
        if pa.types.is_nested(piece.type):
            raise DataError(place, f"column {column!r} holds lists or objects", "labels are words or numbers")
        encoded = piece.combine_chunks().dictionary_encode()
        own = [_named(value, names) for value in encoded.dictionary.to_pylist()]
        lookup = np.array([-1 if v is None else seen.setdefault(v, len(seen)) for v in own] + [-1], dtype=np.int64)
        places = pc.fill_null(encoded.indices, len(own)).to_numpy(zero_copy_only=False)
        parts.append(lookup[places])
    return Labels(np.concatenate(parts), tuple(seen))


def _named(value: Any, names: Sequence[str]) -> Any:
    if not names or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def is_binary(values: Sequence[Any]) -> bool:
    """Whether label values are 0 and 1, however they are written."""
    return bool(values) and all(_binary(value) is not None for value in values)


def _binary(value: Any) -> int | None:
    if isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower())
    return int(value) if value in (0, 1) else None


def binary(found: Labels, place: str, column: str) -> Codes:
    """Labels as 0 and 1. Raises DataError for other values, for nulls, and where only one of the two is there."""
    _no_nulls(found, place, column)
    if not is_binary(found.values):
        shown = ", ".join(repr(value) for value in found.values[:_SHOWN])
        raise DataError(
            place, f"column {column!r} holds {shown} where 0 and 1 are expected", "set data.shape or data.columns"
        )
    lookup = np.array([_binary(value) for value in found.values], dtype=np.int64)
    if len(set(lookup.tolist())) < 2:
        raise DataError(
            place,
            f"every row has the label {found.values[0]!r}",
            "add rows with the other label; nothing can be learned from one",
        )
    return lookup[found.codes]


def _no_nulls(found: Labels, place: str, column: str) -> None:
    empty = [code for code, value in enumerate(found.values) if isinstance(value, str) and not value.strip()]
    missing = np.flatnonzero(np.isin(found.codes, [-1, *empty]))
    if len(missing):
        first = [int(i) + 1 for i in missing[:_SHOWN]]
        raise DataError(
            place, f"column {column!r} has no label in {_rows(len(missing), first)}", "label them, or take them out"
        )


def classes(found: Labels, place: str, column: str, known: Sequence[str]) -> tuple[Codes, tuple[str, ...], list[str]]:
    """Labels as indices into names: `known` ones first, then the others sorted, which are also returned on their own.

    Raises DataError for nulls, for labels that are no words or whole numbers, and where all rows have one label.
    """
    _no_nulls(found, place, column)
    if any(isinstance(value, float | list | dict) for value in found.values):
        raise DataError(
            place, f"column {column!r} holds {found.values[0]!r}", "classes are words, whole numbers or true/false"
        )
    names = [str(value) for value in found.values]
    if len(names) < 2:
        raise DataError(
            place, f"every row has the label {names[0]!r}", "add rows of other classes; nothing can be learned from one"
        )
    if not known and len(names) == len(found.codes) > 2:
        remedy = "if they answer the texts, write data.columns: {anchor: …, positive: …}"
        raise DataError(place, f"every row has a label of its own in column {column!r}", remedy)
    new = sorted(set(names) - set(known))
    index = {name: place for place, name in enumerate((*known, *new))}
    return np.array([index[name] for name in names], dtype=np.int64)[found.codes], (*known, *new), new


def scores(rows: Dataset, column: str, place: str) -> tuple[Floats, tuple[Note, ...]]:
    """Scores between 0 and 1, and a note where they were scaled.

    The scale is the smallest of 0..1, 0..5, 0..10 and 0..100 that holds all values, or -1..1 where one is negative.
    Raises DataError, with the row, for what is no number, not finite, or on none of these scales.
    """
    values = np.concatenate([_numbers(piece) for piece in batches(rows, column)])
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        first = [int(i) + 1 for i in bad[:_SHOWN]]
        found = f"column {column!r} holds {rows[int(bad[0])][column]!r}, no finite number, in {_rows(len(bad), first)}"
        raise DataError(place, found, "give every row a number, or take the row out")
    low, high = float(values.min()), float(values.max())
    if low < 0.0:
        return _signed(values, place, column)
    scale = next((s for s in SCALES if high <= s), None)
    if scale is None:
        row = int(values.argmax()) + 1
        raise DataError(
            place, f"column {column!r} holds {high:g} in row {row}", "scores are 0..1, -1..1, 0..5, 0..10 or 0..100"
        )
    if scale == 1.0:
        return values, ()
    return values / scale, (
        Note("shape", f"scores from 0 to {scale:g} divided by {scale:g} (found {low:g} to {high:g})", len(values)),
    )


def _signed(values: Floats, place: str, column: str) -> tuple[Floats, tuple[Note, ...]]:
    outside = np.flatnonzero((values < -1.0) | (values > 1.0))
    if len(outside):
        row = int(outside[0])
        found = f"column {column!r} goes below 0 and holds {values[row]:g} in row {row + 1}"
        raise DataError(place, found, "scores are 0..1, -1..1, 0..5, 0..10 or 0..100")
    return (values + 1.0) / 2.0, (Note("shape", "scores from -1 to 1 moved to 0 to 1 as (score + 1) / 2", len(values)),)


def _numbers(piece: pa.ChunkedArray) -> Floats:
    """Numbers of a piece, those written as text included; what is none becomes NaN."""
    if pa.types.is_string(piece.type) or pa.types.is_large_string(piece.type):
        return np.array([_number(value) for value in piece.to_pylist()], dtype=np.float64)
    if pa.types.is_boolean(piece.type) or pa.types.is_nested(piece.type) or pa.types.is_temporal(piece.type):
        return np.full(len(piece), np.nan)
    return np.asarray(pc.fill_null(piece.cast(pa.float64(), safe=False), np.nan).to_numpy(), dtype=np.float64)


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else float("nan")
    except ValueError:
        return float("nan")
