"""Texts whose states are to be stored: what the model reads of them, each once, and how a store is filled."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sentence_transformers.util import batch_to_device

from embertune.engine.prefix import Prefix
from embertune.engine.prefixstore import States, Wanted, keys_of_tokens
from embertune.engine.segment import Halves, Ints, Segment
from embertune.engine.shelf import Found
from embertune.engine.tokens import TokenStore

#: Real tokens of a pass while a store is filled, and texts that are looked up at a time.
TOKENS, LOOKED_UP = 2**11, 2**14


@dataclass(frozen=True, eq=False)
class Texts:
    """Distinct texts, ascending by key, and where their tokens are.

    `read` are the tokens of each of the reads they were gathered from; there a text counts as often as it stands there.
    """

    wanted: Wanted
    found: Found
    tokens: TokenStore
    read: tuple[int, ...] = ()

    def features(self, places: Ints) -> dict[str, Any]:
        """Those of some texts, as the model takes them."""
        return self.tokens.padded(self.found[places])

    def some(self, places: Ints) -> Texts:
        """Those at `places`, ascending."""
        whole = self.wanted
        wanted = Wanted(whole.high[places], whole.low[places], whole.lengths[places])
        return Texts(wanted, self.found[places], self.tokens)


def gather(tokens: TokenStore, reads: Iterable[tuple[str, Iterable[str]]]) -> Texts:
    """All distinct texts of `reads` (prompts, and the texts that go with each) as the model reads them."""
    parts: list[Segment] = []
    pieces: list[tuple[Halves, Halves, Ints, Ints, Ints]] = []
    read: list[int] = []
    for prompt, texts in reads:
        read.append(0)
        for piece in batched(texts, LOOKED_UP):
            found = tokens.find(piece, prompt)
            parts += [one for one in found.parts if one not in parts]
            numbers = np.array([parts.index(one) for one in found.parts], dtype=np.int64)
            ids, lengths = found.ids()
            pieces.append((*keys_of_tokens(ids, lengths), lengths, numbers[found.part], found.row))
            read[-1] += int(lengths.sum())
    nothing = tuple(np.empty(0, kind) for kind in (np.uint64, np.uint64, np.int64, np.int64, np.int64))
    high, low, lengths, part, row = (np.concatenate(column) for column in zip(nothing, *pieces, strict=True))
    order = np.lexsort((low, high))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    order = order[first]
    wanted = Wanted(high[order], low[order], lengths[order])
    return Texts(wanted, Found(tuple(parts), part[order], row[order]), tokens, tuple(read))


def batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` texts, the last one perhaps shorter."""
    rest = iter(texts)
    while piece := list(itertools.islice(rest, size)):
        yield piece


def fill(prefix: Prefix, texts: Texts, told: Callable[[int], None] = lambda _tokens: None) -> None:
    """Keep the states of all texts that are not there yet, in the store of `prefix`; `told` as in `StateStore.fill`."""

    def compute(places: Ints) -> States:
        lengths = texts.wanted.lengths[places]
        states = np.empty((int(lengths.sum()), prefix.store.width), prefix.store.storage)
        begin = np.cumsum(lengths) - lengths
        for some in _batches(lengths):
            inside = lengths[some]
            shift = begin[some] - (np.cumsum(inside) - inside)
            states[np.repeat(shift, inside) + np.arange(int(inside.sum()))] = prefix.compute(
                batch(prefix, texts, places[some])
            )
        return states

    prefix.store.fill(texts.wanted, compute, told)


def batch(prefix: Prefix, texts: Texts, places: Ints) -> dict[str, Any]:
    """The features of some texts where the model is."""
    device = next(prefix.forward.module.parameters()).device
    moved: dict[str, Any] = batch_to_device(texts.features(places), device)
    return moved


def _batches(lengths: Ints) -> Sequence[Ints]:
    """Places of texts in batches of about `TOKENS`, sorted by length: shortest first."""
    order = np.argsort(lengths, kind="stable")
    number = (np.cumsum(lengths[order]) - 1) // TOKENS
    return np.split(order, np.flatnonzero(np.diff(number)) + 1)
