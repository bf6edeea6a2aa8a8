"""The leaf `data.augment`: which changed copies of training rows join them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from embertune.errors import Problem
from embertune.recipe.section import AS_TUPLE, Section, leaf

WHERE = "data.augment"
#: The ways to change a text, in the order in which rows take turns at them.
METHODS = ("delete", "swap", "synonyms", "translate")

Rate = Annotated[float, Field(gt=0, le=1)]
_A_RATE = "null, or a rate above 0 and at most 1, such as 0.1"


def _rising(band: tuple[float, float]) -> tuple[float, float]:
    if not -1 <= band[0] < band[1] <= 1:
        raise ValueError("needs two numbers from -1 to 1, the lower one first")
    return band


Band = Annotated[tuple[float, float], AS_TUPLE, AfterValidator(_rising)]
Columns = Annotated[tuple[str, ...], AS_TUPLE, Field(min_length=1)]


class TranslateSection(Section):
    """Two translation models for transformers: into another language, and back."""

    there: str | None = leaf(None, "the model that translates into another language", "a local folder or a Hub id")
    back: str | None = leaf(None, "the model that translates back", "a local folder or a Hub id")


class AugmentSection(Section):
    """Copies of training rows with changed texts; the rows themselves stay, and so do group and label of a copy."""

    delete: Rate | None = leaf(None, "leave words out: the chance of each word, at least one a text", _A_RATE)
    swap: Rate | None = leaf(None, "swap neighbouring words: the chance of each pair, at least one a text", _A_RATE)
    synonyms: Rate | None = leaf(
        None, "put synonyms (English): the chance of each word that has some, at least one a text", _A_RATE
    )
    thesaurus: str | None = leaf(
        None,
        "where synonyms come from",
        "null, a file of lemma, pos and synonyms, or wordnet for one that the package wn has installed",
    )
    translate: TranslateSection | None = leaf(
        None, "translate into another language and back", "null or a mapping {there: MODEL, back: MODEL}"
    )
    columns: Literal["auto"] | Columns = leaf(
        "auto",
        "the texts that are changed; auto takes the first of the row",
        "auto or a list of roles such as [anchor]",
    )
    copies: Annotated[int, Field(ge=1)] = leaf(
        1, "changed copies of each row; with several methods, rows take turns", "a whole number of at least 1"
    )
    keep: Band | None = leaf(
        None,
        "keep a copy only where its text is so alike to the original, in cosine under the model to be trained",
        "null or two numbers such as [0.8, 0.99]",
    )


def methods_of(section: AugmentSection) -> tuple[str, ...]:
    """The methods that the section names, in their order."""
    return tuple(name for name in METHODS if getattr(section, name) is not None)


def problems_of_augment(section: AugmentSection | None) -> Iterator[Problem]:
    """What cannot be in the section together."""
    if section is None:
        return
    if not methods_of(section):
        yield Problem(WHERE, "names no way to change a text", f"write one of {', '.join(METHODS)}, or null")
    if section.synonyms is not None and section.thesaurus is None:
        yield Problem(f"{WHERE}.thesaurus", "found null with synonyms", "name a file of synonyms, or write wordnet")
    if section.thesaurus is not None and section.synonyms is None:
        yield Problem(f"{WHERE}.thesaurus", "has no effect without synonyms", "leave it out, or write synonyms: 0.1")
    for name in ("there", "back"):
        if section.translate is not None and getattr(section.translate, name) is None:
            yield Problem(f"{WHERE}.translate.{name}", "names no model", "write a local folder or a Hub id")
