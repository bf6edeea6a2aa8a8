"""Rows out of few texts, and an encoder whose vectors are a hash of the text: quick, and the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from embertune.data.groups import groups_of
from embertune.data.hashing import key
from embertune.data.prepared import Corpus, Prepared
from embertune.mining.search import Floats
from embertune.model.encode import Encode

DIMENSIONS = 6


def vector(text: str) -> Floats:
    """A direction that the text alone decides, case and white space aside."""
    made = np.random.default_rng(abs(key(text.casefold()))).standard_normal(DIMENSIONS)
    return made.astype(np.float32)


def encode(texts: Sequence[str], role: str) -> Floats:
    """What an encoder gives; the role has no effect."""
    return np.array([vector(text) for text in texts], dtype=np.float32).reshape(len(texts), DIMENSIONS)


def encode_by(table: Mapping[str, Sequence[float]]) -> Encode:
    """An encoder that looks vectors up."""
    return lambda texts, role: np.array([table[text] for text in texts], dtype=np.float32)


def rows(shape: Any, columns: Mapping[str, Sequence[str]], corpus: Sequence[str] = ()) -> Prepared:
    """Prepared rows with the groups of their shape, and documents beside them."""
    table = Dataset.from_dict({name: list(values) for name, values in columns.items()})
    groups, rule, _ = groups_of(shape, table)
    documents = Corpus(tuple(str(n) for n in range(len(corpus))), tuple(corpus)) if corpus else None
    return Prepared("made", shape, table.add_column("group", groups), group=rule, corpus=documents)
