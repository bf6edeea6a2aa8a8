"""Random embeddings for made-up texts, and a stand-in model through which the host's evaluators see the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from embertune.data.prepared import Corpus, Prepared, ShapeName
from embertune.evaluate.score import Scores
from embertune.evaluate.similarity import Vectors


class Table:
    """A text's embedding is drawn once, from the text itself; `known` overrides some. Counts what it is asked for."""

    def __init__(self, seed: int = 0, width: int = 16, known: dict[str, Vectors] | None = None) -> None:
        self.seed, self.width, self.known = seed, width, dict(known or {})
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, texts: Sequence[str], role: str) -> Vectors:
        self.asked.append((role, tuple(texts)))
        return np.stack([self.of(text) for text in texts])

    def of(self, text: str) -> Vectors:
        if text not in self.known:
            generator = np.random.default_rng([self.seed, *text.encode()])
            self.known[text] = (generator.normal(size=self.width) * generator.uniform(0.5, 2)).astype(np.float32)
        return self.known[text]


class HostModel:
    """As much of a SentenceTransformer as the host's evaluators touch."""

    similarity_fn_name = "cosine"

    def __init__(self, table: Table) -> None:
        self.table = table
        self.model_card_data = self

    def set_evaluation_metrics(self, *_: Any) -> None:
        pass

    def encode(self, sentences: Sequence[str], convert_to_tensor: bool = False, **_: Any) -> Any:
        vectors = self.table(list(sentences), "host")
        return torch.from_numpy(vectors) if convert_to_tensor else vectors

    encode_query = encode_document = encode


def prepared(shape: ShapeName, columns: dict[str, list[Any]], **more: Any) -> Prepared:
    """Rows of a shape; each its own group unless `group` is given."""
    rows = len(next(iter(columns.values())))
    return Prepared("made up", shape, Dataset.from_dict({"group": list(range(rows)), **columns}), **more)


def corpus(texts: Sequence[str]) -> Corpus:
    return Corpus(tuple(f"d{i:05d}" for i in range(len(texts))), tuple(texts))


def mean_scores(items: Any, groups: Any = None, metric: str = "t_cosine_accuracy") -> Scores:
    """Scores of one metric that is a mean of items."""
    values = np.asarray(items, dtype=np.float64)
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    return Scores("t", "triplets", {metric: float(values.mean())}, {metric: values}, {}, names, {}, metric)
