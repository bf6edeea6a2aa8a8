"""A folder of segments that several processes share: what is known of them, who writes, and how files stay few."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embertune.engine.published import HALF, locked
from embertune.engine.segment import Halves, Ids, Ints, Segment, merged, opened, write

#: Small segments are laid together when there are more of them than this.
MANY = 8


@dataclass(frozen=True, eq=False)
class Found:
    """Where some texts lie, in the order in which they were asked for: text `i` is row `row[i]` of `parts[part[i]]`.

    The row is -1 for a text that is not there.
    """

    parts: tuple[Segment, ...]
    part: Ints
    row: Ints

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, places: npt.NDArray[np.intp] | slice) -> Found:
        """Some of the texts, in another order if need be."""
        return Found(self.parts, self.part[places], self.row[places])

    @property
    def lengths(self) -> Ints:
        """Tokens of each text (n,) as the model reads it: special tokens counted, the end cut off."""
        return self._each("length")

    @property
    def counts(self) -> Ints:
        """Tokens of each text (n,) before anything was cut off."""
        return self._each("count")

    def _each(self, name: str) -> Ints:
        values = np.zeros(len(self), dtype=np.int64)
        for number, mine in self._by_part():
            values[mine] = getattr(self.parts[number], name)[self.row[mine]]
        return values

    def _by_part(self) -> Iterator[tuple[int, Ints]]:
        """Parts that are used, and the places (k,) of the texts that lie there."""
        for number in np.unique(self.part):
            yield int(number), np.flatnonzero(self.part == number)

    def ids(self) -> tuple[Ids, Ints]:
        """What is stored of the tokens of all texts, end to end, and the texts' lengths (n,)."""
        used = list(self._by_part())
        lengths = self.lengths
        if len(used) == 1:
            return self.parts[used[0][0]].take(self.row), lengths
        begin = np.cumsum(lengths) - lengths
        kind = self.parts[used[0][0]].ids if used else np.empty(0, np.int64)
        joined = np.empty((int(lengths.sum()), *kind.shape[1:]), np.int64 if kind.dtype.kind in "iu" else kind.dtype)
        for number, mine in used:
            inside = lengths[mine]
            shift = begin[mine] - (np.cumsum(inside) - inside)
            joined[np.repeat(shift, inside) + np.arange(int(inside.sum()))] = self.parts[number].take(self.row[mine])
        return joined, lengths


class Shelf:
    """The segments in `folder`, files that end in `ending`, and those that are in memory only.

    `item` is what is stored of a token. Files with fewer texts than `small` are laid together where there are many.
    Where the folder cannot be used there is none any more, and `trouble` says why.
    """

    def __init__(self, folder: Path | None, ending: str, item: npt.DTypeLike, small: int, trouble: str = "") -> None:
        self.folder, self.ending, self.item, self.small, self.trouble = folder, ending, np.dtype(item), small, trouble
        self.parts: tuple[Segment, ...] = ()
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self.look_around()
            except OSError as error:
                self.give_up(error)

    @property
    def texts(self) -> int:
        """How many texts it has; one that two processes wrote at the same time may count twice."""
        return sum(len(part) for part in self.parts)

    @property
    def waiting(self) -> list[Segment]:
        """What is in memory only."""
        return [part for part in self.parts if part.path is None]

    def find(self, high: Halves, low: Halves) -> Found:
        """Where texts lie, by their keys."""
        part = np.zeros(len(high), dtype=np.int64)
        row = np.full(len(high), -1, dtype=np.int64)
        left = np.arange(len(high))
        for number, segment in enumerate(self.parts):
            if not len(left):
                break
            here = segment.find(high[left], low[left])
            hit = here >= 0
            part[left[hit]], row[left[hit]] = number, here[hit]
            left = left[~hit]
        return Found(self.parts, part, row)

    def remember(self, segment: Segment) -> None:
        """Keep in memory; small ones are laid together where there are many."""
        young = [segment, *(part for part in self.waiting if len(part) < self.small)]
        if len(young) > MANY:
            self.parts = (*(part for part in self.parts if part not in young), merged(young))
        else:
            self.parts = (*self.parts, segment)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process writes to the folder, and what others have written is known. OSError passes."""
        assert self.folder is not None
        lock = locked(self.folder / "writing", alone=True)
        try:
            for half in self.folder.glob(f"*{HALF}"):  # nobody is writing, so its writer is dead
                half.unlink(missing_ok=True)
            self.look_around()
            yield
        finally:
            if lock is not None:
                lock.release()

    def publish(self) -> None:
        """Write what waits in memory, and lay small files together where there are many; `alone` only."""
        if not self.waiting:
            return
        self._write(self.waiting)
        self.parts = tuple(part for part in self.parts if part.path is not None)
        self.look_around()
        small = [part for part in self.parts if len(part) < self.small]
        if len(small) > MANY:
            self._write(small)
            for part in small:
                assert part.path is not None
                part.path.unlink(missing_ok=True)
            self.look_around()

    def _write(self, parts: Sequence[Segment]) -> None:
        assert self.folder is not None
        write(self.folder / f"{uuid.uuid4().hex}{self.ending}", parts)

    def look_around(self) -> None:
        """Know the files that are there now: those of other processes too, and no longer those laid together."""
        assert self.folder is not None
        known: dict[Any, Segment] = {part.path: part for part in self.parts}
        there = []
        for path in sorted(self.folder.glob(f"*{self.ending}")):
            try:
                segment = known.get(path) or opened(path, self.item)
            except FileNotFoundError:  # laid together with others in this very moment; at worst its texts are new
                continue
            if segment is not None:
                there.append(segment)
        self.parts = (*sorted(there, key=len, reverse=True), *self.waiting)

    def give_up(self, error: OSError) -> None:
        """Write no more; what was there can still be read."""
        self.folder, self.trouble = None, str(error)
