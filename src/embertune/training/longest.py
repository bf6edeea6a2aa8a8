"""The rows that decide over memory where negatives are mined anew: no later negative is longer than theirs."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator, Mapping

import numpy as np
from datasets import Dataset

from embertune.data.prepared import Prepared
from embertune.data.store import BATCH, batches
from embertune.recipe import Recipe
from embertune.training.weigh import Lengths, counts_of


def with_longest(train: Prepared, recipe: Recipe, prompts: Mapping[str, str], lengths: Lengths) -> Prepared:
    """The longest rows of `train`, with the longest texts that may be mined for them; `train` itself if none will be.

    One batch of rows, and the row with the longest text of each column. What may be mined are the positives, the
    negatives and the corpus; each text stands once as long as there are others.
    """
    section, size = recipe.data.negatives, recipe.train.batch_size
    if section is None or section.every is None:
        return train
    assert isinstance(size, int)
    own, mined = train.text_columns[: -section.num_negatives], train.text_columns[-section.num_negatives :]
    tokens = np.stack([counts_of(train, name, prompts.get(name, ""), lengths) for name in own], axis=1)
    order = np.argsort(-tokens.sum(axis=1), kind="stable")
    rows = list(dict.fromkeys([*order[:size].tolist(), *tokens.argmax(axis=0).tolist()]))
    texts = _longest(train, len(rows) * len(mined), prompts.get(mined[0], ""), lengths)
    filled = {
        name: [texts[(place * len(mined) + n) % len(texts)] for place in range(len(rows))]
        for n, name in enumerate(mined)
    }
    table = train.rows.select(rows)
    kept = {name: list(table[name]) for name in (*own, "group")}
    return dataclasses.replace(train, rows=Dataset.from_dict({**kept, **filled}))


def _longest(train: Prepared, count: int, prompt: str, lengths: Lengths) -> list[str]:
    """The longest distinct texts that may be mined, at most `count`, longest first."""
    best: dict[str, int] = {}
    for piece in _pool(train):
        texts = list(dict.fromkeys(piece))
        best.update(zip(texts, lengths(texts, prompt).tolist(), strict=True))
        best = dict(heapq.nlargest(count, best.items(), key=lambda item: item[1]))
    return list(best)


def _pool(train: Prepared) -> Iterator[list[str]]:
    """All that may be mined, a piece at a time."""
    for column in train.text_columns[1:]:
        for piece in batches(train.rows, column):
            yield piece.to_pylist()
    documents = train.corpus.texts if train.corpus else ()
    for start in range(0, len(documents), BATCH):
        yield list(documents[start : start + BATCH])
