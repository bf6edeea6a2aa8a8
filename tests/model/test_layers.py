"""Every family's layers are found from below upward, and every parameter is in exactly one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding

from embertune.model.layers import find_layers

Load = Callable[[], SentenceTransformer]

SIZE = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
DECODER = SIZE | {"num_key_value_heads": 1, "head_dim": 8}

#: Configurations of three blocks each, and how many blocks with parameters of their own are there.
FAMILIES: dict[str, tuple[transformers.PreTrainedConfig, int]] = {
    "bert": (transformers.BertConfig(**SIZE), 3),
    "roberta": (transformers.RobertaConfig(**SIZE), 3),
    "xlm-roberta": (transformers.XLMRobertaConfig(**SIZE), 3),
    "distilbert": (transformers.DistilBertConfig(vocab_size=40, dim=16, n_layers=3, n_heads=2, hidden_dim=24), 3),
    "mpnet": (transformers.MPNetConfig(**SIZE), 3),
    "electra": (transformers.ElectraConfig(**SIZE, embedding_size=8), 3),
    "albert": (transformers.AlbertConfig(**SIZE, embedding_size=8), 1),
    "deberta-v2": (transformers.DebertaV2Config(**SIZE, relative_attention=True, norm_rel_ebd="layer_norm"), 3),
    "modernbert": (transformers.ModernBertConfig(**SIZE, **TOKENS), 3),
    "nomic-bert": (transformers.NomicBertConfig(**SIZE), 3),
    "eurobert": (transformers.EuroBertConfig(**DECODER, **TOKENS), 3),
    "qwen3": (transformers.Qwen3Config(**DECODER), 3),
    "gemma3": (transformers.Gemma3TextConfig(**DECODER), 3),
}


class Backbone(Transformer):
    """The host's first module around a model made from a configuration, without a tokenizer or a file."""

    def __init__(self, config: transformers.PreTrainedConfig) -> None:
        super(Transformer, self).__init__()
        self.model = transformers.AutoModel.from_config(config)

    @property
    def tokenizer(self) -> None:
        return None


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> tuple[SentenceTransformer, int]:
    config, blocks = FAMILIES[request.param]
    modules = [Backbone(config), Pooling(16), Dense(16, 8)]
    return SentenceTransformer(modules=modules, device="cpu"), blocks


def test_every_parameter_is_in_exactly_one_layer(family: tuple[SentenceTransformer, int]) -> None:
    model, _ = family
    table = find_layers(model)
    named = [name for layer in table.layers for name in layer.parameters]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    assert table.count == sum(parameter.numel() for parameter in model.parameters())


def test_blocks_stand_between_embeddings_and_heads(family: tuple[SentenceTransformer, int]) -> None:
    model, blocks = family
    table = find_layers(model)
    kinds = [layer.kind for layer in table.layers]
    assert kinds[: blocks + 1] == ["embeddings", *["block"] * blocks]
    assert kinds[-1] == "head"
    assert "head" not in kinds[:-1]
    assert len({layer.count for layer in table.blocks[1:]}) <= 1  # ModernBERT's first has one norm fewer


def test_what_every_block_reads_is_at_the_bottom_and_what_reads_them_at_the_top(
    family: tuple[SentenceTransformer, int],
) -> None:
    model, _ = family
    table = find_layers(model)
    inner = model[0].model.named_parameters
    words = next(name for name, parameter in inner() if parameter.shape[0] == 40)
    assert any(name.endswith(words) for name in table.layers[0].parameters)
    top = [name for layer in table.layers if layer.kind == "top" for name in layer.parameters]
    assert all("pooler" in name or "norm" in name for name in top)
    assert not any("rel" in name.lower() for name in top)


def test_a_shared_block_says_how_often_it_is_run() -> None:
    model = SentenceTransformer(modules=[Backbone(FAMILIES["albert"][0]), Pooling(16)], device="cpu")
    assert [layer.repeated for layer in find_layers(model).blocks] == [3]


def test_a_path_leads_to_the_module(tiny_mpnet_path: Path) -> None:
    model = SentenceTransformer(str(tiny_mpnet_path), device="cpu", local_files_only=True)
    for i, layer in enumerate(find_layers(model).blocks):
        assert model.get_submodule(layer.path) is model[0].model.encoder.layer[i]


def test_a_model_without_blocks_is_one_row(tiny_model: Load) -> None:
    tokenizer = tiny_model().tokenizer
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    assert [(layer.kind, layer.count) for layer in find_layers(model).layers] == [("backbone", len(tokenizer) * 8)]
