"""Test sets scored again with vectors cut off after so many numbers, from the same vectors: `nli-test-64`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from embertune.evaluate.evalset import EvalSet
from embertune.evaluate.score import Encode, Scores, score
from embertune.evaluate.sight import Shown
from embertune.evaluate.similarity import SimilarityName, Vectors


def at_length(evalset: EvalSet, length: int) -> EvalSet:
    """The same set under the name that its metrics have at this length of vectors."""
    return dataclasses.replace(evalset, name=f"{evalset.name}-{length}")


def once(encode: Encode) -> Encode:
    """`encode` that gives the vectors of the same tuple of texts again without encoding them; it holds them all."""
    kept: dict[tuple[int, str], tuple[Sequence[str], Vectors]] = {}

    def again(texts: Sequence[str], role: str) -> Vectors:
        if (id(texts), role) not in kept:
            kept[id(texts), role] = (texts, encode(texts, role))
        return kept[id(texts), role][1]

    return again


def scored_at(
    encode: Encode,
    evalset: EvalSet,
    similarities: Sequence[SimilarityName],
    length: int,
    thresholds: Mapping[str, float] | None = None,
    shown: Shown | None = None,
) -> Scores:
    """The set with vectors of that length, as `encode(truncate_dim=length)` gives them: not brought to length 1 again.

    Of `thresholds` those count that `named_at` gave for this length.
    """

    def short(texts: Sequence[str], role: str) -> Vectors:
        return encode(texts, role)[:, :length]

    mark = _mark(length)
    own = {name.removesuffix(mark): cut for name, cut in (thresholds or {}).items() if name.endswith(mark)}
    return score(short, at_length(evalset, length), similarities, own, shown)


def named_at(thresholds: Mapping[str, float], length: int) -> dict[str, float]:
    """Thresholds fitted at this length, named so that those of several lengths can stand together."""
    return {f"{name}{_mark(length)}": cut for name, cut in thresholds.items()}


def _mark(length: int) -> str:
    return f"@{length}"
