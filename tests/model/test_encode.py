"""Encoding is the host's, leaves no trace, and applies the prompt of the role; token counts tell what is cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from embertune.engine.tokens import open_store
from embertune.model.encode import batches, count_tokens, make_encode
from tests import tiny

Load = Callable[[], SentenceTransformer]
TEXTS = ["how can i repair the car", "a word", "how can i repair the car", "they wash the boat before winter"]


def test_vectors_are_the_hosts_in_the_order_of_the_texts(tiny_model: Load) -> None:
    model = tiny_model()
    vectors = make_encode(model, {})(TEXTS, "anchor")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, model.encode(TEXTS), atol=1e-6)


def test_each_distinct_text_is_encoded_once(tiny_model: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny_model(), []
    host = model.encode
    monkeypatch.setattr(model, "encode", lambda texts, **options: seen.extend(texts) or host(texts, **options))
    vectors = make_encode(model, {})(TEXTS * 3, "anchor")
    assert sorted(seen) == sorted(set(TEXTS))
    assert (vectors[0] == vectors[2]).all()
    assert vectors.shape == (12, 32)


def test_every_part_keeps_its_mode_and_the_random_state_is_untouched(tiny_model: Load) -> None:
    model = tiny_model()
    model.train()
    frozen = model[0].model.encoder.layer[0]
    frozen.eval()
    before, random = [module.training for module in model.modules()], torch.get_rng_state()
    first = make_encode(model, {})(TEXTS, "anchor")
    assert [module.training for module in model.modules()] == before
    assert torch.equal(random, torch.get_rng_state())
    assert (make_encode(model, {})(TEXTS, "anchor") == first).all()  # no dropout was at work


def test_the_mode_comes_back_after_a_failure(tiny_model: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    model.train()
    monkeypatch.setattr(model[0], "forward", lambda features, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_encode(model, {})(TEXTS, "anchor")
    assert model.training
    assert model[0].training


def test_no_text_gives_no_row_of_the_right_width(tiny_model: Load) -> None:
    assert make_encode(tiny_model(), {})([], "anchor").shape == (0, 32)


def test_gradients_still_flow_after_encoding(tiny_model: Load) -> None:
    model = tiny_model()
    make_encode(model, {})(TEXTS, "anchor")
    model(model.preprocess(["a word"]))["sentence_embedding"].sum().backward()
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_the_prompt_of_the_role_is_applied_and_no_other(tiny_model: Load) -> None:
    model = tiny_model()
    model.prompts["query"], model.default_prompt_name = "never ", "query"
    encode = make_encode(model, {"anchor": "query: ", "negative": "passage: "})
    plain = tiny_model()
    for role, prompt in {"anchor": "query: ", "positive": "", "negative_3": "passage: "}.items():
        wanted = plain.encode([prompt + text for text in TEXTS])
        np.testing.assert_allclose(encode(TEXTS, role), wanted, atol=1e-5)


def test_counts_hold_prompt_and_special_tokens_and_are_never_cut(tiny_model: Load) -> None:
    model = tiny_model()
    texts = ["a word", "word " * 100, ""]
    assert count_tokens(model, texts).tolist() == [4, 102, 2]
    assert count_tokens(model, texts, prompt="query: ").tolist() == [6, 104, 4]
    assert count_tokens(model, []).shape == (0,)


def test_counts_agree_with_what_the_model_reads(tiny_model: Load) -> None:
    model = tiny_model()
    read = model.preprocess(TEXTS)["attention_mask"].sum(dim=1)
    assert count_tokens(model, TEXTS).tolist() == read.tolist()


def without_tokenizer(model: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the model reads no text."""
    monkeypatch.setattr(model[0], "preprocess", lambda *_, **__: 1 / 0)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken", "weightedmean"])
@pytest.mark.parametrize("include_prompt", [True, False])
def test_from_stored_tokens_come_the_vectors_of_the_host(tiny_model: Load, pooling: str, include_prompt: bool) -> None:
    model = tiny_model()
    model[1].pooling_mode = pooling
    model[1].include_prompt = include_prompt
    store = open_store(model, None)
    assert store is not None
    texts = [tiny.answer(i) * (1 + i % 7) for i in range(300)] + ["", "a word"]
    for prompt in ("", "query: "):
        vectors = make_encode(model, {"anchor": prompt}, tokens=store)(texts, "anchor")
        host = model.encode(texts, prompt=prompt)
        assert (np.linalg.norm(vectors - host, axis=1) <= 1e-6 * np.linalg.norm(host, axis=1)).all()


def test_from_stored_tokens_come_normalised_and_truncated_vectors_as_the_host_makes_them(tiny_model: Load) -> None:
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    model = tiny_model()
    model.append(Dense(32, 16))
    model.append(Normalize())
    for dimensions in (None, 5):
        model.truncate_dim = dimensions
        store = open_store(model, None)
        vectors = make_encode(model, {}, tokens=store)(TEXTS, "anchor")
        assert vectors.shape == (4, dimensions or 16)
        np.testing.assert_allclose(vectors, model.encode(TEXTS), atol=1e-6)
        assert make_encode(model, {}, tokens=store)([], "anchor").shape == (0, dimensions or 16)


def test_with_stored_tokens_nothing_is_tokenised_and_no_trace_is_left(
    tiny_model: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    store = open_store(model, None)
    assert store is not None
    store.add(TEXTS)
    expected = model.encode(TEXTS)
    counts = count_tokens(model, TEXTS, "ask: ")
    without_tokenizer(model, monkeypatch)
    model.train()
    modes, random = [module.training for module in model.modules()], torch.get_rng_state()
    np.testing.assert_allclose(make_encode(model, {}, tokens=store)(TEXTS, "anchor"), expected, atol=1e-6)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(random, torch.get_rng_state())
    assert count_tokens(model, TEXTS, "ask: ", tokens=store).tolist() == counts.tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 100))
def test_batches_hold_every_text_once_longest_first_and_no_more_tokens_than_allowed(
    lengths: list[int], most: int
) -> None:
    found = list(batches(np.array(lengths, dtype=np.int64), most))
    order = [int(place) for places in found for place in places]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[place] for place in order] == sorted(lengths, reverse=True)
    for places in found:
        widest = max(lengths[place] for place in places)
        assert len(places) == 1 or widest * len(places) <= most
