"""The model that is trained, where it is smaller than the one that came: fewer blocks, shorter vectors.

Nothing is thrown away before the baseline is measured: inside `whole` the model is the one that came, for the baseline,
for mining and for a guide. So everything else can be planned on the model as it will be trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from embertune.data.hashing import keys, mix
from embertune.data.prepared import Prepared
from embertune.errors import ModelError
from embertune.model.cut import Cut, make_cut
from embertune.model.encode import Encode, Floats
from embertune.model.layers import find_layers
from embertune.model.project import Head, components, make_head
from embertune.recipe import Recipe
from embertune.recipe.smaller import MATRYOSHKA

#: Training texts whose vectors decide what a head begins as.
TEXTS = 10_000


@dataclass(frozen=True)
class Size:
    """How large a model is; `blocks` None where none can be told apart."""

    parameters: int
    blocks: int | None
    dimensions: int | None

    def __str__(self) -> str:
        blocks = () if self.blocks is None else (f"{self.blocks} block{'s' * (self.blocks != 1)}",)
        return ", ".join((*blocks, f"{self.parameters / 1e6:.3g} M parameters", f"{self.dimensions} dimensions"))


def size_of(model: SentenceTransformer) -> Size:
    """The model's size as it stands."""
    table = find_layers(model)
    return Size(table.count, len(table.blocks) or None, model.get_embedding_dimension())


@dataclass(frozen=True)
class Smaller:
    """What makes a model smaller, in place; false where nothing does.

    `lengths`, longest first, are those to which its vectors can be cut off besides, as `train.matryoshka` has it.
    """

    model: SentenceTransformer
    cut: Cut | None = None
    head: Head | None = None
    lengths: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.cut is not None or self.head is not None

    def shrink(self) -> None:
        """Make the model smaller, in place; a new head says nothing before `begin`."""
        if self.cut is not None:
            self.cut.take_out()
        if self.head is not None:
            self.head.put_in()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, the model has the blocks and vectors it came with; only before it is trained is that the same."""
        if self.cut is not None:
            self.cut.put_back()
        if self.head is not None:
            self.head.take_out()
        try:
            yield
        finally:
            self.shrink()

    def as_whole(self, encode: Encode) -> Encode:
        """`encode`, which embeds with this model, done with the whole of it."""

        def with_all(texts: Sequence[str], role: str) -> Floats:
            with self.whole():
                return encode(texts, role)

        return with_all

    def begin(self, train: Prepared, encode: Encode, seed: int) -> None:
        """Let a new head begin as the first principal components of training texts' vectors, in place."""
        if self.head is None:
            return
        self.head.take_out()
        try:
            vectors = np.concatenate([encode(texts, column) for column, texts in some_texts(train, TEXTS, seed)])
        finally:
            self.head.put_in()
        self.head.begin_as(components(vectors, self.head.layer.out_features))

    def record(self) -> dict[str, Any]:
        """The sizes before and after, ready for JSON; the same twice where nothing makes the model smaller."""
        with self.whole():
            before = size_of(self.model)
        return {"baseline": asdict(before), "tuned": asdict(size_of(self.model))}

    def notes(self) -> tuple[str, ...]:
        """What people should know of it."""
        if not self:
            return ()
        with self.whole():
            before = size_of(self.model)
        told = [f"the model is made smaller before training, from {before} to {size_of(self.model)}"]
        if self.cut is not None:
            told.append(f"of blocks 0 to {len(self.cut.blocks) - 1} stay {', '.join(map(str, self.cut.kept))}")
        return ("; ".join([*told, "the baseline is the whole model as it came"]),)


def make_smaller(model: SentenceTransformer, recipe: Recipe) -> Smaller:
    """What `recipe` asks for; nothing is changed yet. Raises ModelError for what cannot be."""
    section = recipe.model
    layers, cut, head = section.layers, None, None
    if layers is not None:
        assert layers.keep is not None
        cut = make_cut(model, layers.keep, layers.choose)
    if section.dimensions is not None:
        head = make_head(model, section.dimensions)
    nested = lengths_of(recipe, model)[0]
    return Smaller(model, cut, head, tuple(nested[MATRYOSHKA]["dimensions"][1:]) if nested else ())


def some_texts(train: Prepared, most: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    """At most so many distinct training texts, chosen by hash, column by column."""
    firsts = [np.unique(keys(train.rows, column), return_index=True) for column in train.text_columns]
    chance = np.concatenate([mix(found, seed, "components") for found, _ in firsts])
    limit = np.sort(chance)[: most + 1][-1] if len(chance) > most else None
    for column, (found, rows) in zip(train.text_columns, firsts, strict=True):
        chosen = rows if limit is None else rows[mix(found, seed, "components") < limit]
        if len(chosen):
            yield column, list(train.rows.select(np.sort(chosen))[column])


def lengths_asked(recipe: Recipe) -> tuple[int, ...]:
    """The lengths that `train.matryoshka` names, the whole one among them or not."""
    section = recipe.train.matryoshka
    return () if section is None else section.dimensions


def lengths_of(recipe: Recipe, model: SentenceTransformer) -> tuple[dict[str, Any], dict[str, str]]:
    """`train.matryoshka` with the whole length in it, longest first, and why; nothing where it is not asked for.

    Raises ModelError for lengths that the model's vectors do not have.
    """
    section = recipe.train.matryoshka
    if section is None:
        return {}, {}
    if model.truncate_dim is not None:
        found = f"the model cuts its vectors off after {model.truncate_dim} numbers"
        raise ModelError(MATRYOSHKA, found, "set its truncate_dim to None, or leave this out")
    whole = int(recipe.model.dimensions or model.get_embedding_dimension() or 0)
    if max(section.dimensions) > whole:
        found = f"found {max(section.dimensions)}, and the model's vectors have {whole}"
        raise ModelError(f"{MATRYOSHKA}.dimensions", found, f"write at most {whole}")
    if section.dimensions == (whole,):
        raise ModelError(MATRYOSHKA, f"found {whole} alone, the whole vector", "write shorter lengths, or null")
    weights = dict(zip(section.dimensions, section.weights or (1.0,) * len(section.dimensions), strict=True))
    added = whole not in weights
    ordered = sorted({whole: 1.0, **weights}.items(), reverse=True)
    leaf = {"dimensions": [length for length, _ in ordered], "weights": [weight for _, weight in ordered]}
    why = f"the whole length, {whole}, is added" if added else ""
    return {MATRYOSHKA: leaf}, {MATRYOSHKA: why}
