"""What other similarity functions say of the same change, where that is something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.proof import Proof
from embertune.evaluate.sight import Shown
from embertune.evaluate.similarity import SimilarityName
from embertune.report.numbers import signed

NAMES = {
    "cosine": "cosine",
    "dot": "dot product",
    "manhattan": "Manhattan distance",
    "euclidean": "Euclidean distance",
}


def disagreeing(proof: Proof, shown: Shown, similarities: Sequence[SimilarityName]) -> tuple[str, ...]:
    """A sentence for each similarity function under which the primary metric tells another story.

    That is a change in the other direction, or one that is clear for one of the two only, and which lies outside the
    interval that the primary one has: intervals that end a little to this or that side of zero are no disagreement.
    """
    primary = proof.change.get(shown.metric)
    if primary is None or shown.similarity not in shown.metric.removeprefix(shown.name):
        return ()
    return tuple(_sentences(proof, shown, primary, similarities))


def saved(shown: Shown | None, similarity: str) -> str:
    """Which function the saved model compares by, `similarity` by the name that the model has for it."""
    told = f"the saved model compares by {NAMES.get(similarity, similarity)}"
    if shown is None or shown.similarity == similarity:
        return told
    return f"{told}, while the verdict is about {NAMES[shown.similarity]}"


def _sentences(proof: Proof, shown: Shown, primary: Change, similarities: Sequence[SimilarityName]) -> Iterator[str]:
    label = shown.metric.removeprefix(f"{shown.name}_")
    for other in similarities:
        told = "_".join(other if word == shown.similarity else word for word in label.split("_"))
        change = proof.change.get(f"{shown.name}_{told}")
        if other == shown.similarity or change is None or change.says == primary.says:
            continue
        if not primary.low <= change.difference <= primary.high:
            yield (
                f"{NAMES[other]} says {change.says} ({_figures(change)}), where {NAMES[shown.similarity]} says "
                f"{primary.says} ({_figures(primary)})"
            )


def _figures(change: Change) -> str:
    return f"{signed(change.difference)}, between {signed(change.low)} and {signed(change.high)}"
