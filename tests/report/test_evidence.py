"""What people see of two models: what moved, what is near, how similarities are spread, and which sizes there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.prepared import Sides
from embertune.evaluate.bootstrap import Change
from embertune.evaluate.evalset import FloatArray
from embertune.evaluate.proof import prove
from embertune.evaluate.scene import Scene, arrange, measure, showing
from embertune.evaluate.score import Scores
from embertune.evaluate.seen import Moved, Seen
from embertune.evaluate.sight import Sight
from embertune.report.agreement import disagreeing, saved
from embertune.report.evidence import AGREEMENT, ITEMS, QUERIES, STRETCHES, edges_of, gather, histograms, values_of
from embertune.report.sizes import size_points
from tests.data.made import shaped
from tests.evaluate.sets import Table
from tests.report import made
from tests.tiny import toy_classes, toy_labelled, toy_pairs, toy_scored, toy_triplets

SHAPES = {
    "pairs": toy_pairs,
    "triplets": toy_triplets,
    "scored": toy_scored,
    "labelled": toy_labelled,
    "classes": toy_classes,
}
BOTH = ("cosine", "dot")


def scene_of(shape: str, lengths: Sequence[int] = ()) -> Scene:
    train, dev, test = (shaped(SHAPES[shape](40, start=start)) for start in (0, 60, 120))
    return showing(arrange(Sides(train, dev, {"held": test}), BOTH, lengths), None)


def two(scene: Scene) -> tuple[tuple[Scores, ...], tuple[Scores, ...]]:
    """Two models that have nothing to do with each other."""
    return measure(Table(1), scene), measure(Table(2), scene)


def gathered(scene: Scene, before: Sequence[Scores], after: Sequence[Scores], examples: bool = True) -> Seen:
    found = gather(scene, before, after, examples)
    assert found is not None
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_items_won_and_lost_are_those_that_moved_the_most(shape: str) -> None:
    scene = scene_of(shape)
    before, after = two(scene)
    assert scene.shown is not None
    seen = gathered(scene, before, after)
    first, last = (values_of(scores[0], scene.shown)[1] for scores in (before, after))
    for moved, gain in ((seen.won, last - first), (seen.lost, first - last)):
        sizes = [abs(one.after - one.before) for one in moved]
        assert sizes == pytest.approx(sorted(gain[gain > 1e-9], reverse=True)[:ITEMS])
        assert len(moved) > 0
    assert all(one.after > one.before for one in seen.won)
    assert all(one.after < one.before for one in seen.lost)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_item_has_the_texts_and_the_value_of_one_row_of_the_set(shape: str) -> None:
    scene = scene_of(shape)
    before, after = two(scene)
    seen, evalset = gathered(scene, before, after), scene.tests[0]
    assert scene.shown is not None
    first, last = (values_of(scores[0], scene.shown)[1] for scores in (before, after))
    rows = [(evalset.item(item), first[item], last[item]) for item in range(len(evalset))]
    for one in (*seen.won, *seen.lost):
        texts = {column: held for column, held in one.texts.items() if column not in ("score", "label", "class")}
        assert (texts, one.before, one.after) in rows


@pytest.mark.parametrize("shape", ["triplets", "labelled", "scored"])
def test_of_a_part_only_its_own_items_are_won_or_lost(shape: str) -> None:
    train, test = SHAPES[shape](40), SHAPES[shape](40, start=25)
    scene = arrange(Sides(shaped(train), None, {"held": shaped(test)}), ("cosine",))
    (part, *_) = scene.parts
    (whole,) = scene.tests
    scene = showing(scene, f"{part.name}_{scene.test_headline.removeprefix(f'{whole.name}_')}")
    seen = gathered(scene, *two(scene))
    own = {next(iter(whole.item(item).values())) for item in np.flatnonzero(part.items)}
    assert seen.won
    assert seen.metric.startswith(part.name)
    assert {next(iter(one.texts.values())) for one in (*seen.won, *seen.lost)} <= own
    assert {(one.query,) for one in seen.neighbours} <= own


def test_what_the_data_says_of_a_pair_or_of_a_text_stands_beside_it() -> None:
    said = {"scored": "score", "labelled": "label", "classes": "class"}
    for shape, column in said.items():
        scene = scene_of(shape)
        rows = SHAPES[shape](40, start=120)
        for one in gathered(scene, *two(scene)).won:
            key = next(iter(one.texts))
            row = next(row for row in rows if row[key] == one.texts[key][0])
            assert str(row[column.replace("class", "label")]).removesuffix(".0") == one.texts[column][0]


@pytest.mark.parametrize("shape", SHAPES)
def test_neighbours_before_and_after_are_those_of_the_same_query_and_moved_ones_come_first(shape: str) -> None:
    scene = scene_of(shape)
    before, after = two(scene)
    seen = gathered(scene, before, after)
    assert len({one.query for one in seen.neighbours}) == len(seen.neighbours) == QUERIES
    moved = {next(iter(one.texts.values()))[0] for one in (*seen.won, *seen.lost)}
    assert seen.neighbours[0].query in moved
    for one in seen.neighbours:
        for table, near in ((Table(1), one.before), (Table(2), one.after)):
            a, b = table.of(one.query), table.of(near[0].text)
            assert near[0].similarity == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
            assert [n.similarity for n in near] == sorted((n.similarity for n in near), reverse=True)


def test_a_model_that_is_kept_as_it_came_has_moved_nothing_and_looks_the_same_twice() -> None:
    scene = scene_of("pairs")
    before, _ = two(scene)
    seen = gathered(scene, before, before)
    assert (seen.won, seen.lost) == ((), ())
    assert seen.before == seen.after
    assert len(seen.neighbours) == QUERIES
    assert all(one.before == one.after for one in seen.neighbours)


@pytest.mark.parametrize("shape", SHAPES)
def test_where_no_text_may_be_shown_none_is_there_and_the_rest_is_as_it_was(shape: str) -> None:
    scene = scene_of(shape)
    scores = two(scene)
    shown, silent = gathered(scene, *scores), gathered(scene, *scores, examples=False)
    assert silent == dataclasses.replace(shown, won=(), lost=(), neighbours=())
    assert sum(silent.before.positive) > 0  # type: ignore[union-attr]  # there is one, or this fails


def test_gold_scores_have_values_by_place_and_other_shapes_the_metric_s_own() -> None:
    for shape, name in (("pairs", "cosine_accuracy@1"), ("labelled", "cosine_accuracy"), ("scored", AGREEMENT)):
        scene = scene_of(shape)
        assert scene.shown is not None
        judged, values = values_of(two(scene)[0][0], scene.shown)
        assert judged == name
        assert values.min() >= 0
        assert values.max() <= 1


def test_hostile_texts_are_cut_and_nothing_in_them_acts() -> None:
    texts = list(made.HOSTILE.values())
    rows = [{"anchor": f"{text[:5000]} {n}", "positive": f"{n} {text}"} for n in range(4) for text in texts[:4]]
    rows = [{key: text.replace("\ud800", "") for key, text in row.items()} for row in rows]
    scene = showing(arrange(Sides(shaped(toy_pairs(30)), None, {"held": shaped(rows)}), ("cosine",)), None)
    seen = gathered(scene, *two(scene))
    moved: tuple[Moved, ...] = (*seen.won, *seen.lost)
    held = [text for one in moved for several in one.texts.values() for text in several]
    held += [near.text for one in seen.neighbours for near in (*one.before, *one.after)]
    assert held
    assert max(map(len, held)) <= 280
    assert not any("\u202e" in text or "\x00" in text for text in held)


numbers = st.floats(-1e6, 1e6, width=32)
several = st.lists(numbers, max_size=30).map(lambda held: np.array(held, dtype=np.float32))


@given(several, several, several, several)
def test_histograms_count_every_similarity_once_over_the_same_few_stretches(
    a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray
) -> None:
    nothing = np.empty(0, dtype=np.int64)
    one, other = histograms(
        *(Sight(nothing, (), good.astype(np.float32), bad.astype(np.float32)) for good, bad in ((a, b), (c, d)))
    )
    assert one.edges == other.edges
    assert all(low < high for low, high in zip(one.edges, one.edges[1:], strict=False))
    assert 1 <= len(one.positive) == len(one.edges) - 1 <= STRETCHES
    assert (sum(one.positive), sum(one.negative)) == (len(a), len(b))
    assert (sum(other.positive), sum(other.negative)) == (len(c), len(d))


@given(numbers, numbers)
def test_edges_lie_around_what_they_hold(one: float, other: float) -> None:
    edges = edges_of(min(one, other), max(one, other))
    width = edges[1] - edges[0]
    assert edges[0] <= min(one, other) + width * 1e-6
    assert edges[-1] >= max(one, other) - width * 1e-6


def test_sizes_are_points_with_the_metric_at_every_length_for_both_models() -> None:
    scene = scene_of("pairs", lengths=(8, 4))
    before, after = two(scene)
    sizes = {"baseline": {"blocks": 2, "dimensions": 16}, "tuned": {"blocks": 1, "dimensions": 12}}
    points = size_points(scene, before, after, sizes, seed=0)
    assert [(one.label, one.dimensions, one.layers) for one in points] == [
        ("baseline", 16, 2), ("baseline", 8, 2), ("baseline", 4, 2), ("tuned", 12, 1), ("tuned", 8, 1), ("tuned", 4, 1),
    ]  # fmt: skip
    assert points[4].value == next(s for s in after if s.name == "held-test-8").values["held-test-8_cosine_accuracy@1"]
    assert all(one.low <= one.value <= one.high for one in points)
    assert all(one.seconds is not None and one.seconds > 0 for one in points)
    assert {one.label for one in size_points(scene, before, before, sizes, seed=0)} == {"baseline"}


def test_a_model_of_one_size_has_no_points() -> None:
    scene = scene_of("pairs")
    size = {"blocks": 2, "dimensions": 16}
    assert size_points(scene, *two(scene), {"baseline": size, "tuned": size}, seed=0) == ()


def test_only_another_story_is_a_disagreement() -> None:
    scene = scene_of("triplets")
    proof = prove(*two(scene), None, seed=0)
    assert scene.shown is not None

    def told(cosine: tuple[float, ...], dot: tuple[float, ...]) -> tuple[str, ...]:
        changes = {name: Change(*values, resamples=10_000) for name, values in (("cosine", cosine), ("dot", dot))}
        change = {f"held-test_{name}_accuracy": one for name, one in changes.items()}
        assert scene.shown is not None
        return disagreeing(dataclasses.replace(proof, change=change), scene.shown, BOTH)

    rise, fall = (0.02, 0.01, 0.03, 0.001), (-0.012, -0.02, -0.004, 0.001)
    unclear, hardly = (-0.001, -0.01, 0.008, 0.8), (0.011, -0.0001, 0.02, 0.06)
    assert told(rise, fall) == (
        "dot product says worse (−0.0120, between −0.0200 and −0.0040), where cosine says better (+0.0200, between "
        "+0.0100 and +0.0300)",
    )
    assert told(rise, unclear)[0].startswith("dot product says no clear change (−0.0010")
    assert told(rise, hardly) == told(rise, rise) == told(unclear, hardly[:1] + unclear[1:]) == ()


def test_the_function_that_is_saved_is_named_and_another_one_than_the_verdict_s_is_pointed_out() -> None:
    shown = scene_of("triplets").shown
    assert saved(shown, "cosine") == "the saved model compares by cosine"
    assert saved(shown, "dot") == "the saved model compares by dot product, while the verdict is about cosine"
