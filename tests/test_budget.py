"""The part of dev that a run measures: what is taken, that it is the same again, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sentence_transformers import SentenceTransformer

from embertune.budget import ROWS, cost_of, counting
from embertune.data.prepare import Given
from embertune.data.prepared import Note
from embertune.data.sample import sampled
from embertune.data.shapes import shape
from embertune.data.sources import read
from embertune.evaluate.evalset import build_evalset
from embertune.plan import Plan, plan
from embertune.recipe import load_recipe
from embertune.recipe.budget import LEAST
from embertune.watch import Silent
from tests import tiny
from tests.training.made import prepared

Rows = list[dict[str, Any]]
CLASSES = ("red", "green", "blue", "yellow")


def pairs(n: int, start: int = 0) -> Rows:
    return [
        {"anchor": f"question {i} of you", "positive": f"answer {i} of our people"} for i in range(start, start + n)
    ]


def classes(n: int, start: int = 0) -> Rows:
    return [{"text": f"the text {i} is here", "label": CLASSES[i % 4]} for i in range(start, start + n)]


def made(model: SentenceTransformer, train: Any, dev: Any = None, **leaves: Any) -> Plan:
    settings = {path.replace("__", "."): value for path, value in {"data__test": "none", **leaves}.items()}
    return plan(load_recipe(set={"train.epochs": 1, **settings}), Given(train, dev), model, Silent())


def notes(planned: Plan) -> list[Note]:
    return [note for note in planned.data.notes if note.stage == "dev"]


def texts(planned: Plan, role: str) -> Sequence[str]:
    assert planned.scene.dev is not None
    return planned.scene.dev.texts[role]


def test_a_dev_set_that_costs_too_much_is_sampled_and_that_is_told(tiny_model: Any) -> None:
    planned = made(tiny_model(), pairs(2_000), pairs(900, 2_000), guard__eval_every="2 steps")
    looks, dev = planned.looks, planned.data.sides.dev
    assert looks is not None
    assert dev is not None
    assert LEAST <= looks.items == len(dev) == len(planned.scene.dev or ()) < looks.of == 900
    (note, *more) = notes(planned)
    assert f"dev: {looks.items} of 900 items are measured" in note.text
    assert "fewer answers to choose from make its figures higher" in note.text
    assert note.count == 900 - looks.items
    assert planned.resolved.reasons["guard.budget"] == str(looks)
    assert bool(more) == (looks.share > 0.15)


def test_the_resolved_recipe_gives_the_same_sample_and_the_same_interval_again(tiny_model: Any) -> None:
    first = made(tiny_model(), pairs(2_000), pairs(900, 2_000))
    again = plan(first.resolved.recipe, Given(pairs(2_000), pairs(900, 2_000)), tiny_model(), Silent())
    assert again.resolved.recipe == first.resolved.recipe
    assert again.looks == first.looks
    assert texts(again, "anchor") == texts(first, "anchor")


def test_an_item_that_joins_dev_moves_few_others(tiny_model: Any) -> None:
    first = made(tiny_model(), pairs(2_000), pairs(900, 2_000))
    again = made(tiny_model(), pairs(2_000), pairs(910, 2_000))
    assert len(set(texts(first, "anchor")) ^ set(texts(again, "anchor"))) <= 20


@pytest.mark.parametrize("budget", [None, 1.0])
def test_all_of_dev_is_measured_where_the_budget_allows_it(tiny_model: Any, budget: float | None) -> None:
    planned = made(tiny_model(), pairs(2_000), pairs(250, 2_000), guard__budget=budget, guard__eval_every="0.5 epoch")
    assert planned.looks is not None
    assert planned.looks.items == planned.looks.of == 250
    assert notes(planned) == []


def test_a_named_interval_stays_and_only_dev_gives_way(tiny_model: Any) -> None:
    planned = made(tiny_model(), pairs(2_000), pairs(900, 2_000), guard__eval_every="2 steps")
    assert planned.resolved.recipe.guard.eval_every == "2 steps"
    assert planned.looks is not None
    assert planned.looks.items == LEAST
    assert "more than guard.budget: 0.15; fewer looks or items would tell too little" in notes(planned)[-1].text


def test_classes_are_sampled_evenly_and_look_for_neighbours_in_fewer_rows_of_each(tiny_model: Any) -> None:
    planned = made(tiny_model(), classes(4_000), classes(800, 4_000))
    dev = planned.scene.dev
    assert dev is not None
    assert dev.reference_target is not None
    assert [int((dev.reference_target == number).sum()) for number in range(4)] == [250] * 4
    held = [int((dev.target == number).sum()) for number in range(4)]
    assert max(held) - min(held) <= 1
    assert "fewer rows to look among make its figures lower" in notes(planned)[0].text


def test_a_retrieval_sample_keeps_what_answers_its_queries(tmp_path: Path, tiny_model: Any) -> None:
    folder = tiny.toy_beir(tmp_path / "help", queries=60, test=20)
    planned = made(tiny_model(), str(folder), data__dev=0.5, guard__eval_every="1 step")
    assert planned.looks is not None
    assert planned.looks.items == planned.looks.of  # far below the least
    assert planned.looks.share > 0.15


def test_what_a_look_costs_is_counted_in_the_tokens_that_the_model_reads(tiny_model: Any) -> None:
    planned = made(tiny_model(), pairs(40), pairs(20, 40))
    dev = planned.scene.dev
    assert dev is not None
    count = counting(planned.built, planned.tokens)
    cost = cost_of(dev, planned.data.sides.train, count=count)
    whole = sum(int(count(texts, role).sum()) for role, texts in dev.texts.items())
    assert cost.look == pytest.approx(whole)
    assert planned.looks is not None
    assert planned.looks.tokens == whole
    without_store = counting(planned.built, None)
    for role, some in dev.texts.items():
        assert without_store(some, role).tolist() == count(some, role).tolist()


def test_rows_of_large_data_are_counted_spread_over_all_of_them() -> None:
    numbers = range(2 * ROWS + 7)
    rows = prepared("pairs", {"anchor": [str(i) for i in numbers], "positive": ["a" for _ in numbers]})
    dev = build_evalset(prepared("pairs", {"anchor": ["a"], "positive": ["b"]}), "toy-dev")
    seen: list[Sequence[str]] = []

    def count(texts: Sequence[str], role: str) -> npt.NDArray[np.int64]:
        seen.append(texts)
        return np.ones(len(texts), dtype=np.int64)

    assert cost_of(dev, rows, count=count).row == 2.0
    assert ROWS <= len(seen[0]) <= 2 * ROWS
    assert int(seen[0][-1]) >= numbers[-2]


def test_a_sample_of_retrieval_has_all_that_answers_it_and_a_thousand_other_documents(tmp_path: Path) -> None:
    folder = tiny.toy_beir(tmp_path / "help", queries=240, test=20)
    extra = ({"_id": f"e{i}", "title": "", "text": f"about {i}"} for i in range(1_500))
    with (folder / "corpus.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(document) + "\n" for document in extra)
    dev = shape(read(str(folder)), "train")
    found = sampled(dev, 0.25, seed=3)
    assert len(found) == 55
    assert found.corpus is not None
    needed = set(found.rows["doc_id"][:])
    assert needed < set(found.corpus.ids)
    assert len(found.corpus) == len(needed) + 1_000
    assert found.rows["anchor"][:] == sampled(dev, 0.25, seed=3).rows["anchor"][:]
    assert found.rows["anchor"][:] != sampled(dev, 0.25, seed=4).rows["anchor"][:]


def test_rows_that_stay_out_of_a_pass_are_not_counted_as_trained(tiny_model: Any) -> None:
    """Half of the rows share one positive, which can stand in a batch once."""
    rows = [row | {"positive": "the one answer"} if i % 2 else row for i, row in enumerate(pairs(400))]
    some, every = made(tiny_model(), rows, pairs(40, 400)), made(tiny_model(), pairs(400), pairs(40, 400))
    assert some.course.notes[0].count > 150
    assert some.looks is not None
    assert every.looks is not None
    assert some.looks.number == every.looks.number
    assert some.looks.share > 1.5 * every.looks.share


def test_where_the_loss_on_dev_rows_steers_all_of_its_rows_are_counted(tiny_model: Any) -> None:
    leaves = {"guard__eval_every": "2 steps", "guard__budget": None, "train__epochs": 4}
    by_metric, by_loss = (
        made(tiny_model(), pairs(640), pairs(200, 640), guard__metric=metric, **leaves) for metric in ("auto", "loss")
    )
    assert by_metric.looks is not None
    assert by_loss.looks is not None
    assert by_loss.looks.number == by_metric.looks.number
    assert (by_loss.looks.later, by_metric.looks.later) == (0, 4)
    chosen = by_metric.looks.later * 200  # rows of dev encoded to choose among states
    more = by_loss.looks.number * (200 - 24) - chosen  # rows of dev are as long as those that are trained
    assert by_loss.looks.share - by_metric.looks.share == pytest.approx(more / (4 * 640), abs=0.01)


# guard.items


@pytest.mark.parametrize("of", [pairs, classes])
def test_the_items_that_are_named_are_the_same_in_a_short_run_and_in_a_long_one(tiny_model: Any, of: Any) -> None:
    rows, dev = of(1_000), of(400, 1_000)
    short, long = (made(tiny_model(), rows, dev, guard__items=120, train__epochs=n) for n in (1, 30))
    role = "anchor" if of is pairs else "text"
    for planned in (short, long):
        assert planned.looks is not None
        assert (planned.looks.items, planned.looks.of) == (120, 400)
        assert texts(planned, role) == texts(short, role)
        assert f"(guard.items: {planned.looks})" in notes(planned)[0].text
    assert short.resolved.recipe.guard.eval_every != long.resolved.recipe.guard.eval_every


def test_fewer_named_items_lie_within_more_and_the_resolved_recipe_gives_them_again(tiny_model: Any) -> None:
    few, more = (made(tiny_model(), classes(400), classes(400, 400), guard__items=n) for n in (10, 50))
    assert set(texts(few, "text")) < set(texts(more, "text"))
    again = plan(few.resolved.recipe, Given(classes(400), classes(400, 400)), tiny_model(), Silent())
    assert again.resolved.recipe == few.resolved.recipe
    assert texts(again, "text") == texts(few, "text")


def test_more_items_than_there_are_is_all_of_them_whatever_that_costs(tiny_model: Any) -> None:
    leaves = {"guard__items": 5_000, "guard__eval_every": "2 steps"}
    planned = made(tiny_model(), pairs(1_000), pairs(900, 1_000), **leaves)
    assert planned.looks is not None
    assert planned.looks.items == planned.looks.of == 900
    (note,) = notes(planned)
    assert note.text.endswith("more than guard.budget: 0.15; guard.items says how many items")


def test_the_interval_is_decided_by_what_the_named_items_cost(tiny_model: Any) -> None:
    some, every = (made(tiny_model(), pairs(2_000), pairs(900, 2_000), guard__items=n) for n in (60, 900))
    assert some.looks is not None
    assert every.looks is not None
    assert some.looks.number > every.looks.number
    reason = some.resolved.reasons["guard.eval_every"]
    assert "tokens a look at 60 of 900 items" in reason


def test_named_items_of_retrieval_are_queries(tmp_path: Path, tiny_model: Any) -> None:
    folder = tiny.toy_beir(tmp_path / "help", queries=60, test=20)
    planned = made(tiny_model(), str(folder), data__dev=0.5, guard__items=7)
    assert planned.looks is not None
    assert planned.looks.items == 7
