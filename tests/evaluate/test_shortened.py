"""Test sets scored with vectors cut off: what a model that gives shorter vectors would score, encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from embertune.data.prepared import Sides
from embertune.evaluate.evalset import build_evalset
from embertune.evaluate.scene import arrange, measure, thresholds_at_lengths
from embertune.evaluate.scene import test_metrics as all_metrics
from embertune.evaluate.score import score
from embertune.evaluate.shortened import named_at
from tests.data.made import shaped
from tests.evaluate.sets import Table
from tests.tiny import toy_classes, toy_labelled, toy_pairs, toy_scored, toy_triplets

Rows = Callable[..., list[dict[str, Any]]]
BOTH = ("cosine", "dot")


def sides(make: Rows) -> Sides:
    train, dev, test = (shaped(make(30, start=start)) for start in (0, 60, 120))
    return Sides(train, dev, {"held": test})


def cut(table: Table, length: int) -> Callable[[Sequence[str], str], Any]:
    return lambda texts, role: table(texts, role)[:, :length]


@pytest.mark.parametrize("make", [toy_pairs, toy_triplets, toy_scored, toy_classes])
def test_a_length_scores_what_a_model_with_such_vectors_scores_and_no_text_is_encoded_for_it(make: Rows) -> None:
    made, table = sides(make), Table()
    scene = arrange(made, BOTH, (4, 8))
    assert scene.lengths == (8, 4)
    whole, *short = measure(table, scene)
    assert len(table.asked) == len(scene.tests[0].texts)
    assert [one.name for one in short] == ["held-test-8", "held-test-4"]
    reference = made.train if make is toy_classes else None
    for one, length in zip(short, scene.lengths, strict=True):
        alone = score(cut(Table(), length), build_evalset(made.tests["held"], one.name, reference), BOTH)
        assert one.values == pytest.approx(alone.values, nan_ok=True)
        assert one.headline == alone.headline
    names = [name for scores in (whole, *short) for name in scores.comparable]
    assert list(all_metrics(scene)) == names
    assert len(set(names)) == len(names)


def test_labelled_pairs_have_thresholds_of_their_own_at_each_length_and_they_come_from_dev() -> None:
    made = sides(toy_labelled)
    scene = arrange(made, BOTH, (8, 4))
    cuts = thresholds_at_lengths(Table(), scene)
    assert scene.dev is not None
    for length in scene.lengths:
        fitted = score(cut(Table(), length), scene.dev, BOTH).thresholds
        assert named_at(fitted, length).items() <= cuts.items()
        short = next(one for one in measure(Table(), scene, cuts) if one.name == f"held-test-{length}")
        assert short.thresholds == fitted


def test_sets_without_thresholds_have_none_at_any_length() -> None:
    assert thresholds_at_lengths(Table(), arrange(sides(toy_triplets), BOTH, (8,))) == {}
