"""The cut between similar and not, as the host's BinaryClassificationEvaluator finds it, without its loop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embertune.evaluate.evalset import FloatArray
from embertune.evaluate.similarity import BY_NAME, SimilarityName, Vectors


def best_accuracy(similarity: Vectors, labels: FloatArray) -> float:
    """The cut with the highest accuracy; of equal ones the highest cut, and above everything where no cut helps.

    similarity (n,) float32, labels (n,) 0 or 1. A pair counts as similar where its similarity reaches the cut.
    """
    values, correct, taken = _by_cut(similarity, labels)
    negatives = len(labels) - labels.sum()
    accuracy = np.concatenate([[negatives], correct + negatives - (taken - correct)])
    best = int(np.argmax(accuracy))
    if best == 0:
        return float(np.nextafter(values[0], np.float32(np.inf)))
    return _between(values, best - 1)


def best_f1(similarity: Vectors, labels: FloatArray) -> float:
    """The cut with the highest F1; of equal ones the highest cut, and 0 where nothing is similar."""
    values, correct, taken = _by_cut(similarity, labels)
    precision, recall = correct / taken, correct / max(labels.sum(), 1)
    below = precision + recall
    f1 = np.divide(2 * precision * recall, below, out=np.zeros_like(below), where=below > 0)
    best = int(np.argmax(f1))
    return _between(values, best) if f1[best] > 0 else 0.0


def told(name: SimilarityName, cut: float) -> float:
    """A cut as people know it: a distance is positive. Its own inverse."""
    return -cut if BY_NAME[name].is_distance else cut


def predicted(similarity: Vectors, cut: float) -> FloatArray:
    """1 where a pair counts as similar: (n,)."""
    return (similarity >= np.float32(cut)).astype(np.float64)


def _by_cut(similarity: Vectors, labels: FloatArray) -> tuple[Vectors, FloatArray, npt.NDArray[np.int64]]:
    """The distinct similarities, highest first, and how many similar pairs and pairs in all reach each."""
    order = np.argsort(-similarity, kind="stable")
    ordered = similarity[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return ordered[ends], np.cumsum(labels[order])[ends], ends + 1


def _between(values: Vectors, place: int) -> float:
    """The middle between a value and the next lower one, never so low that it takes the next in."""
    if place == len(values) - 1:
        return float(values[place])
    middle = (values[place] + values[place + 1]) / np.float32(2)
    return float(values[place] if middle == values[place + 1] else middle)
