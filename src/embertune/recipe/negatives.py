"""The leaf `data.negatives`: which texts join the rows as hard negatives; most names are sentence-transformers' own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from embertune.errors import Problem
from embertune.recipe.section import Section, leaf

WHERE = "data.negatives"


class NegativesSection(Section):
    """Hard negatives, mined among the texts that answer other rows."""

    model: str | None = leaf(
        None, "the model whose similarities decide; null takes the model to be trained", "null, a folder or a Hub id"
    )
    num_negatives: Annotated[int, Field(ge=1)] = leaf(
        1, "negatives that join every row, random ones included", "a whole number of at least 1"
    )
    range_min: Annotated[int, Field(ge=0)] = leaf(
        0, "so many of an anchor's nearest candidates are passed over", "a whole number of at least 0"
    )
    range_max: Annotated[int, Field(ge=1)] = leaf(
        100, "the rank of a candidate, counted without known positives, is below this", "a whole number of at least 1"
    )
    relative_margin: Annotated[float, Field(ge=0, le=1)] | None = leaf(
        0.05,
        "how far below the positive a negative must score, as a share of the positive's score",
        "null or a share from 0 to 1",
    )
    absolute_margin: Annotated[float, Field(ge=0, le=2)] | None = leaf(
        None, "how far below the positive a negative must score, in cosine", "null or a number from 0 to 2"
    )
    max_score: Annotated[float, Field(ge=-1, le=1)] | None = leaf(
        None, "the highest cosine that a negative may have with its anchor", "null or a number from -1 to 1"
    )
    random: Annotated[int, Field(ge=0)] = leaf(
        0, "how many of num_negatives are drawn by hash instead of mined", "a whole number below num_negatives"
    )
    every: Annotated[int, Field(ge=1)] | None = leaf(
        None,
        "mine anew after so many passes, with the model as it stands; the rows stay, their mined negatives change",
        "null or a whole number of passes, fewer than there are",
    )


def problems_of_negatives(section: NegativesSection | None, guide: str | None = None) -> Iterator[Problem]:
    """What cannot be in the section together, or beside `train.guide`."""
    if section is None:
        return
    if section.every is not None and guide is not None:
        found = f"found {section.every} next to train.guide, which knows the texts of the first pass only"
        yield Problem(f"{WHERE}.every", found, "leave one of them out")
    if section.random >= section.num_negatives:
        found = f"found {section.random} of {section.num_negatives} negatives, which leaves none to mine"
        yield Problem(f"{WHERE}.random", found, "write fewer, or more num_negatives")
    window = section.range_max - section.range_min
    if window < section.num_negatives - section.random:
        found = f"found {section.range_max}, which leaves {max(0, window)} ranks behind range_min: {section.range_min}"
        yield Problem(f"{WHERE}.range_max", found, f"write {section.range_min + section.num_negatives} or more")
