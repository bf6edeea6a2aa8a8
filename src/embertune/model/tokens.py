"""The tokens of a model's texts: in the user's cache, or in memory where there is no room for them."""

from __future__ import annotations

import weakref

from sentence_transformers import SentenceTransformer

from embertune import caches
from embertune.engine.reading import reading
from embertune.engine.tokens import TokenStore, faithful


def open_tokens(model: SentenceTransformer) -> TokenStore | None:
    """The store of what `model` reads, in the cache; the cache keeps it while the store is alive.

    Where the cache cannot be used the store lies in memory, reads the same, and its `trouble` says why. None for a
    model that does not read plain texts by a tokenizer alone.
    """
    read = reading(model)
    if read is None or not faithful(read):
        return None
    try:
        held = caches.take("tokens", read.key, read.about)
    except OSError as error:
        return TokenStore(read, None, str(error))
    store = TokenStore(read, held.path)
    weakref.finalize(store, held.release)
    return store
