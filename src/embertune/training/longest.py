"""The rows that decide over memory where negatives are mined anew: no later negative is longer than theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from datasets import Dataset

from embertune.data.prepared import Prepared
from embertune.data.store import BATCH, batches
from embertune.recipe import Recipe
from embertune.training.weigh import Lengths, counts_of


def with_longest(train: Prepared, recipe: Recipe, prompts: Mapping[str, str], lengths: Lengths) -> Prepared:
    """The longest rows of `train`, each with the longest text that may be mined; `train` itself if none will be.

    One batch of rows, and the row with the longest text of each column. What may be mined are the positives, the
    negatives and the corpus, and nothing keeps one text from being mined for all rows of a batch.
    """
    section, size = recipe.data.negatives, recipe.train.batch_size
    if section is None or section.every is None:
        return train
    assert isinstance(size, int)
    own, mined = train.text_columns[: -section.num_negatives], train.text_columns[-section.num_negatives :]
    tokens = np.stack([counts_of(train, name, prompts.get(name, ""), lengths) for name in own], axis=1)
    order = np.argsort(-tokens.sum(axis=1), kind="stable")
    rows = list(dict.fromkeys([*order[:size].tolist(), *tokens.argmax(axis=0).tolist()]))
    longest = _longest(train, prompts.get(mined[0], ""), lengths)
    table = train.rows.select(rows)
    kept = {name: list(table[name]) for name in (*own, "group")}
    filled = {name: [longest] * len(rows) for name in mined}
    return dataclasses.replace(train, rows=Dataset.from_dict({**kept, **filled}))


def _longest(train: Prepared, prompt: str, lengths: Lengths) -> str:
    """The longest text that may be mined."""
    best, most = "", -1
    for piece in _pool(train):
        found = lengths(piece, prompt)
        if found.max() > most:
            best, most = piece[int(found.argmax())], int(found.max())
    return best


def _pool(train: Prepared) -> Iterator[list[str]]:
    """All that may be mined, a piece at a time."""
    for column in train.text_columns[1:]:
        for piece in batches(train.rows, column):
            yield piece.to_pylist()
    documents = train.corpus.texts if train.corpus else ()
    for start in range(0, len(documents), BATCH):
        yield list(documents[start : start + BATCH])
