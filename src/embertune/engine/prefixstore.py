"""States of texts where a frozen prefix ends: rows of numbers for every token, in files that processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embertune.engine.segment import Halves, Ints, keys_of, made
from embertune.engine.shelf import Found, Shelf

Storage = Literal["float16", "float32"]
States = npt.NDArray[np.floating[Any]]

ENDING = ".states"
#: Bytes of states that are worked out and written at a time; what a kill loses, and what a fill holds in memory.
PIECE = 2**26
#: Files with fewer texts than this are laid together where there are many of them.
SMALL = 2**10


@dataclass(frozen=True, eq=False)
class Wanted:
    """Texts whose states are wanted, ascending by key `(high, low)`, each there once, with their tokens; (n,) each."""

    high: Halves
    low: Halves
    lengths: Ints

    def __len__(self) -> int:
        return len(self.high)

    @property
    def tokens(self) -> int:
        """Of all texts together."""
        return int(self.lengths.sum())


class StateStore:
    """States (tokens, `width`) of texts as `storage`. Lies in `folder`, or in memory where there is none.

    It takes at most `budget` bytes. Several processes may use one folder; where that cannot be written, nothing more is
    kept and `trouble` says why.
    """

    def __init__(self, folder: Path | None, width: int, storage: Storage, budget: int, trouble: str = "") -> None:
        self.width, self.storage, self.budget = width, storage, budget
        self._shelf = Shelf(folder, ENDING, (np.dtype(storage), (width,)), SMALL, trouble)

    @property
    def trouble(self) -> str:
        """Why nothing more is kept; '' where that is not so."""
        return self._shelf.trouble

    @property
    def texts(self) -> int:
        """How many texts it has."""
        return self._shelf.texts

    @property
    def bytes(self) -> int:
        """What their states take."""
        return sum(part.ids.nbytes for part in self._shelf.parts)

    def find(self, high: Halves, low: Halves) -> Found:
        """Where the states of texts are, by key; `ids` gives them."""
        return self._shelf.find(high, low)

    def holds(self, wanted: Wanted) -> npt.NDArray[np.bool_]:
        """Which of the texts it has, (n,)."""
        return self.find(wanted.high, wanted.low).row >= 0

    def fill(
        self, wanted: Wanted, compute: Callable[[Ints], States], told: Callable[[int], None] = lambda _tokens: None
    ) -> None:
        """Keep the states of texts that are not there yet, while there is room.

        `compute` gives those of the texts at some places, (tokens, width), end to end. `told` hears after every piece
        how many tokens are behind it. A piece is written as soon as it is there; a fill that was killed goes on behind
        the last one. Others who fill the same folder wait for a piece and then go on with the next.
        """
        done = 0
        for places in self._pieces(wanted.lengths):
            if self.trouble:
                return
            if self._shelf.folder is None:
                self._keep(wanted, places, compute)
            else:
                try:
                    with self._shelf.alone():
                        self._keep(wanted, places, compute)
                        self._shelf.publish()
                except OSError as error:
                    self._shelf.give_up(error)
            done += int(wanted.lengths[places].sum())
            told(done)

    def _keep(self, wanted: Wanted, places: Ints, compute: Callable[[Ints], States]) -> None:
        new = places[self.find(wanted.high[places], wanted.low[places]).row < 0]
        taken = np.cumsum(wanted.lengths[new]) * self._row
        new = new[taken <= self.budget - self.bytes]
        if len(new):
            lengths = wanted.lengths[new]
            self._shelf.remember(made(wanted.high[new], wanted.low[new], compute(new), lengths, lengths))

    @property
    def _row(self) -> int:
        """Bytes of a token."""
        return int(self._shelf.item.itemsize)

    def _pieces(self, lengths: Ints) -> Iterator[Ints]:
        """Places of texts, in their order, so many as make a piece."""
        piece = (np.cumsum(lengths) - lengths) * self._row // PIECE
        ends = np.flatnonzero(np.diff(piece, append=-1)) + 1
        return iter(np.split(np.arange(len(lengths)), ends[:-1]))


def keys_of_tokens(ids: Ints, lengths: Ints) -> tuple[Halves, Halves]:
    """The keys of texts by what the model reads: token ids end to end, as many for each text as `lengths` says."""
    whole, ends = ids.astype("<i4").tobytes(), np.cumsum(lengths) * 4
    starts = (ends - lengths * 4).tolist()
    return keys_of(whole[start:end] for start, end in zip(starts, ends.tolist(), strict=True))
