"""Scores: items and aggregates agree, thresholds travel, broken encoders are told."""

from __future__ import annotations

import numpy as np
import pytest

from embertune.data.prepared import Prepared, ShapeName
from embertune.errors import ModelError
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.metrics import EVALUATORS
from embertune.evaluate.score import score
from embertune.evaluate.similarity import SIMILARITIES
from tests.evaluate.sets import Table, prepared


def rows_of(shape: ShapeName, count: int = 40) -> Prepared:
    """Made-up rows of any shape that can be scored."""
    first, second = [f"one {i}" for i in range(count)], [f"two {i}" for i in range(count)]
    columns: dict[ShapeName, dict[str, list[object]]] = {
        "triplets": {"anchor": [*first], "positive": [*second], "negative": [f"three {i}" for i in range(count)]},
        "pairs": {"anchor": [*first], "positive": [*second]},
        "retrieval": {"anchor": [*first], "positive": [*second], "doc_id": [*second]},
        "scored": {"sentence1": [*first], "sentence2": [*second], "score": [i / count for i in range(count)]},
        "labelled": {"sentence1": [*first], "sentence2": [*second], "label": [i % 2 for i in range(count)]},
        "classes": {"text": [*first], "label": [i % 3 for i in range(count)]},
    }
    return prepared(shape, columns[shape])


@pytest.mark.parametrize("shape", EVALUATORS)
def test_items_average_to_the_metric_and_every_metric_can_be_resampled(shape: ShapeName) -> None:
    evalset = build_evalset(rows_of(shape), "x-test")
    scores = score(Table(), evalset, list(SIMILARITIES))
    assert scores.headline in scores.values
    assert all(key.startswith("x-test_") for key in scores.values)
    assert set(scores.values) == set(scores.comparable) | {f"x-test_{key}" for key in scores.thresholds}
    for metric, items in scores.items.items():
        assert len(items) == len(evalset) == len(scores)
        assert items.mean() == scores.values[metric]
    for metric in scores.comparable:
        assert scores.statistic(metric).value() == pytest.approx(scores.values[metric], abs=1e-12), metric


@pytest.mark.parametrize("shape", EVALUATORS)
def test_every_row_of_the_table_says_what_it_measures(shape: ShapeName) -> None:
    row = EVALUATORS[shape]
    assert row.shape == shape
    assert row.measures
    assert row.summary
    assert "{similarity}" in row.headline
    scores = score(Table(), build_evalset(rows_of(shape), "x"), ["cosine"])
    assert {f"x_cosine_{metric}" for metric in row.gains} <= set(scores.items)
    for metric in row.gains:
        assert set(scores.items[f"x_cosine_{metric}"]) <= {0.0, 1.0}


def test_a_threshold_from_dev_is_used_and_not_fitted_again() -> None:
    dev = score(Table(1), build_evalset(rows_of("labelled"), "dev"), ["cosine", "euclidean"])
    test = score(Table(2), build_evalset(rows_of("labelled"), "test"), ["cosine", "euclidean"], dev.thresholds)
    assert test.thresholds == dev.thresholds
    assert test.values["test_euclidean_accuracy_threshold"] == dev.values["dev_euclidean_accuracy_threshold"] > 0
    again = score(Table(2), build_evalset(rows_of("labelled"), "test"), ["cosine", "euclidean"])
    assert again.thresholds != dev.thresholds
    assert again.values["test_cosine_accuracy"] >= test.values["test_cosine_accuracy"]


def test_a_given_threshold_decides_each_item() -> None:
    known = {"a": np.array([1, 0], dtype=np.float32), "b": np.array([0.8, 0.6], dtype=np.float32)}
    rows = prepared("labelled", {"sentence1": ["a", "a"], "sentence2": ["a", "b"], "label": [1, 1]})
    evalset = build_evalset(rows, "x")
    for cut, expected in ((0.7, [1, 1]), (0.9, [1, 0])):
        scores = score(Table(known=known), evalset, ["cosine"], {"cosine_accuracy_threshold": cut})
        assert scores.items["x_cosine_accuracy"].tolist() == expected


def test_embeddings_that_are_not_finite_or_too_few_are_told() -> None:
    evalset = build_evalset(rows_of("pairs"), "x")
    with pytest.raises(ModelError, match="40 of 40 embeddings hold NaN"):
        score(lambda texts, role: np.full((len(texts), 4), np.nan, dtype=np.float32), evalset, ["cosine"])
    with pytest.raises(ModelError, match="shape"):
        score(lambda texts, role: np.zeros((1, 4), dtype=np.float32), evalset, ["cosine"])


@pytest.mark.parametrize("names", [[], ["cosine", "cosine"], ["angular"]])
def test_unknown_repeated_or_missing_similarities_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="expected some of cosine, dot"):
        score(Table(), build_evalset(rows_of("pairs"), "x"), names)
