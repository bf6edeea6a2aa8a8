"""Tokenises all texts of a run before its first step, so that no step has to."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping

from embertune import caches
from embertune.data.prepared import Prepared
from embertune.data.store import batches
from embertune.engine.tokens import TokenStore
from embertune.evaluate.scene import Scene
from embertune.model.prompts import column_prompts, prompt_of
from embertune.watch import Watcher

#: Seconds after which somebody who waits for tokens is told how far they are.
TELL_EVERY = 10.0


def tokenise(store: TokenStore | None, read: Iterable[tuple[str, Iterable[str]]], watch: Watcher) -> None:
    """Put what `store` does not have yet into it: `read` has prompts, and the texts that go with each.

    Without a store (a model whose texts cannot be stored) there is nothing to do.
    """
    if store is None:
        return
    seen, told = 0, time.perf_counter()

    def telling(texts: Iterable[str]) -> Iterator[str]:
        nonlocal seen, told
        for text in texts:
            yield text
            seen += 1
            if seen % 1000 == 0 and time.perf_counter() - told > TELL_EVERY:
                told = time.perf_counter()
                watch.note(f"{seen:,} texts are tokenised, once for all epochs and later runs")

    for prompt, texts in read:
        store.add(telling(texts), prompt)
    if store.trouble:
        watch.note(f"tokens stay in memory, the cache cannot be written: {store.trouble}")
    caches.trim()


def texts_of(train: Prepared, scene: Scene, role_prompts: Mapping[str, str]) -> Iterator[tuple[str, Iterable[str]]]:
    """All that training and measuring will read: prompts, and the texts that go with each."""
    prompts = column_prompts(role_prompts, train.text_columns)
    for column in train.text_columns:
        pieces = batches(train.rows, column)
        yield prompts.get(column, ""), itertools.chain.from_iterable(piece.to_pylist() for piece in pieces)
    yield from evaluated_texts(scene, role_prompts)


def evaluated_texts(scene: Scene, role_prompts: Mapping[str, str]) -> Iterator[tuple[str, Iterable[str]]]:
    """All that measuring will read: prompts, and the texts that go with each."""
    for evalset in (*((scene.dev,) if scene.dev else ()), *scene.tests, *scene.retention):
        for role, texts in evalset.texts.items():
            yield prompt_of(role_prompts, role), texts
