"""Scoring a model on a set: encode every distinct text once, then measure; per-item values are kept for the proof."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embertune.data.prepared import ShapeName
from embertune.errors import ModelError
from embertune.evaluate.evalset import EvalSet, FloatArray, IntArray
from embertune.evaluate.metrics import EVALUATORS, Measured
from embertune.evaluate.sight import Shown, Sight, look_at
from embertune.evaluate.similarity import SimilarityName, Vectors, check_names
from embertune.evaluate.statistic import Statistic, mean_of

#: texts and their role (a canonical column name) -> embeddings (n, d) float32. Documents have the role `positive`,
#: queries `anchor`, every negative `negative`; which prompt a role has is the encoder's business.
Encode = Callable[[Sequence[str], str], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Scores:
    """What one model reaches on one set. Metric names are full: `nli-test_cosine_accuracy`.

    `values` has every metric, thresholds included; NaN where one is undefined. `items` has those that are means of
    per-item values, (items,) each, whose mean is the metric; `resample` what is needed to work out the others on any
    resample. `thresholds` are named without the set (`cosine_accuracy_threshold`), ready to be given for another set.
    `seconds` is what encoding took, for a thousand texts; `sight` what was seen where somebody wanted to look.
    """

    name: str
    shape: ShapeName
    values: dict[str, float]
    items: dict[str, FloatArray]
    resample: dict[str, Statistic]
    groups: IntArray
    thresholds: dict[str, float]
    headline: str
    seconds: float | None = None
    sight: Sight | None = None

    def __len__(self) -> int:
        """The number of items."""
        return len(self.groups)

    @property
    def comparable(self) -> tuple[str, ...]:
        """The metrics that can be resampled: all but thresholds, in the order of `values`."""
        return tuple(metric for metric in self.values if metric in self.items or metric in self.resample)

    def statistic(self, metric: str) -> Statistic:
        """The metric in the form that can be resampled. Raises KeyError for thresholds and unknown names."""
        return mean_of(self.items[metric]) if metric in self.items else self.resample[metric]


def score(
    encode: Encode,
    evalset: EvalSet,
    similarities: Sequence[SimilarityName],
    thresholds: Mapping[str, float] | None = None,
    shown: Shown | None = None,
) -> Scores:
    """Measure a model on a set under each similarity; the first of them is that of the headline.

    `thresholds`, from the Scores of dev, are used for labelled pairs; those not given are fitted on the set itself.
    Items of the set are looked at, while their vectors are there, where `shown` is about it.
    Raises ModelError where the encoder gives anything but finite rows, one per text.
    """
    check_names(similarities)
    evaluator = EVALUATORS[evalset.shape]
    began = time.perf_counter()
    embeddings = {role: _encoded(encode, texts, role, evalset.name) for role, texts in evalset.texts.items()}
    seconds = 1000 * (time.perf_counter() - began) / evalset.texts_to_encode
    measured = evaluator.measure(embeddings, evalset, similarities, thresholds or {})
    prefix = f"{evalset.name}_"
    return Scores(
        name=evalset.name,
        shape=evalset.shape,
        values={prefix + metric: value for metric, value in _values(measured).items()},
        items={prefix + metric: items for metric, items in measured.items.items()},
        resample={prefix + metric: one for metric, one in measured.statistics.items() if metric not in measured.items},
        groups=evalset.groups,
        thresholds=measured.thresholds,
        headline=headline(evalset.name, evalset.shape, similarities[0]),
        seconds=seconds,
        sight=look_at(embeddings, shown) if shown and shown.evalset.name == evalset.name else None,
    )


def headline(name: str, shape: ShapeName, similarity: SimilarityName) -> str:
    """The full name of the metric that a set of this shape is judged by: `nli-test_cosine_accuracy`."""
    return f"{name}_{EVALUATORS[shape].headline.format(similarity=similarity)}"


def _values(measured: Measured) -> dict[str, float]:
    """All metrics: a mean is that of its items to the last bit."""
    values = {
        metric: float(measured.items[metric].mean()) if metric in measured.items else one.value()
        for metric, one in measured.statistics.items()
    }
    return values | measured.thresholds


def _encoded(encode: Encode, texts: tuple[str, ...], role: str, name: str) -> Vectors:
    if not texts:
        return np.empty((0, 1), dtype=np.float32)
    vectors = np.asarray(encode(texts, role), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ModelError(
            name,
            f"{len(texts)} texts gave embeddings of shape {vectors.shape}",
            "the model must give one vector per text",
        )
    broken = int((~np.isfinite(vectors)).any(axis=1).sum())
    if broken:
        raise ModelError(
            name,
            f"{broken} of {len(texts)} embeddings hold NaN or infinity",
            "lower train.learning_rate, or start from a model whose weights are finite",
        )
    return vectors
