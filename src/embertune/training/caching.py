"""The prefix cache while a run goes on: before a phase its store is filled, and during the phase it is read."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from embertune import caches
from embertune.data.prepared import Note, Prepared
from embertune.engine.prefill import batch, fill
from embertune.engine.prefix import Prefix
from embertune.model.prefix import make_prefix, open_states
from embertune.recipe import Recipe
from embertune.training.course import Phase
from embertune.training.prefix import PrefixPlan
from embertune.training.snapshot import Snapshot
from embertune.watch import Watcher

#: Seconds after which somebody who waits for states is told how far they are.
TELL_EVERY = 10.0


def prefix_cache(
    plan: PrefixPlan | None, model: SentenceTransformer, recipe: Recipe, watch: Watcher
) -> PrefixCache | None:
    """The cache of a run, where it has one."""
    return PrefixCache(plan, model, recipe.train.precision, watch) if plan else None


class PrefixCache:
    """The states that a run reads, a phase at a time. `notes` tell what was kept."""

    def __init__(self, plan: PrefixPlan, model: SentenceTransformer, precision: Any, watch: Watcher) -> None:
        self.plan, self.model, self.precision, self.watch = plan, model, precision, watch
        self.notes: list[Note] = []
        self._train: Prepared | None = None
        self._prefix: Prefix | None = None
        self._there: list[int] = []
        self._depth: int | None = None  # of the phase that goes on
        self._resumed = False

    @contextmanager
    def during(self, phase: Phase, blocks: int, train: Prepared, filled: Callable[[], None]) -> Iterator[None]:
        """Inside, the model reads what is kept behind at most the lowest `blocks`, which are frozen for the phase.

        Later phases have no more of them frozen. `train` are the rows of the phase; `filled` is told when the filling
        is over.
        """
        later = [(one, min(blocks, one.frozen_blocks)) for one in self.plan.course.phases if one.first >= phase.last]
        if self._depth is None:
            self._depth = self.plan.depths([(phase, blocks), *later], self._there)[0]
        try:
            if not self._depth:
                yield
                return
            prefix = self._opened(self._depth, train)
            filled()
            with prefix.entered():
                yield
        finally:
            self._depth = None

    def state(self) -> Snapshot:
        """How deep the store is that the phase reads, None between phases; and which stores there are."""
        return Snapshot(facts={"depth": self._depth, "there": list(self._there)})

    def restore(self, snapshot: Snapshot) -> None:
        """The next phase reads as it did then."""
        self._depth, self._there, self._resumed = snapshot.facts["depth"], list(snapshot.facts["there"]), True

    def _opened(self, depth: int, train: Prepared) -> Prefix:
        """The prefix of that depth over a store with the texts of `train`."""
        if self._prefix is not None and self._prefix.depth == depth and self._train is train:
            return self._prefix
        if self._resumed or (self._train is not None and self._train is not train):
            self._resumed = False
            self.plan = dataclasses.replace(self.plan, texts=self.plan.reader(train))
        self._train = train
        store = open_states(self.model, depth, self.plan.storage, self.precision, self._only_for())
        prefix = make_prefix(self.model, depth, store, self.precision)
        texts = self.plan.texts
        prefix.compute(batch(prefix, texts, np.arange(1)))  # shows how the blocks answer
        fill(prefix, texts, self._telling(texts.wanted.tokens))
        self._tell(prefix)
        self._prefix = prefix
        self._there = sorted({*self._there, depth})
        caches.trim()
        return prefix

    def _only_for(self) -> str:
        """What stands for the texts where their states hang on their company."""
        wanted = self.plan.texts.wanted
        return "" if self.plan.steady else hashlib.sha256(wanted.high.tobytes() + wanted.low.tobytes()).hexdigest()

    def _telling(self, tokens: int) -> Callable[[int], None]:
        told = time.perf_counter()

        def tell(done: int) -> None:
            nonlocal told
            if time.perf_counter() - told > TELL_EVERY:
                told = time.perf_counter()
                self.watch.note(f"{done:,} of {tokens:,} tokens are through the frozen layers, once for all epochs")

        return tell

    def _tell(self, prefix: Prefix) -> None:
        """What is kept, and what is not."""
        texts, store = self.plan.texts.wanted, prefix.store
        missing = int((~store.holds(texts)).sum())
        what = f"behind {prefix.depth} frozen layer{'s' if prefix.depth > 1 else ''}, as {store.storage}"
        if missing:
            why = store.trouble or f"the cache may take {store.budget / 1e9:.1f} GB"
            text = f"states {what} of {missing:,} of {len(texts):,} texts are computed each time: {why}"
        else:
            size = texts.tokens * store.width * np.dtype(store.storage).itemsize
            text = f"{len(texts):,} texts ({texts.tokens:,} tokens, {size / 1e6:,.0f} MB) are read from states {what}"
        self.watch.note(text)
        self.notes.append(Note("prefix", text, missing))
