"""The table of evaluators, one row per shape, and their metrics, named as in the sentence-transformers evaluators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from embertune.data.prepared import ShapeName
from embertune.evaluate import thresholds as cuts
from embertune.evaluate.evalset import EvalSet, FloatArray
from embertune.evaluate.retrieval import MAP_AT, nearest, nearest_others, nearest_rows, ranking_items
from embertune.evaluate.similarity import SimilarityName, Vectors, pairwise
from embertune.evaluate.statistic import KindName, Statistic, mean_of


@dataclass
class Measured:
    """What a measuring function fills, under metric names without the set's name.

    `statistics` gives every metric that has a value of its own; `items` those that are means, per item (items,).
    `thresholds` are cuts, distances positive, as the host reports them.
    """

    statistics: dict[str, Statistic] = field(default_factory=dict)
    items: dict[str, FloatArray] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)

    def add_items(self, metric: str, items: FloatArray) -> None:
        self.items[metric] = items
        self.statistics[metric] = mean_of(items)

    def add(self, metric: str, kind: KindName, truth: FloatArray, values: FloatArray) -> None:
        self.statistics[metric] = Statistic(kind, truth, (values,))

    def add_largest(self, metric: str, parts: Sequence[str]) -> None:
        """`metric` is the largest of `parts`, where there are several, as the host has it."""
        if len(parts) > 1:
            told = [self.statistics[part] for part in parts]
            self.statistics[metric] = Statistic(told[0].kind, told[0].truth, tuple(one.parts[0] for one in told))


#: Embeddings by role, row i that of `EvalSet.texts[role][i]`.
Embeddings = Mapping[str, Vectors]
Measure = Callable[[Embeddings, EvalSet, Sequence[SimilarityName], Mapping[str, float]], Measured]


@dataclass(frozen=True)
class Evaluator:
    """How sets of one shape are measured, and what people are told about it.

    `headline` becomes a metric's name with a similarity put in; `measures` says what the headline is in plain words;
    `items` names the items. `gains` holds, for metrics whose items are won or lost, what happens to a won item, for
    one and for many, by the metric's name without its similarity. All metrics but thresholds are better when higher.
    """

    shape: ShapeName
    headline: str
    measure: Measure
    measures: str
    items: tuple[str, str]
    gains: Mapping[str, tuple[str, str]]
    summary: str


def _triplets(
    embeddings: Embeddings, evalset: EvalSet, similarities: Sequence[SimilarityName], _cuts: Mapping[str, float]
) -> Measured:
    """Accuracy: the positive is nearer than every negative, by however little; equal is not nearer."""
    out = Measured()
    anchor, positive, negative = (evalset.index[column] for column in ("anchor", "positive", "negative"))
    for name in similarities:
        near = pairwise(name, embeddings["anchor"], embeddings["positive"], (anchor, positive))
        won = np.ones(len(evalset), dtype=bool)
        for column in negative.T:
            there = np.flatnonzero(column >= 0)
            far = pairwise(name, embeddings["anchor"], embeddings["negative"], (anchor[there], column[there]))
            won[there] &= near[there] > far
        out.add_items(f"{name}_accuracy", won.astype(np.float64))
    out.add_largest("max_accuracy", [f"{name}_accuracy" for name in similarities])
    return out


def _retrieval(
    embeddings: Embeddings, evalset: EvalSet, similarities: Sequence[SimilarityName], _cuts: Mapping[str, float]
) -> Measured:
    out = Measured()
    assert evalset.relevant is not None
    queries, documents = embeddings["anchor"], embeddings["positive"]
    for name in similarities:
        found = nearest(name, queries, documents, MAP_AT)
        for metric, items in ranking_items(found, evalset.relevant).items():
            out.add_items(f"{name}_{metric}", items)
    return out


def _sentence_similarity(embeddings: Embeddings, evalset: EvalSet, name: SimilarityName) -> Vectors:
    at = (evalset.index["sentence1"], evalset.index["sentence2"])
    return pairwise(name, embeddings["sentence1"], embeddings["sentence2"], at)


def _target(evalset: EvalSet) -> FloatArray:
    assert evalset.target is not None
    return evalset.target


def _scored(
    embeddings: Embeddings, evalset: EvalSet, similarities: Sequence[SimilarityName], _cuts: Mapping[str, float]
) -> Measured:
    out = Measured()
    for name in similarities:
        values = _sentence_similarity(embeddings, evalset, name).astype(np.float64)
        out.add(f"pearson_{name}", "pearson", _target(evalset), values)
        out.add(f"spearman_{name}", "spearman", _target(evalset), values)
    for kind in ("pearson", "spearman"):
        out.add_largest(f"{kind}_max", [f"{kind}_{name}" for name in similarities])
    return out


_CONFUSION: Mapping[str, KindName] = {"f1": "f1", "precision": "precision", "recall": "recall", "mcc": "mcc"}


def _labelled(
    embeddings: Embeddings, evalset: EvalSet, similarities: Sequence[SimilarityName], given: Mapping[str, float]
) -> Measured:
    """Cuts that are not given are fitted on the set itself, as in the host; its `max_` of cuts is left out."""
    out = Measured()
    labels = _target(evalset)
    for name in similarities:
        values = _sentence_similarity(embeddings, evalset, name)
        for metric, fit in (("accuracy", cuts.best_accuracy), ("f1", cuts.best_f1)):
            key = f"{name}_{metric}_threshold"
            out.thresholds[key] = given[key] if key in given else cuts.told(name, fit(values, labels))
        said = cuts.predicted(values, cuts.told(name, out.thresholds[f"{name}_accuracy_threshold"]))
        out.add_items(f"{name}_accuracy", (said == labels).astype(np.float64))
        said = cuts.predicted(values, cuts.told(name, out.thresholds[f"{name}_f1_threshold"]))
        for metric, kind in _CONFUSION.items():
            out.add(f"{name}_{metric}", kind, labels, said)
        out.add(f"{name}_ap", "average_precision", labels, values.astype(np.float64))
    for metric in ("accuracy", *_CONFUSION, "ap"):
        out.add_largest(f"max_{metric}", [f"{name}_{metric}" for name in similarities])
    return out


def _classes(
    embeddings: Embeddings, evalset: EvalSet, similarities: Sequence[SimilarityName], _cuts: Mapping[str, float]
) -> Measured:
    """Accuracy of the nearest neighbour's class, and its mean over classes: items weigh more in rare classes."""
    out = Measured()
    target, known = _target(evalset), evalset.reference_target
    assert known is not None
    _, place, counts = np.unique(target, return_inverse=True, return_counts=True)
    weights = len(target) / (len(counts) * counts[place])
    items, reference = evalset.index["text"], evalset.index["reference"]
    for name in similarities:
        if evalset.leave_one_out:
            rows = nearest_others(name, embeddings["text"], items)
        else:
            rows = nearest_rows(name, embeddings["text"], items, reference)
        right = (known[rows] == target).astype(np.float64)
        out.add_items(f"{name}_accuracy", right)
        out.add_items(f"{name}_macro_accuracy", right * weights)
    for metric in ("accuracy", "macro_accuracy"):
        out.add_largest(f"max_{metric}", [f"{name}_{metric}" for name in similarities])
    return out


_FOUND: Mapping[str, tuple[str, str]] = {
    "accuracy@1": ("finds its match first", "find their match first"),
    **{
        f"accuracy@{k}": (f"finds a match among the first {k}", f"find a match among the first {k}") for k in (3, 5, 10)
    },
}

EVALUATORS: Mapping[ShapeName, Evaluator] = {
    row.shape: row
    for row in (
        Evaluator(
            "triplets",
            "{similarity}_accuracy",
            _triplets,
            "the share of test triplets whose positive is nearer to the anchor than every negative",
            ("test triplet", "test triplets"),
            {
                "accuracy": (
                    "has its positive nearer than its negative",
                    "have their positive nearer than their negative",
                )
            },
            "Anchor, positive and negatives: accuracy under each similarity, and the largest of them.",
        ),
        Evaluator(
            "pairs",
            "{similarity}_accuracy@1",
            _retrieval,
            "the share of test queries that find their match first among all matches held out",
            ("test query", "test queries"),
            _FOUND,
            "Each anchor looks for its positives among all of the set: accuracy, precision, recall, nDCG, MRR, MAP.",
        ),
        Evaluator(
            "retrieval",
            "{similarity}_ndcg@10",
            _retrieval,
            "how high the relevant documents stand among the first ten, on a scale from 0 to 1",
            ("test query", "test queries"),
            _FOUND,
            "Queries against a corpus with relevant documents: accuracy, precision, recall, nDCG, MRR, MAP.",
        ),
        Evaluator(
            "scored",
            "spearman_{similarity}",
            _scored,
            "how far the order of the model's similarities agrees with that of the gold scores, from -1 to 1",
            ("test pair", "test pairs"),
            {},
            "Two sentences and a score: Spearman's and Pearson's correlation, and the largest of each.",
        ),
        Evaluator(
            "labelled",
            "{similarity}_ap",
            _labelled,
            "how well similarity puts pairs that belong together before those that do not, from 0 to 1",
            ("test pair", "test pairs"),
            {"accuracy": ("is told right", "are told right")},
            "Two sentences and 0 or 1: average precision, and accuracy, F1 and Matthews correlation at a threshold.",
        ),
        Evaluator(
            "classes",
            "{similarity}_accuracy",
            _classes,
            "the share of test texts whose nearest neighbour is of their own class",
            ("test text", "test texts"),
            {"accuracy": ("has a nearest neighbour of its own class", "have a nearest neighbour of their own class")},
            "A text and its class: accuracy of the nearest training row's class, and its mean over classes.",
        ),
    )
}
