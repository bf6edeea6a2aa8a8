"""Leaves about what the model is made of: its dropout, fewer blocks, shorter vectors, and vectors that can be cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from embertune.errors import Problem
from embertune.recipe.losses import LOSSES, LossName
from embertune.recipe.section import AS_TUPLE, Section, leaf

LAYERS, DIMENSIONS, MATRYOSHKA = "model.layers", "model.dimensions", "train.matryoshka"

#: What is set to zero: activations between layers, attention weights, or what enters the first block.
DropoutKind = Literal["hidden", "attention", "embedding"]
Rate = Annotated[float, Field(ge=0, lt=1)]
Rates = Annotated[Mapping[DropoutKind, Rate], Field(min_length=1)]
Choice = Literal["spread", "first"]


class LayersSection(Section):
    """Which blocks of the backbone stay."""

    keep: Annotated[int, Field(ge=1)] | None = leaf(None, "how many blocks stay", "a whole number of at least 1")
    choose: Choice = leaf(
        "spread",
        "which: evenly spread ones, the first and the last among them, or the first ones from below",
        "spread or first",
    )


class MatryoshkaSection(Section):
    """The lengths to which vectors can be cut off."""

    dimensions: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AS_TUPLE] = leaf(
        (), "lengths of vectors; the whole one is added if it is not among them", "a list such as [256, 128, 64]"
    )
    weights: Annotated[tuple[Annotated[float, Field(gt=0)], ...] | None, AS_TUPLE] = leaf(
        None, "what the loss of each length is multiplied by; null counts all alike", "null or a list of as many"
    )


def _as_layers(value: Any) -> Any:
    return {"keep": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _as_matryoshka(value: Any) -> Any:
    return {"dimensions": value} if isinstance(value, list | tuple) else value


#: A bare number is how many blocks stay, a bare list the lengths.
Layers = Annotated[LayersSection | None, BeforeValidator(_as_layers)]
Matryoshka = Annotated[MatryoshkaSection | None, BeforeValidator(_as_matryoshka)]


def problems_of_smaller(
    layers: LayersSection | None,
    dimensions: int | None,
    matryoshka: MatryoshkaSection | None,
    loss: LossName | Literal["auto"],
) -> Iterator[Problem]:
    """What these leaves cannot be together, before the model is known."""
    if layers is not None and layers.keep is None:
        yield Problem(f"{LAYERS}.keep", "found null", "write how many blocks stay, or model.layers: null")
    if matryoshka is None:
        return
    lengths, weights = matryoshka.dimensions, matryoshka.weights
    if not lengths or len(set(lengths)) < len(lengths):
        found = "names no length" if not lengths else "names a length twice"
        yield Problem(f"{MATRYOSHKA}.dimensions", found, "write each once, such as [256, 128, 64]")
    if weights is not None and len(weights) != len(lengths):
        found = f"found {len(weights)} weights for {len(lengths)} lengths"
        yield Problem(f"{MATRYOSHKA}.weights", found, f"write {len(lengths)}, or null")
    if dimensions is not None and max(lengths, default=0) > dimensions:
        found = f"found {max(lengths)}, and {DIMENSIONS} is {dimensions}"
        yield Problem(f"{MATRYOSHKA}.dimensions", found, f"write at most {dimensions}")
    if loss != "auto" and LOSSES[loss].fixed_length:
        found = f"{loss} has weights of its own for vectors of one length only"
        yield Problem(MATRYOSHKA, found, "leave it out, or name another loss")
