"""What is trained on and encoded: real rows, from any folder with `nli/` and `squad/` in it.

`nli/` has files train and test with premise, hypothesis and label; `squad/` is a search collection in BEIR's layout.
Nothing of them is copied into the project.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from embertune.data.nli import NliSettings
from embertune.data.prepared import Prepared
from embertune.data.shapes import ShapeSettings, shape
from embertune.data.sources import read

#: Triplets of a whole epoch: at most three of each premise, and this many of them.
EPOCH, PER_PREMISE = 18_601, 3
TRIPLET, PAIR = ("anchor", "positive", "negative"), ("anchor", "positive")


@dataclass(frozen=True)
class Texts:
    """Where the rows are."""

    data: Path

    def triplets(self, count: int) -> Dataset:
        """So many triplets of NLI, drawn from all of them; columns anchor, positive, negative."""
        return _drawn(self._nli("train"), TRIPLET, count)

    def test_triplets(self) -> Dataset:
        """All triplets of the test split, on which a trained model is measured."""
        return self._nli("test").rows.select_columns(list(TRIPLET))

    def pairs(self, count: int) -> Dataset:
        """So many pairs of a question and the paragraph that answers it; columns anchor, positive."""
        return _drawn(shape(read(str(self.data / "squad")), "test"), PAIR, count)

    def short(self, count: int) -> list[str]:
        """Distinct sentences, about a dozen tokens each."""
        rows = self._nli("train").rows
        return _distinct((text for column in TRIPLET for text in rows[column]), count)

    def long(self, count: int) -> list[str]:
        """Distinct paragraphs, one to two hundred tokens each."""
        corpus = shape(read(str(self.data / "squad")), "test").corpus
        assert corpus is not None
        return _distinct(corpus.texts, count)

    def _nli(self, split: str) -> Prepared:
        return shape(read(str(self.data / "nli")), split, ShapeSettings(nli=NliSettings(max_per_premise=PER_PREMISE)))


def _drawn(prepared: Prepared, columns: tuple[str, ...], count: int) -> Dataset:
    """`count` rows in an order of their own, as plain values without the group."""
    order = random.Random(0).sample(range(len(prepared)), min(count, len(prepared)))
    return Dataset.from_dict(prepared.rows.select(order).select_columns(list(columns)).to_dict())


def _distinct(texts: object, count: int) -> list[str]:
    found = list(dict.fromkeys(texts))
    return random.Random(0).sample(found, min(count, len(found)))
