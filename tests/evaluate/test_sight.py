"""A look at vectors while they are scored: the right neighbours, the right pairs, and nothing encoded for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from embertune.data.prepared import Sides
from embertune.evaluate import sight
from embertune.evaluate.evalset import EvalSet
from embertune.evaluate.scene import Scene, arrange, measure, showing
from embertune.evaluate.sight import Sight, query_of
from tests.data.made import shaped
from tests.evaluate.sets import Table
from tests.tiny import toy_classes, toy_labelled, toy_pairs, toy_scored, toy_triplets

SHAPES = {
    "pairs": toy_pairs,
    "triplets": toy_triplets,
    "scored": toy_scored,
    "labelled": toy_labelled,
    "classes": toy_classes,
}


def scene_of(shape: str, primary: str | None = None, lengths: tuple[int, ...] = ()) -> Scene:
    train, dev, test = (shaped(SHAPES[shape](30, start=start)) for start in (0, 60, 120))
    return showing(arrange(Sides(train, dev, {"held": test}), ("cosine", "dot"), lengths), primary)


def looked_at(scene: Scene, table: Table) -> Sight:
    (found,) = [one.sight for one in measure(table, scene) if one.sight is not None]
    return found


def cosine(table: Table, one: str, other: str) -> float:
    a, b = table.of(one).astype(np.float64), table.of(other).astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def pool_of(evalset: EvalSet) -> set[str]:
    """The texts among which neighbours are looked for."""
    if evalset.shape == "classes":
        return {evalset.texts["text"][number] for number in evalset.index["reference"]}
    return {text for role, texts in evalset.texts.items() if role not in ("anchor", "sentence1") for text in texts}


def partners(evalset: EvalSet, query: str) -> set[str]:
    """The texts that belong to a query, in any of the items that ask it."""
    if evalset.shape == "classes":
        assert evalset.reference_target is not None
        assert evalset.target is not None
        item = next(item for item in range(len(evalset)) if query_of(evalset, item) == query)
        rows = np.flatnonzero(evalset.reference_target == evalset.target[item])
        return {evalset.texts["text"][evalset.index["reference"][row]] for row in rows}
    items = [item for item in range(len(evalset)) if query_of(evalset, item) == query]
    if evalset.target is not None:
        items = [item for item in items if evalset.target[item] > 0.5]
        return {evalset.item(item)["sentence2"][0] for item in items}
    return {text for item in items for text in evalset.item(item)["positive"]}


@pytest.mark.parametrize("shape", SHAPES)
def test_neighbours_are_the_nearest_texts_and_say_whether_they_belong(shape: str) -> None:
    scene, table = scene_of(shape), Table()
    found, evalset = looked_at(scene, table), scene.tests[0]
    assert found.items.tolist() == list(range(len(evalset)))
    for item, near in zip(found.items, found.near, strict=True):
        query = query_of(evalset, item)
        alike = sorted((cosine(table, query, text) for text in pool_of(evalset)), reverse=True)
        assert [similarity for _, similarity, _ in near] == pytest.approx(alike[: sight.NEAR], abs=1e-5)
        for text, similarity, belongs in near:
            assert similarity == pytest.approx(cosine(table, query, text), abs=1e-5)
            assert belongs == (text in partners(evalset, query))


@pytest.mark.parametrize("shape", SHAPES)
def test_similarities_are_those_of_what_belongs_together_and_of_what_does_not(shape: str) -> None:
    scene, table = scene_of(shape), Table()
    found, evalset = looked_at(scene, table), scene.tests[0]
    good, bad = [], []
    for item in range(len(evalset)):
        query = query_of(evalset, item)
        own = partners(evalset, query)
        if shape == "triplets":
            texts = evalset.item(item)
            good.append(cosine(table, query, texts["positive"][0]))
            bad += [cosine(table, query, text) for text in texts["negative"]]
        elif shape == "classes":
            good.append(max(cosine(table, query, text) for text in own))
            bad.append(max(cosine(table, query, text) for text in pool_of(evalset) - own))
        elif evalset.target is not None:
            value, middle = evalset.target[item], 0.5
            one = cosine(table, query, evalset.item(item)["sentence2"][0])
            good += [one] if value > middle else []
            bad += [one] if value < middle else []
        else:
            good += [cosine(table, query, text) for text in own]
    assert sorted(found.positive) == pytest.approx(sorted(good), abs=1e-5)
    if shape != "pairs":  # there, others are drawn by chance
        assert sorted(found.negative) == pytest.approx(sorted(bad), abs=1e-5)
    else:
        most = sight.OTHERS * len(evalset)
        assert most / 2 < len(found.negative) <= most
        assert not set(np.round(found.negative, 5)) & set(np.round(found.positive, 5))


@pytest.mark.parametrize("shape", SHAPES)
def test_looking_encodes_nothing(shape: str) -> None:
    scene, table = scene_of(shape, lengths=(8,)), Table()
    measure(table, scene)
    assert len(table.asked) == len(scene.tests[0].texts)


def test_an_item_is_no_neighbour_of_itself_where_all_are_neighbours_of_each_other() -> None:
    rows = shaped(toy_classes(30))
    scene = showing(arrange(Sides(shaped(toy_pairs(30)), None, {"held": rows}), ("cosine",)), None)
    found, evalset = looked_at(scene, Table()), scene.tests[0]
    assert evalset.leave_one_out
    for item, near in zip(found.items, found.near, strict=True):
        assert len(near) == sight.NEAR
        assert query_of(evalset, item) not in {text for text, _, _ in near}
    assert found.positive.max() < 0.999


def test_of_a_large_set_some_items_are_looked_at_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "MOST", 8)
    rows, table = toy_triplets(30, start=120), Table()

    def asked(rows: list[dict[str, Any]]) -> set[str]:
        sides = Sides(shaped(toy_triplets(30)), None, {"held": shaped(rows)})
        scene = showing(arrange(sides, ("cosine",)), None)
        found = looked_at(scene, table)
        assert len(found.items) == len(found.near) == 8
        return {query_of(scene.tests[0], item) for item in found.items}

    assert asked(rows) == asked(rows[::-1])


def test_what_is_shown_is_the_set_of_the_primary_metric_under_its_similarity() -> None:
    scene = scene_of("triplets", "held-test-8_dot_accuracy", lengths=(8,))
    assert scene.shown is not None
    assert (scene.shown.name, scene.shown.similarity) == ("held-test-8", "dot")
    scores = measure(Table(), scene)
    assert [one.name for one in scores if one.sight] == ["held-test-8"]
    assert scene_of("triplets").shown is not None
    assert showing(arrange(Sides(shaped(toy_pairs(30)), None, {}), ("cosine",)), None).shown is None


def test_of_a_part_only_its_items_are_looked_at() -> None:
    train, test = toy_triplets(40), toy_triplets(30, start=25)
    sides = Sides(shaped(train), None, {"held": shaped(test)})
    scene = arrange(sides, ("cosine",))
    (part, *_) = scene.parts
    scene = showing(scene, f"{part.name}_cosine_accuracy")
    assert looked_at(scene, Table()).items.tolist() == np.flatnonzero(part.items).tolist()
