"""The leaf `data.nli`: how NLI rows become triplets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from embertune.recipe.section import Section, leaf


class NliSection(Section):
    """How NLI rows become triplets (premise, entailed, contradicting)."""

    max_per_premise: Annotated[int, Field(ge=1)] | None = leaf(
        None, "the most triplets made from one premise; null takes them all", "null or a whole number of at least 1"
    )
    neutral: bool = leaf(False, "add a neutral hypothesis of the premise as a second, weaker negative", "true or false")
    keep_pairs: bool = leaf(
        False,
        "keep premises without a contradiction, with another premise's hypothesis as the negative",
        "true or false",
    )
