"""A model's tokens lie in the cache while somebody reads them, and in memory where there is no cache."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from embertune import caches
from embertune.model.tokens import open_tokens

Load = Callable[[], SentenceTransformer]
TEXTS = ["how can i repair the car", "a word"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(caches.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_tokens_are_in_use_as_long_as_their_store_is_there_and_serve_the_next(tiny_model: Load) -> None:
    store = open_tokens(tiny_model())
    assert store is not None
    assert store.add(TEXTS) == 2
    assert [(entry.kind, entry.in_use) for entry in caches.entries()] == [("tokens", True)]
    assert "BertTokenizer" in caches.entries()[0].about
    assert caches.clear() == caches.Swept(in_use=1)
    del store
    gc.collect()
    assert not caches.entries()[0].in_use
    again = open_tokens(tiny_model())
    assert again is not None
    assert again.add(TEXTS) == 0


def test_without_a_cache_the_same_is_read_from_memory(tiny_model: Load, cache: Path) -> None:
    cache.write_text("a file in the way")
    model = tiny_model()
    store = open_tokens(model)
    assert store is not None
    assert store.trouble
    assert store.features(TEXTS)["input_ids"].tolist() == model.preprocess(TEXTS)["input_ids"].tolist()
    assert store.add(TEXTS) == 0
