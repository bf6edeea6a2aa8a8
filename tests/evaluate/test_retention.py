"""What the model could do before: the change of each set, and the word for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from embertune.evaluate.bootstrap import paired
from embertune.evaluate.retention import Retained, retained
from embertune.evaluate.score import Scores
from tests.evaluate.sets import mean_scores

METRIC = "t_cosine_accuracy"


def named(right: int, name: str = "t") -> Scores:
    """A model that is right on the first `right` of 300 items."""
    return dataclasses.replace(mean_scores((np.arange(300) < right).astype(float)), name=name)


@pytest.mark.parametrize(("after", "word"), [(200, "lost"), (240, "gained"), (219, "kept"), (220, "kept")])
def test_the_word_follows_the_interval(after: int, word: str) -> None:
    (found,) = retained([named(220)], [named(after)], seed=0)
    assert found.word == word
    assert (found.before, found.after, found.items) == (220 / 300, after / 300, 300)


def test_the_change_is_the_paired_change_of_the_headline() -> None:
    before, after = named(220), named(200)
    (found,) = retained([before], [after], seed=5)
    assert found == Retained("t", METRIC, 300, 220 / 300, 200 / 300, paired(before, after, METRIC, seed=5))


def test_sets_must_match() -> None:
    with pytest.raises(ValueError, match="the same retention sets"):
        retained([named(1)], [], seed=0)
    with pytest.raises(ValueError, match="not the same set"):
        retained([named(1)], [named(1, "other")], seed=0)
