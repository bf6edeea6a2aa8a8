"""What the texts of a side are like: how long, how much a model would cut off, which say nothing or always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embertune.data.findings import Finding
from embertune.data.keyed import Keyed
from embertune.data.store import BATCH, batches

Ints = npt.NDArray[np.int64]

#: A text with fewer letters and digits is very short; in scripts whose letters are words or syllables, with fewer of
#: these.
SHORT, SHORT_WIDE = 4, 2
#: One text in at least this share of the rows, and in this many, makes a column nearly constant.
CONSTANT_SHARE, CONSTANT_ROWS = 0.2, 20
#: The column under which the documents of a corpus are told.
DOCUMENTS = "documents"
#: Examples of a finding, and the characters that are kept of each.
EXAMPLES, LONGEST = 5, 200

_WORD_CHARACTER = r"[\p{L}\p{N}]"
_NEITHER = r"[^\p{L}\p{N}]+"


@dataclass(frozen=True)
class Tokens:
    """How a model counts: `count(texts, column)` is (n,) tokens, prompt and special tokens included, nothing cut off.

    `limit` is how many of them it reads, None for any number.
    """

    count: Callable[[Sequence[str], str], Ints]
    limit: int | None = None


@dataclass(frozen=True, eq=False)
class Column:
    """What was read of a column: its `lengths` (rows,) in `unit`, and the rows that say little, with examples.

    `often` is how many rows have the text that most have, `example` that text.
    """

    name: str
    lengths: Ints
    unit: str
    empty: Ints
    short: Ints
    often: int
    example: str
    examples: Mapping[int, str]

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.lengths)


def clipped(text: str) -> str:
    """A text as an example: on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def read_columns(held: Keyed, tokens: Tokens | None = None, corpus: bool = True) -> tuple[Column, ...]:
    """Every text column of a side, and with `corpus` the documents of a retrieval set; one batch in memory at a time.

    Lengths are in tokens, or in words where nothing counts tokens.
    """
    found = [_read_rows(held, column, tokens) for column in held.prepared.text_columns]
    if corpus and held.prepared.corpus is not None:
        texts = held.prepared.corpus.texts
        pieces = (pa.chunked_array([texts[at : at + BATCH]], pa.large_string()) for at in range(0, len(texts), BATCH))
        found.append(_read(DOCUMENTS, pieces, tokens, (0, "")))
    return tuple(found)


def _read_rows(held: Keyed, column: str, tokens: Tokens | None) -> Column:
    rows = held.prepared.rows
    _, first, counts = np.unique(held.exact[column], return_index=True, return_counts=True)
    most = int(counts.argmax()) if len(counts) else 0
    often = int(counts[most]) if len(counts) else 0
    example = clipped(rows[int(first[most])][column]) if often > 1 else ""
    return _read(column, batches(rows, column), tokens, (often, example))


def _read(name: str, pieces: Iterable[pa.ChunkedArray], tokens: Tokens | None, top: tuple[int, str]) -> Column:
    lengths: list[Ints] = [np.empty(0, np.int64)]
    empty: list[Ints] = [np.empty(0, np.int64)]
    short: list[Ints] = [np.empty(0, np.int64)]
    examples: dict[int, str] = {}
    start = 0
    for chunked in pieces:
        piece = chunked.combine_chunks()
        here = _measure(piece, tokens, "positive" if name == DOCUMENTS else name)
        lengths.append(here)
        nothing, little = _says_little(piece)
        longest = [int(here.argmax())] if len(here) else []
        for place in (*longest, *nothing[:EXAMPLES].tolist(), *little[:EXAMPLES].tolist()):
            if place in longest or len(examples) < 100:
                examples[start + place] = clipped(piece[place].as_py())
        empty.append(nothing + start)
        short.append(little + start)
        start += len(piece)
    unit = "words" if tokens is None else "tokens"
    joined = (np.concatenate(parts) for parts in (lengths, empty, short))
    all_lengths, all_empty, all_short = joined
    return Column(name, all_lengths, unit, all_empty, all_short, *top, examples)


def _measure(piece: pa.Array, tokens: Tokens | None, column: str) -> Ints:
    if tokens is not None:
        return np.asarray(tokens.count(piece.to_pylist(), column), dtype=np.int64)
    return np.asarray(pc.count_substring_regex(piece, r"\S+").to_numpy(zero_copy_only=False), dtype=np.int64)


def _says_little(piece: pa.Array) -> tuple[Ints, Ints]:
    """Places of texts without a letter or digit, and of very short ones."""
    spoken = pc.match_substring_regex(piece, _WORD_CHARACTER).to_numpy(zero_copy_only=False)
    near = np.flatnonzero(
        spoken & (pc.utf8_length(pc.utf8_trim_whitespace(piece)).to_numpy(zero_copy_only=False) < 4 * SHORT)
    )
    letters = pc.replace_substring_regex(piece.take(pa.array(near)), _NEITHER, "")
    count, size = (np.asarray(one(letters)) for one in (pc.utf8_length, pc.binary_length))
    least = np.where(size >= 3 * count, SHORT_WIDE, SHORT)
    return np.flatnonzero(~spoken).astype(np.int64), near[count < least].astype(np.int64)


def findings_of_texts(side: str, columns: Sequence[Column], tokens: Tokens | None = None) -> list[Finding]:
    """Lengths, truncation, texts that say nothing or little, columns that always say the same; `side` names where."""
    found = [_lengths(side, columns), *_cut_off(side, columns, tokens)]
    texts = sum(map(len, columns))
    for kind, text, rows in (
        ("empty", "texts have no letter and no digit", [column.empty for column in columns]),
        ("very_short", f"texts have fewer than {SHORT} letters", [column.short for column in columns]),
    ):
        count = sum(map(len, rows))
        if count:
            where = _by_column((column.name, len(one)) for column, one in zip(columns, rows, strict=True))
            shown = [c.examples[int(row)] for c, one in zip(columns, rows, strict=True) for row in one[:EXAMPLES]
                     if int(row) in c.examples]  # fmt: skip
            found.append(Finding(kind, side, f"{text}: {where}", count, texts, tuple(dict.fromkeys(shown))[:EXAMPLES]))
    return found + [finding for column in columns for finding in _constant(side, column)]


def _lengths(side: str, columns: Sequence[Column]) -> Finding:
    parts = []
    for column in columns:
        if len(column):
            middle, high = np.quantile(column.lengths, (0.5, 0.95), method="inverted_cdf")
            parts.append(f"{column.name} {middle:,} / {high:,} / {column.lengths.max():,}")
    unit = columns[0].unit if columns else "words"
    return Finding("lengths", side, f"{unit} (median / 95 % have at most / longest): {', '.join(parts)}")


def _cut_off(side: str, columns: Sequence[Column], tokens: Tokens | None) -> list[Finding]:
    if tokens is None or tokens.limit is None:
        return []
    over = [column.lengths > tokens.limit for column in columns]
    count = sum(int(one.sum()) for one in over)
    if not count:
        return []
    lost = [float(np.maximum(column.lengths - tokens.limit, 0).sum()) for column in columns]
    whole = [float(column.lengths.sum()) for column in columns]
    by_column = ", ".join(
        f"{column.name} {one / all_:.1%}" for column, one, all_ in zip(columns, lost, whole, strict=True) if one
    )
    text = (
        f"texts are longer than the {tokens.limit:,} tokens that the model reads; "
        f"{sum(lost) / max(sum(whole), 1):.1%} of all tokens are lost ({by_column})"
    )
    shown = [
        f"{column.lengths[row]:,} tokens: {column.examples[row]}"
        for column, one in zip(columns, over, strict=True)
        for row in sorted(column.examples, key=lambda row: -column.lengths[row])[:2]
        if one[row]
    ]
    return [Finding("truncated", side, text, count, sum(map(len, columns)), tuple(shown[:EXAMPLES]))]


def _constant(side: str, column: Column) -> list[Finding]:
    rows = len(column)
    if column.often < max(CONSTANT_ROWS, CONSTANT_SHARE * rows) and not (rows == column.often > 1):
        return []
    text = f"{column.name} has the same text in every row" if column.often == rows else (
        f"rows have one and the same text as {column.name}"
    )  # fmt: skip
    return [Finding("constant", side, text, column.often, rows, (column.example,))]


def _by_column(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts if count)
