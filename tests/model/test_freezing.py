"""What is frozen is found in every family, is not trained, runs without dropout, and is as before afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, StaticEmbedding
from torch import nn

import embertune as et
from embertune.errors import RecipeError
from embertune.model.freezing import Frozen, find_frozen, held
from embertune.model.layers import Layer, LayerTable, find_layers
from embertune.recipe.freezing import FreezeSection
from tests.engine.families import NAMES, build
from tests.model.test_layers import FAMILIES, Backbone

Load = Callable[[], SentenceTransformer]


def table(blocks: int, head: bool = False) -> LayerTable:
    """A table with one parameter a row."""
    rows = [Layer("embeddings", "embeddings", "", ("0.emb",), 1)]
    rows += [Layer(f"block {i}", "block", f"0.block.{i}", (f"0.block.{i}.w",), 1) for i in range(blocks)]
    rows += [Layer("top of the backbone", "top", "", ("0.pooler.w",), 1)]
    rows += [Layer("2 Dense", "head", "2", ("2.w",), 1)] if head else []
    return LayerTable(tuple(rows))


@given(st.integers(2, 30), st.data())
def test_layers_are_counted_from_below_however_they_are_written(blocks: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, blocks - 1))
    rows = table(blocks)
    found = find_frozen(rows, FreezeSection(layers=number))
    assert found == find_frozen(rows, FreezeSection(layers=f"all but {blocks - number}"))
    assert found == find_frozen(rows, FreezeSection(layers=number / blocks))
    assert found == Frozen(number, embeddings=True)
    assert found.names(rows) == {"0.emb", *(f"0.block.{i}.w" for i in range(number))}
    assert found.prefix == number


def test_the_embeddings_can_be_left_out_and_can_be_all() -> None:
    rows = table(4)
    apart = find_frozen(rows, FreezeSection(layers=2, embeddings=False))
    assert apart.names(rows) == {"0.block.0.w", "0.block.1.w"}
    assert apart.prefix == 0
    for section in (FreezeSection(layers=0), FreezeSection(embeddings=True)):
        assert find_frozen(rows, section).names(rows) == {"0.emb"}


def test_patterns_are_frozen_besides() -> None:
    rows = table(3)
    found = find_frozen(rows, FreezeSection(layers=1, patterns=("*.2.w", "*pooler*")))
    assert found.names(rows) == {"0.emb", "0.block.0.w", "0.block.2.w", "0.pooler.w"}
    only = find_frozen(rows, FreezeSection(patterns=("0.block.*",)))
    assert only.names(rows) == {f"0.block.{i}.w" for i in range(3)}


def test_all_layers_can_be_frozen_where_a_head_is_left() -> None:
    assert find_frozen(table(2, head=True), FreezeSection(layers=2)).blocks == 2


@pytest.mark.parametrize(
    ("section", "blocks", "message"),
    [
        (FreezeSection(layers=7), 6, r"layers: found 7, and the model has 6 layers: that is more; write 1 to 6"),
        (FreezeSection(layers="all but 7"), 6, r"found 'all but 7', and the model has 6 layers: that is more"),
        (FreezeSection(layers="all but 6"), 6, r"found 'all but 6', and the model has 6 layers: none is frozen"),
        (FreezeSection(layers=0.05), 6, r"found 0.05, and the model has 6 layers: none is frozen"),
        (FreezeSection(layers=6), 6, r"nothing of the model is left to train; it has embeddings, 6 layers, top"),
        (FreezeSection(patterns=("*",)), 6, r"nothing of the model is left to train"),
        (FreezeSection(patterns=("*bias",)), 6, r"patterns: no parameter fits '\*bias'; names are such as '0.emb'"),
    ],
)
def test_what_cannot_be_frozen_is_refused_with_what_would_do(section: FreezeSection, blocks: int, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        find_frozen(table(blocks), section)


def test_a_model_without_layers_says_what_it_has(tiny_model: Load) -> None:
    model = SentenceTransformer(modules=[StaticEmbedding(tiny_model().tokenizer, embedding_dim=8)], device="cpu")
    with pytest.raises(RecipeError, match=r"no layers are found in this model, which has backbone; write .*patterns"):
        find_frozen(find_layers(model), FreezeSection(layers=1))


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> tuple[SentenceTransformer, int]:
    config, blocks = FAMILIES[request.param]
    modules = [Backbone(config), Pooling(16), Dense(16, 8)]
    return SentenceTransformer(modules=modules, device="cpu"), blocks


def test_frozen_layers_of_every_family_have_no_gradient_and_no_dropout(family: tuple[SentenceTransformer, int]) -> None:
    model, blocks = family
    rows = find_layers(model)
    frozen = find_frozen(rows, FreezeSection(layers=min(2, blocks)))
    names = frozen.names(rows)
    ids = torch.randint(5, 40, (2, 6), generator=torch.Generator().manual_seed(0))
    lowest = model.get_submodule(rows.blocks[frozen.blocks - 1].path)
    seen: list[torch.Tensor] = []
    lowest.register_forward_hook(lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else out))
    backbone = model[0].model
    for module in model.modules():  # dropout of every kind, so that what keeps it would show
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    with held(model, names):
        model.train()
        outs = [backbone(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state for _ in range(2)]
        if blocks > frozen.blocks:
            outs[0].pow(2).sum().backward()
        trained = {name for name, p in model.named_parameters() if p.grad is not None}
    passes = seen[: len(seen) // 2], seen[len(seen) // 2 :]  # ALBERT runs its block several times in one
    assert all(torch.equal(first, second) for first, second in zip(*passes, strict=True))
    assert not trained & names
    assert bool(trained) == (blocks > frozen.blocks)
    assert all(p.requires_grad for p in model.parameters())
    model.train()
    assert all(module.training for module in model.modules())
    assert not any("train" in vars(module) for module in model.modules())


def test_what_needed_no_gradient_before_needs_none_afterwards(tiny_model: Load) -> None:
    model = tiny_model()
    weight = model[0].model.embeddings.word_embeddings.weight
    weight.requires_grad_(False)
    rows = find_layers(model)
    with pytest.raises(KeyError), held(model, Frozen(1, embeddings=True).names(rows)):
        raise KeyError
    assert not weight.requires_grad
    assert sum(not p.requires_grad for p in model.parameters()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_on_the_fast_path_of_every_family_frozen_layers_have_no_dropout_and_the_others_learn(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = build(name, tmp_path_factory.mktemp("families"))
    rows = find_layers(model)
    one_block = len(rows.blocks) == 1  # ALBERT's only block is run twice
    frozen = find_frozen(rows, FreezeSection(layers=0 if one_block else "all but 1"))
    names = frozen.names(rows)
    for path, module in model.named_modules():  # dropout where all around it is frozen
        if isinstance(module, nn.Dropout):
            around = path.rpartition(".")[0]
            beside = {f"{around}.{key}" for key, _ in model.get_submodule(around).named_parameters()}
            module.p = 0.5 if beside and beside <= names else 0.0
    et.pack(model)
    features = model.preprocess(["a short text", "how can i repair the car before winter", "you mend it"])
    with held(model, names):
        model.train()
        first, second = (model(dict(features))["sentence_embedding"] for _ in range(2))
        assert torch.equal(first, second)
        first.square().sum().backward()
        learning = {key for key, p in model.named_parameters() if p.grad is not None}
    assert learning
    assert not learning & names
