"""The verdict as a person would say it, for every shape."""

from __future__ import annotations

import pytest

from embertune.data.prepared import ShapeName
from embertune.evaluate.bootstrap import Change
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.metrics import EVALUATORS
from embertune.evaluate.score import Scores, score
from embertune.evaluate.words import sentence
from tests.evaluate.sets import Table
from tests.evaluate.test_score import rows_of

RISE = Change(0.1, 0.05, 0.15, 0.001, 10_000)
SAID = {
    "triplets": "better: of 40 test triplets 4 more now have their positive nearer than their negative",
    "pairs": "better: of 40 test queries 4 more now find their match first",
    "retrieval": "better: nDCG@10 (cosine) on 40 test queries rose from",
    "scored": "better: Spearman's correlation (cosine) on 40 test pairs rose from",
    "labelled": "better: average precision (cosine) on 40 test pairs rose from",
    "classes": "better: of 40 test texts 4 more now have a nearest neighbour of their own class",
}
MEANS = {
    "retrieval": "what is sought stands higher",
    "scored": "similarity follows the gold scores more closely",
    "labelled": "pairs that belong together stand out more clearly",
}


def two(shape: ShapeName) -> tuple[Scores, Scores]:
    evalset = build_evalset(rows_of(shape), "a-test")
    base, tuned = (score(Table(seed), evalset, ["cosine", "dot"]) for seed in (0, 1))
    return base, tuned


@pytest.mark.parametrize("shape", EVALUATORS)
def test_every_shape_has_a_sentence_and_values_that_no_count_stands_for_are_explained(shape: ShapeName) -> None:
    base, tuned = two(shape)
    said = sentence("better", base, tuned, RISE, base.headline)
    assert said.startswith(SAID[shape])
    assert said.endswith(f": {MEANS[shape]}" if shape in MEANS else "(between 2 and 6)")


def test_what_is_not_clear_is_not_explained_and_worse_is_the_other_way_round() -> None:
    base, tuned = two("scored")
    for verdict in ("no clear change", "too few to tell"):
        assert sentence(verdict, base, tuned, RISE, base.headline).endswith("(between 0.0500 and 0.1500)")
    fall = Change(-0.1, -0.15, -0.05, 0.001, 10_000)
    assert sentence("worse", base, tuned, fall, base.headline).endswith("the gold scores less closely")


def test_every_metric_of_every_shape_has_a_sentence_in_both_directions() -> None:
    for shape in EVALUATORS:
        base, tuned = two(shape)
        for metric in base.comparable:
            for verdict in ("better", "worse"):
                assert "_" not in sentence(verdict, base, tuned, RISE, metric)
