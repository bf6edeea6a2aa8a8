"""`pack` as a drop-in: what stands after the backbone, limits, `encode`, saving, copying, and what it leaves alone."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import (
    Dropout,
    LayerNorm,
    Pooling,
    WeightedLayerPooling,
)
from torch import nn

import embertune as et
from embertune.engine.paths import path_of
from tests.engine.same import (
    assert_packing_changes_nothing,
    assert_same,
    attributes,
    copied,
    features_of,
    ranking,
    step,
    vectors,
)

TEXTS = (
    "how can i repair the car",
    "dog",
    "",
    "what must we do to close a shop in winter when nobody is looking",
    "you mend every automobile before winter",
    "the " * 100,
)
Build = Callable[..., SentenceTransformer]
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
#: One family of each way to run.
WAYS = ("BERT", "MPNet", "Qwen3", "DeBERTa-v2")


@pytest.mark.parametrize("mode", [*MODES, MODES])
@pytest.mark.parametrize("name", WAYS)
def test_every_pooling_gives_the_same(name: str, mode: Any, build: Build) -> None:
    packed, plain = (build(name, Pooling(32, pooling_mode=mode)) for _ in range(2))
    et.pack(packed)
    assert path_of(packed) is not None
    assert_packing_changes_nothing(packed, plain, features_of(plain, TEXTS))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "max"])
@pytest.mark.parametrize("name", WAYS)
def test_a_row_without_tokens_pools_to_the_same(name: str, mode: str, build: Build) -> None:
    packed, plain = (build(name, Pooling(32, pooling_mode=mode)) for _ in range(2))
    et.pack(packed)
    features = features_of(plain, TEXTS)
    features["attention_mask"][3] = 0
    assert_packing_changes_nothing(packed, plain, features)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["BERT", "Qwen3"])
def test_prompts_give_the_same_pooled_over_or_not(name: str, mode: str, include: bool, build: Build) -> None:
    packed, plain = (build(name, Pooling(32, pooling_mode=mode, include_prompt=include)) for _ in range(2))
    et.pack(packed)
    features = features_of(plain, [text for text in TEXTS if text], prompt="query about: ")
    assert features["prompt_length"] > 1
    assert_packing_changes_nothing(packed, plain, features)
    vector, own = (model.encode(TEXTS[0], prompt="query about: ") for model in (packed, plain))
    assert vector == pytest.approx(own, abs=1e-5)


@pytest.mark.parametrize(
    "after",
    [
        lambda: (Pooling(32), Dense(32, 16), Normalize()),
        lambda: (Pooling(32), LayerNorm(32), Dense(32, 8, bias=False, activation_function=nn.Identity())),
        lambda: (Pooling(32), Dropout(0.5), Normalize()),
        lambda: (
            Dense(32, 16, module_input_name="token_embeddings", module_output_name="token_embeddings"),
            Pooling(16),
        ),
    ],
)
def test_modules_after_the_backbone_give_the_same(after: Callable[[], tuple[nn.Module, ...]], build: Build) -> None:
    torch.manual_seed(3)
    plain = build("BERT", *after()).eval()
    packed = et.pack(copy.deepcopy(plain))
    assert path_of(packed) is not None
    assert_packing_changes_nothing(packed, plain, features_of(plain, TEXTS))


@pytest.mark.parametrize("name", WAYS)
def test_layers_weighted_give_the_same_and_all_layers_learn(name: str, build: Build) -> None:
    def made() -> SentenceTransformer:
        model = build(name, WeightedLayerPooling(32, num_hidden_layers=2, layer_start=0), Pooling(32))
        model[0].model.config.output_hidden_states = True
        return model

    packed, plain = et.pack(made()), made()
    assert path_of(packed) is not None
    features = features_of(plain, TEXTS)
    assert_packing_changes_nothing(packed, plain, features)
    assert "1.layer_weights" in step(packed, ranking(features)).gradients


@pytest.mark.parametrize("name", WAYS)
def test_a_limit_changed_after_packing_holds(name: str, build: Build) -> None:
    packed, plain = et.pack(build(name)), build(name)
    packed.max_seq_length = plain.max_seq_length = 7
    assert features_of(packed, TEXTS)["input_ids"].shape[1] == 7
    assert_packing_changes_nothing(packed, plain, features_of(plain, TEXTS))


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("name", ["BERT", "ModernBERT", "Qwen3 with a window", "EuroBERT"])
def test_layers_computed_again_in_the_backward_pass_give_the_same(name: str, again: bool, build: Build) -> None:
    packed, plain = et.pack(build(name)), build(name)
    packed.train()
    packed[0].model.activation_checkpointing_enable({"use_reentrant": again})
    if again:
        packed[0].model.enable_input_require_grads()
    features = features_of(plain, TEXTS)
    assert_same(step(packed, ranking(features)), step(plain, ranking(features)))


@pytest.mark.parametrize("again", [True, False])
def test_layers_computed_again_drop_out_the_same(again: bool, build: Build) -> None:
    model = et.pack(build("BERT")).train()
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.3
    features, steps = features_of(model, TEXTS), []
    for _ in range(2):
        torch.manual_seed(0)
        steps.append(step(model, ranking(features)))
        model[0].model.activation_checkpointing_enable({"use_reentrant": again})
        model[0].model.enable_input_require_grads()
    assert_same(steps[1], steps[0])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
        {"normalize_embeddings": True},
        {"precision": "int8"},
        {"precision": "binary"},
        {"batch_size": 2},
        {"truncate_dim": 8},
        {"prompt": "query: "},
    ],
)
@pytest.mark.parametrize("name", WAYS)
def test_encode_gives_the_same_with_every_option(name: str, options: dict[str, Any], build: Build) -> None:
    packed, plain = (model.encode(list(TEXTS), **options) for model in (et.pack(build(name)), build(name)))
    assert type(packed) is type(plain)
    for mine, own in zip(packed, plain, strict=True):
        assert mine.dtype == own.dtype
        gap = torch.as_tensor(mine).float() - torch.as_tensor(own).float()
        assert gap.abs().max() <= (1 if "precision" in options else 1e-5)


@pytest.mark.parametrize("name", WAYS)
def test_encode_gives_the_same_tokens_and_the_same_features(name: str, build: Build) -> None:
    packed, plain = et.pack(build(name)), build(name)
    texts = list(TEXTS)
    seen = [row["attention_mask"].bool() for row in plain.encode(texts, output_value=None)]
    left, right = (model.encode(texts, output_value="token_embeddings") for model in (packed, plain))
    for mine, own, mask in zip(left, right, seen, strict=True):
        assert mine.shape == own.shape
        assert torch.allclose(mine[mask[: len(mine)]], own[mask[: len(own)]], atol=1e-5)
    for mine, own in zip(*(model.encode(texts, output_value=None) for model in (packed, plain)), strict=True):
        assert mine.keys() == own.keys()
        assert torch.equal(mine["input_ids"], own["input_ids"])
        assert torch.allclose(mine["sentence_embedding"], own["sentence_embedding"], atol=1e-5)


@pytest.mark.parametrize("name", WAYS)
def test_a_copy_and_a_pickle_of_a_packed_model_are_packed_and_stand_alone(name: str, build: Build) -> None:
    packed, plain = et.pack(build(name)), build(name)
    features = features_of(plain, TEXTS)
    for other in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert path_of(other) == path_of(packed)
        assert other[0].forward.module is other[0]
        with torch.no_grad():
            next(packed.parameters()).zero_()
        assert_packing_changes_nothing(other, plain, features)
        et.unpack(other)
        assert path_of(packed) is not None
        packed = et.pack(build(name))


@pytest.mark.parametrize("name", [*WAYS, "ModernBERT", "Gemma3"])
def test_a_packed_model_is_saved_byte_for_byte_as_an_unpacked_one(name: str, build: Build, tmp_path: Path) -> None:
    for model, folder in ((build(name), "plain"), (et.pack(build(name)), "packed")):
        model.save(str(tmp_path / folder), create_model_card=False)
    files = {path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*") if path.is_file()}
    assert {
        path.relative_to(tmp_path / "packed") for path in (tmp_path / "packed").rglob("*") if path.is_file()
    } == files
    assert Path("model.safetensors") in files
    for file in files:
        assert (tmp_path / "packed" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes(), file
    loaded = SentenceTransformer(str(tmp_path / "packed"), device="cpu")
    assert path_of(loaded) is None
    assert torch.allclose(*(vectors(one, features_of(one, TEXTS)) for one in (loaded, build(name))))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", WAYS)
def test_unpack_leaves_nothing_behind(name: str, attention: str, build: Build) -> None:
    model = build(name)
    if name in ("BERT", "Qwen3"):
        model[0].model.set_attn_implementation(attention)
    before = attributes(model)
    assert et.unpack(et.pack(model)) is model
    assert attributes(model) == before
    et.unpack(model)
    assert attributes(model) == before


@pytest.mark.parametrize("name", WAYS)
def test_packing_again_changes_nothing(name: str, build: Build) -> None:
    model = et.pack(build(name))
    before = attributes(model)
    assert et.pack(model) is model
    assert attributes(model) == before


@pytest.mark.parametrize("training", [True, False])
def test_pack_keeps_the_mode_the_gradients_and_the_random_numbers(training: bool, build: Build) -> None:
    model = build("BERT").train(training)
    weight = model[0].model.embeddings.word_embeddings.weight
    weight.grad = torch.ones_like(weight)
    state = torch.random.get_rng_state()
    modes = [module.training for module in model.modules()]
    et.pack(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters() if p is not weight)


def test_only_a_part_in_training_mode_stays_so(build: Build) -> None:
    model = build("BERT").eval()
    model[0].model.encoder.layer[1].train()
    modes = [module.training for module in model.modules()]
    et.pack(model)
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("name", WAYS)
def test_frozen_layers_get_no_gradient_and_the_others_the_same(name: str, build: Build) -> None:
    packed, plain = build(name), build(name)
    for model in (packed, plain):
        for place, parameter in enumerate(model.parameters()):
            parameter.requires_grad_(place % 3 == 0)
    et.pack(packed)
    assert path_of(packed) is not None
    assert_packing_changes_nothing(packed, plain, features_of(plain, TEXTS))


@pytest.mark.parametrize("unused", ["pooler.dense.weight", ""])
def test_a_model_of_which_nothing_learns_is_packed(unused: str, build: Build) -> None:
    model = build("BERT")
    for name, parameter in model[0].model.named_parameters():
        parameter.requires_grad_(name == unused)
    et.pack(model)
    assert path_of(model) is not None
    assert not vectors(model, features_of(model, TEXTS)).requires_grad


def test_without_gradients_nothing_is_kept_for_a_backward_pass(build: Build) -> None:
    model = et.pack(build("BERT"))
    with torch.no_grad():
        assert not vectors(model, features_of(model, TEXTS)).requires_grad


def test_a_call_does_not_change_the_features_it_was_given_but_for_what_it_adds(build: Build) -> None:
    packed, plain = et.pack(build("BERT")), build("BERT")
    given, own = features_of(plain, TEXTS), features_of(plain, TEXTS)
    before = copied(given)
    assert packed(given) is given
    assert given.keys() == plain(own).keys()
    assert all(torch.equal(given[name], value) for name, value in before.items() if isinstance(value, torch.Tensor))


def test_features_that_went_through_before_give_the_same_again(build: Build) -> None:
    model = et.pack(build("BERT"))
    features = features_of(model, TEXTS)
    first = model(features)["sentence_embedding"]
    features.pop("sentence_embedding")
    assert torch.equal(model(features)["sentence_embedding"], first)
