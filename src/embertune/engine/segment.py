"""Many texts in one memory-mapped file: an index sorted by the texts' hashes, and what is kept of their tokens, end to
end: ids, or the states of a layer.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from embertune.engine.published import publish

Ints = npt.NDArray[np.int64]
Halves = npt.NDArray[np.uint64]
Ids = npt.NDArray[Any]

ENDING = ".tokens"
_MAGIC = b"embertok"
#: At the end of a file: magic, version of the format, bytes that are kept of a token, texts, tokens.
_FOOTER = struct.Struct("<8sIIQQ")
_VERSION = 1
#: The columns of the index in the order in which they are written, with the bytes of a row.
_INDEX = (("high", np.uint64), ("low", np.uint64), ("start", np.int64), ("length", np.int32), ("count", np.int32))
_ROW = sum(np.dtype(kind).itemsize for _, kind in _INDEX)


def keys(texts: Iterable[str]) -> tuple[Halves, Halves]:
    """The 128-bit hashes of texts (BLAKE2b) as two halves, (n,) each: equal texts have equal keys on every machine."""
    return keys_of(t.encode("utf-8", "surrogatepass") for t in texts)


def keys_of(texts: Iterable[bytes]) -> tuple[Halves, Halves]:
    """As `keys`, of what stands for texts."""
    joined = b"".join([hashlib.blake2b(text, digest_size=16).digest() for text in texts])
    halves = np.frombuffer(joined, dtype="<u8").reshape(-1, 2).astype(np.uint64)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


@dataclass(frozen=True, eq=False)
class Segment:
    """Texts and their tokens; texts (n,) ascending by key `(high, low)`, each there once.

    Text `i` has the tokens `ids[start[i]:start[i] + length[i]]`, cut to what the model reads, of `count[i]` before.
    `ids` are (tokens,), or (tokens, d) where states are kept. Arrays lie in memory, or in the file `path`.
    """

    high: Halves
    low: Halves
    start: Ints
    length: npt.NDArray[np.int32]
    count: npt.NDArray[np.int32]
    ids: Ids
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.high)

    def find(self, high: Halves, low: Halves) -> Ints:
        """The rows (m,) of texts by their keys; -1 for a text that is not here."""
        if not len(self):
            return np.full(len(high), -1, dtype=np.int64)
        row = np.searchsorted(self.high, high)
        last = len(self) - 1
        while True:  # more than one turn only where two texts share the first half of their keys
            at = np.minimum(row, last)
            behind = (row <= last) & (self.high[at] == high) & (self.low[at] < low)
            if not behind.any():
                break
            row = row + behind
        hit = (row <= last) & (self.high[at] == high) & (self.low[at] == low)
        return np.where(hit, at, -1).astype(np.int64)

    def take(self, rows: Ints) -> Ids:
        """The tokens of some texts end to end, in the order of `rows`."""
        length = self.length[rows].astype(np.int64)
        shift = self.start[rows] - (np.cumsum(length) - length)
        return self.ids[np.repeat(shift, length) + np.arange(int(length.sum()))]


def made(high: Halves, low: Halves, ids: Ids, length: Ints, count: Ints) -> Segment:
    """A segment in memory of texts in any order, each there once; `ids` are their tokens end to end in that order."""
    order = np.lexsort((low, high))
    start = np.cumsum(length) - length
    lengths, counts = length[order].astype(np.int32), count[order].astype(np.int32)
    return Segment(high[order], low[order], start[order].astype(np.int64), lengths, counts, ids)


def write(path: Path, parts: Sequence[Segment]) -> None:
    """Publish the texts of `parts` as one file; a text that stands in several is indexed once. OSError passes."""
    index = _joined(parts)
    texts, tokens = len(index["high"]), sum(len(part.ids) for part in parts)

    def fill(file: BinaryIO) -> None:
        for name, _ in _INDEX:
            file.write(np.ascontiguousarray(index[name]).data)
        for part in parts:
            file.write(np.ascontiguousarray(part.ids).data)
        file.write(_FOOTER.pack(_MAGIC, _VERSION, _width(parts[0].ids), texts, tokens))

    publish(path, fill)


def merged(parts: Sequence[Segment]) -> Segment:
    """The texts of `parts` as one segment in memory."""
    return Segment(**_joined(parts), ids=np.concatenate([part.ids for part in parts]))


def _joined(parts: Sequence[Segment]) -> dict[str, Any]:
    """The index of all parts, their tokens laid end to end."""
    base = np.cumsum([0, *(len(part.ids) for part in parts)])
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name, _ in _INDEX}
    whole["start"] = np.concatenate([part.start + shift for part, shift in zip(parts, base, strict=False)])
    order = np.lexsort((whole["low"], whole["high"]))
    index = {name: whole[name][order] for name, _ in _INDEX}
    again = (index["high"][1:] == index["high"][:-1]) & (index["low"][1:] == index["low"][:-1])
    first = np.concatenate([np.ones(min(len(order), 1), dtype=bool), ~again])
    return {name: column[first] for name, column in index.items()}


def _width(ids: Ids) -> int:
    """Bytes that are kept of a token."""
    return ids.itemsize * math.prod(ids.shape[1:])


def opened(path: Path, item: np.dtype[Any]) -> Segment | None:
    """The segment in a file, memory-mapped; None where the file is not whole, or keeps no `item` of a token.

    OSError where it cannot be read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < _FOOTER.size:
            return None
        file.seek(size - _FOOTER.size)
        magic, version, width, texts, tokens = _FOOTER.unpack(file.read(_FOOTER.size))
        if (magic, version, width) != (
            _MAGIC,
            _VERSION,
            item.itemsize,
        ) or size != texts * _ROW + tokens * width + _FOOTER.size:
            return None
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    columns: dict[str, Any] = {}
    at = 0
    for name, kind in _INDEX:
        columns[name] = np.frombuffer(memory, dtype=kind, count=texts, offset=at)
        at += columns[name].nbytes
    ids = np.frombuffer(memory, dtype=item, count=tokens, offset=at)
    return Segment(**columns, ids=ids, path=path)
