"""Several models in order, and which of them can be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from embertune.evaluate.bootstrap import paired
from embertune.evaluate.ranking import rank
from embertune.evaluate.score import Scores
from tests.evaluate.sets import mean_scores

METRIC = "t_cosine_accuracy"


def models(**right: int) -> dict[str, tuple[Scores, ...]]:
    """Each model is right on so many items of 400, the first ones."""
    return {name: (mean_scores((np.arange(400) < count).astype(float)),) for name, count in right.items()}


def test_models_stand_best_first_with_what_each_is_better_than() -> None:
    found = rank(models(low=200, high=300, middle=296), METRIC, seed=0, resamples=2000)
    assert [place.model for place in found.places] == ["high", "middle", "low"]
    assert [place.beats for place in found.places] == [("low",), ("low",), ()]
    assert found.leaders == ("high", "middle")
    for place in found.places:
        assert place.low < place.value < place.high
    assert found.places[0].value == 0.75


def test_a_clear_winner_leads_alone_and_a_single_model_too() -> None:
    assert rank(models(low=200, high=300), METRIC, 0, 1000).leaders == ("high",)
    assert rank(models(only=200), METRIC, 0, 1000).leaders == ("only",)


def test_a_pair_is_the_paired_change_with_its_p_value_adjusted_for_all_pairs() -> None:
    made = models(a=200, b=212, c=300)
    found = rank(made, METRIC, seed=3, resamples=1000)
    assert set(found.pairs) == {("c", "b"), ("c", "a"), ("b", "a")}
    alone = paired(made["a"][0], made["b"][0], METRIC, 3, 1000)
    told = found.pairs["b", "a"]
    assert (told.difference, told.low, told.high, told.p_value) == (
        alone.difference,
        alone.low,
        alone.high,
        alone.p_value,
    )
    assert told.p >= alone.p_value


def test_names_with_spaces_are_models_of_their_own() -> None:
    scores = list(models(a=200, b=212, c=300).values())
    found = rank(dict(zip(("a b", "c", "a", "b c"), [*scores, scores[0]], strict=True)), METRIC, 0, 500)
    assert len(found.pairs) == 6


def test_models_that_agree_on_every_item_cannot_be_told_apart() -> None:
    found = rank(models(a=200, b=200), METRIC, 0, 500)
    assert found.leaders == ("a", "b")
    assert found.pairs["a", "b"].p == 1.0


def test_the_metric_is_looked_for_in_all_sets() -> None:
    with pytest.raises(ValueError, match="t_dot_accuracy was not measured; measured were t_cosine_accuracy"):
        rank(models(a=1), "t_dot_accuracy", 0)
