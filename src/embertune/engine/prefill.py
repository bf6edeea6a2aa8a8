"""Texts whose states are to be stored: what the model reads of them, each once, and how a store is filled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sentence_transformers.util import batch_to_device

from embertune.engine.prefix import Prefix
from embertune.engine.prefixstore import States, Wanted, keys_of_tokens
from embertune.engine.segment import Ints, Segment
from embertune.engine.shelf import Found
from embertune.engine.tokens import TokenStore

#: Real tokens of a pass while a store is filled, and texts that are looked up at a time.
TOKENS, LOOKED_UP = 2**11, 2**14


@dataclass(frozen=True, eq=False)
class Texts:
    """Distinct texts, ascending by key, and where their tokens are."""

    wanted: Wanted
    found: Found
    tokens: TokenStore

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
    parts: dict[int, tuple[int, Segment]] = {}
    high, low, lengths, part, row = ([np.empty(0, kind)] for kind in (np.uint64, np.uint64, *3 * [np.int64]))
    for prompt, texts in _pieces(reads):
        found = tokens.find(texts, prompt)
        ids, length = found.ids()
        for one in found.parts:
            parts.setdefault(id(one), (len(parts), one))
        renumbered = np.array([parts[id(one)][0] for one in found.parts], dtype=np.int64)
        for column, values in zip(
            (high, low, lengths, part, row),
            (*keys_of_tokens(ids, length), length, renumbered[found.part], found.row),
            strict=True,
        ):
            column.append(values)
    columns = [np.concatenate(column) for column in (high, low, lengths, part, row)]
    order = np.lexsort((columns[1], columns[0]))
    high_, low_ = columns[0][order], columns[1][order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (high_[1:] != high_[:-1]) | (low_[1:] != low_[:-1])
    one_each = [column[order[first]] for column in columns]
    wanted = Wanted(one_each[0], one_each[1], one_each[2])
    return Texts(wanted, Found(tuple(one for _, one in parts.values()), one_each[3], one_each[4]), tokens)


def _pieces(reads: Iterable[tuple[str, Iterable[str]]]) -> Iterator[tuple[str, list[str]]]:
    for prompt, texts in reads:
        piece: list[str] = []
        for text in texts:
            piece.append(text)
            if len(piece) == LOOKED_UP:
                yield prompt, piece
                piece = []
        if piece:
            yield prompt, piece


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
