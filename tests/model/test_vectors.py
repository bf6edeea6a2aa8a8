"""Embeddings in the cache: the same as without it, read back by whoever has the same weights, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embertune.model.encode import make_encode
from embertune.model.tokens import open_tokens
from embertune.model.vectors import Vectors

Loader = Callable[[], SentenceTransformer]
TEXTS = ["a day in the garden", "query", "a day in the garden", "the sun", ""]


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBERTUNE_CACHE", str(tmp_path / "cache"))


def opened(model: SentenceTransformer, prompts: dict[str, str] | None = None) -> tuple[Vectors, list[str]]:
    """The encoder, and the texts that it really encoded."""
    tokens, asked = open_tokens(model), list[str]()
    plain = make_encode(model, prompts or {}, tokens=tokens)

    def encode(texts: Sequence[str], role: str) -> Any:
        asked.extend(texts)
        return plain(texts, role)

    return Vectors(model, encode, prompts or {}, tokens), asked


def test_vectors_are_those_of_the_model_in_the_order_of_the_texts(tiny_model: Loader) -> None:
    model = tiny_model()
    vectors, asked = opened(model)
    expected = model.encode(TEXTS)
    for _ in range(2):
        np.testing.assert_allclose(vectors(TEXTS, "anchor"), expected, atol=1e-6)
    assert sorted(asked) == sorted(set(TEXTS))
    assert vectors.read == len(set(TEXTS))
    assert vectors([], "anchor").shape == (0, 32)


def test_the_same_weights_in_another_object_read_them_and_others_do_not(tiny_model: Loader) -> None:
    first, _ = opened(tiny_model())
    before = first(TEXTS, "anchor")
    again, asked = opened(tiny_model())
    assert np.array_equal(again([*TEXTS, "more"], "anchor")[: len(TEXTS)], before)
    assert asked == ["more"]
    changed = tiny_model()
    with torch.no_grad():
        changed[0].model.embeddings.word_embeddings.weight.add_(0.01)
    other, asked = opened(changed)
    other(TEXTS, "anchor")
    assert len(asked) == len(set(TEXTS))


@pytest.mark.parametrize("setting", ["max_seq_length", "truncate_dim", "pooling"])
def test_another_setting_of_the_same_weights_has_vectors_of_its_own(tiny_model: Loader, setting: str) -> None:
    opened(tiny_model())[0](TEXTS, "anchor")
    model = tiny_model()
    if setting == "pooling":
        model[1].pooling_mode = "cls"
    else:
        setattr(model, setting, 4)
    vectors, asked = opened(model)
    np.testing.assert_allclose(vectors(TEXTS, "anchor"), model.encode(TEXTS), atol=1e-6)
    assert len(asked) == len(set(TEXTS))


def test_a_text_under_another_prompt_is_another_text(tiny_model: Loader) -> None:
    model = tiny_model()
    vectors, asked = opened(model, {"anchor": "query "})
    one, other = vectors(["the sun"], "anchor"), vectors(["the sun"], "positive")
    assert asked == ["the sun", "the sun"]
    assert np.abs(one - other).max() > 1e-4


def test_where_there_is_no_room_or_no_folder_the_vectors_are_right_all_the_same(
    tiny_model: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    expected = model.encode(TEXTS)
    monkeypatch.setenv("EMBERTUNE_CACHE_SIZE", "200")
    vectors, _ = opened(model)
    np.testing.assert_allclose(vectors(TEXTS, "anchor"), expected, atol=1e-6)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBERTUNE_CACHE", str(tmp_path / "file"))
    vectors, _ = opened(model)
    assert vectors.trouble
    np.testing.assert_allclose(vectors(TEXTS, "anchor"), expected, atol=1e-6)
