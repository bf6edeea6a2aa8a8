"""Every family on its fast path gives what it gives without: vectors, loss and all gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune.engine.buckets import split
from embertune.engine.parity import check
from embertune.engine.paths import path_of
from tests.engine.families import FAMILIES, LIMIT, NAMES, Family, family
from tests.engine.same import (
    Features,
    assert_packing_changes_nothing,
    assert_same,
    copied,
    features_of,
    ranking,
    step,
    vectors,
)

#: One token, none but the special ones, equal lengths, longer than any window and than the limit, unknown characters.
TEXTS = (
    "dog",
    "",
    "how can i repair the car",
    "what must we do to close",
    "i want to lift my bag today and tomorrow and never again",
    "the " * (2 * LIMIT),
    "Ω",
    "here they shut the old house before winter and our people mend this boat for you while nobody is looking",
)
Pair = tuple[SentenceTransformer, SentenceTransformer]


@pytest.fixture(scope="module")
def pair(build: Callable[[str], SentenceTransformer]) -> Callable[[str], Pair]:
    """The packed and the plain model of a family; they stay as they are."""

    @cache
    def made(name: str) -> Pair:
        return et.pack(build(name)), build(name)

    return made


@pytest.mark.parametrize("row", FAMILIES, ids=NAMES)
def test_pack_takes_the_expected_path_without_a_warning(row: Family, build: Callable[[str], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        packed = et.pack(build(row.name))
    path = path_of(packed)
    assert path is not None
    assert path.name == row.path
    assert check(packed).passed


@pytest.mark.parametrize("name", NAMES)
def test_any_texts_in_any_order_give_the_same(name: str, pair: Callable[[str], Pair]) -> None:
    packed, plain = pair(name)

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8).filter(any))
    @example(list(TEXTS))
    @example(["dog"])
    @example(["how can i repair the car", "what must we do to close"])
    def same(texts: list[str]) -> None:
        assert_packing_changes_nothing(packed, plain, features_of(plain, texts))

    same()


@pytest.mark.parametrize("name", [row.name for row in FAMILIES if row.frame])
def test_a_batch_of_empty_texts_gives_the_same(name: str, pair: Callable[[str], Pair]) -> None:
    packed, plain = pair(name)
    assert_packing_changes_nothing(packed, plain, features_of(plain, ["", ""]))


def test_a_batch_without_any_token_fails_as_it_does_unpacked(pair: Callable[[str], Pair]) -> None:
    packed, plain = pair("Qwen3 without special tokens")
    for model in (plain, packed):
        with pytest.raises(RuntimeError, match="cannot reshape tensor of 0 elements"):
            model(features_of(model, [""]))


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_which_all_or_inner_tokens_are_masked_give_the_same(name: str, pair: Callable[[str], Pair]) -> None:
    packed, plain = pair(name)
    for places in (slice(None), slice(-3, -2)):
        features = features_of(plain, TEXTS)
        features["attention_mask"][5, places] = 0
        assert_packing_changes_nothing(packed, plain, features)


@pytest.mark.parametrize("name", NAMES)
def test_padding_on_the_other_side_and_on_both_gives_the_same(name: str, pair: Callable[[str], Pair]) -> None:
    packed, plain = pair(name)
    own = features_of(plain, TEXTS)
    other = _turned(own, to_the_left=family(name).side == "right")
    both = {key: torch.cat([value, other[key]]) for key, value in own.items() if isinstance(value, torch.Tensor)}
    for features in (other, both):
        assert_packing_changes_nothing(packed, plain, features)


@pytest.mark.parametrize("name", [row.name for row in FAMILIES if row.settings.get("type_vocab_size") == 2])
def test_token_types_that_are_not_zero_give_the_same(name: str, pair: Callable[[str], Pair]) -> None:
    packed, plain = pair(name)
    features = features_of(plain, TEXTS)
    assert "token_type_ids" in features
    before = vectors(plain, features)
    features["token_type_ids"] = torch.arange(features["token_type_ids"].numel()).view_as(features["input_ids"]) % 2
    assert not torch.allclose(vectors(plain, features), before)
    assert_packing_changes_nothing(packed, plain, features)


@pytest.mark.parametrize("name", NAMES)
def test_a_padded_call_of_a_packed_backbone_gives_the_same(name: str, pair: Callable[[str], Pair]) -> None:
    packed, plain = pair(name)
    features = {key: value for key, value in features_of(plain, TEXTS).items() if isinstance(value, torch.Tensor)}

    def loss(model: SentenceTransformer) -> torch.Tensor:
        states = model[0].model(**copied(features)).last_hidden_state
        return (states * features["attention_mask"][..., None]).square().sum()

    assert_same(step(packed, loss), step(plain, loss))


@pytest.mark.parametrize("name", NAMES)
def test_all_hidden_states_are_the_same_at_every_token(name: str, build: Callable[[str], Any]) -> None:
    packed, plain = build(name), build(name)
    for model in (packed, plain):
        model[0].model.config.output_hidden_states = True
    et.pack(packed)
    seen = features_of(plain, TEXTS)["attention_mask"].bool()
    with torch.no_grad():
        left, right = (model(features_of(plain, TEXTS))["all_layer_embeddings"] for model in (packed, plain))
    assert len(left) == len(right) > 1
    for mine, own in zip(left, right, strict=True):
        assert torch.allclose(mine[seen], own[seen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [row.name for row in FAMILIES if row.window])
def test_a_window_shows_in_the_vectors(name: str, build: Callable[[str], Any]) -> None:
    narrow, wide = build(name), build(name)
    config = wide[0].model.config
    config.sliding_window = config.local_attention = 1000
    features = features_of(narrow, TEXTS)
    assert not torch.allclose(vectors(narrow, features), vectors(wide, features), atol=1e-3)
    assert_packing_changes_nothing(et.pack(wide), _unwindowed(build(name)), features)


@pytest.mark.parametrize("row", [row for row in FAMILIES if row.side == "left"], ids=lambda row: row.name)
def test_a_causal_model_stays_causal_and_a_bidirectional_one_does_not(row: Family, pair: Callable[[str], Pair]) -> None:
    packed, _ = pair(row.name)
    first, second = (
        packed(features_of(packed, [f"how can i repair {end}", "dog"]))["token_embeddings"][0, :4]
        for end in ("cars", "lady")
    )
    assert torch.allclose(first, second, atol=1e-6) == row.causal


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_weights_in_half_precision_are_packed_and_as_near_to_float32_as_unpacked(
    name: str, kind: torch.dtype, pair: Callable[[str], Pair], build: Callable[[str], Any]
) -> None:
    exact = vectors(pair(name)[1], features_of(pair(name)[1], TEXTS))
    plain, packed = build(name).to(kind), et.pack(build(name).to(kind))
    path = path_of(packed)
    assert path is not None
    assert path.name == family(name).path
    own, mine = (_far(vectors(model, features_of(model, TEXTS)), exact) for model in (plain, packed))
    assert mine <= 1.5 * own


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_vectors_are_as_near_to_float32_as_unpacked_and_gradients_as_large(
    name: str, pair: Callable[[str], Pair]
) -> None:
    packed, plain = pair(name)
    features = features_of(plain, TEXTS)
    exact = vectors(plain, features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own, mine = (_far(vectors(model, features), exact) for model in (plain, packed))
        steps = [step(model, ranking(features)) for model in (plain, packed)]
    assert mine <= 1.5 * own
    sizes = [torch.stack([g.norm() for g in one.gradients.values()]).norm() for one in steps]
    assert float(sizes[1] / sizes[0]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", [row.name for row in FAMILIES if row.path == "buckets"])
def test_a_large_batch_falls_into_several_buckets_and_gives_the_same(name: str, pair: Callable[[str], Pair]) -> None:
    packed, plain = pair(name)
    features = features_of(plain, [text for text in TEXTS[2:] for _ in range(9)] + ["dog"] * 40)
    assert len(split(sorted(features["attention_mask"].sum(1).tolist()))) > 2
    assert_packing_changes_nothing(packed, plain, features)


def _turned(features: Features, *, to_the_left: bool) -> Features:
    """The same rows padded on the other side."""
    mask = features["attention_mask"]
    order = torch.argsort(mask if to_the_left else 1 - mask, dim=1, stable=True)
    return {k: v.gather(1, order) if isinstance(v, torch.Tensor) and v.ndim == 2 else v for k, v in features.items()}


def _unwindowed(model: SentenceTransformer) -> SentenceTransformer:
    config = model[0].model.config
    config.sliding_window = config.local_attention = 1000
    return model


def _far(made: torch.Tensor, exact: torch.Tensor) -> float:
    return float(((made.float() - exact).norm() / exact.norm()).detach())
