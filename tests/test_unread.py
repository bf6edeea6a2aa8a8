"""`evaluate.test: false`: test stays out of training as ever, and nothing of it is measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.data.prepare import prepare
from embertune.enlarge import asked_for
from embertune.errors import RecipeError
from embertune.evaluated import evaluate_models
from embertune.seeds import run_seeds
from tests import tiny

Make = Callable[..., et.Recipe]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "help.jsonl", tiny.toy_pairs(80))


@pytest.fixture
def recipe(tiny_model_path: Path, rows: Path) -> Make:
    def make(**leaves: Any) -> et.Recipe:
        settings = {
            "model.name": str(tiny_model_path), "data.train": str(rows), "train.max_steps": 3, "train.batch_size": 8,
            "evaluate.similarity": ["cosine"], "evaluate.retention": None,
        }  # fmt: skip
        return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})

    return make


def weights(result: et.Result) -> str:
    return hashlib.sha256((result.model / "model.safetensors").read_bytes()).hexdigest()


def test_a_run_that_leaves_test_unread_ends_in_the_same_weights_and_has_no_figure_of_test(
    recipe: Make, tmp_path: Path
) -> None:
    measured, unread = (et.run(recipe(evaluate__test=test), tmp_path / str(test)) for test in (True, False))
    assert measured.baseline
    assert weights(unread) == weights(measured)
    assert (unread.verdict, unread.primary, dict(unread.baseline), dict(unread.tuned)) == ("unmeasured", None, {}, {})
    for name in ("report.md", "report.html", "audit.json"):
        assert "held out and not measured, as evaluate.test says" in (unread.out / name).read_text(encoding="utf-8")
    assert "help-test" not in "".join(path.read_text(encoding="utf-8") for path in unread.out.glob("*.json*"))


def test_the_resolved_recipe_leaves_test_unread_again_and_names_it_as_it_was(recipe: Make, tmp_path: Path) -> None:
    first = et.run(recipe(evaluate__test=False), tmp_path / "first")
    made = et.load_recipe(first.out / "recipe.yaml")
    assert (made.evaluate.test, made.data.test, made.evaluate.primary) == (False, 0.1, None)
    assert weights(et.run(made, tmp_path / "again")) == weights(first)
    stamp = (first.out / "metrics.json").stat().st_mtime_ns
    assert et.run(recipe(evaluate__test=False), tmp_path / "first").verdict == "unmeasured"
    assert (first.out / "metrics.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("leaves", [{}, {"data__fold": "1 of 3"}, {"data__subset": 0.5}], ids=str)
def test_what_is_held_out_stays_out_of_train_and_of_its_copies(recipe: Make, leaves: dict[str, Any]) -> None:
    measured, unread = (prepare(recipe(evaluate__test=test, **leaves)).sides for test in (True, False))
    assert unread.tests == {}
    assert unread.unread["help"].rows[:] == measured.tests["help"].rows[:]
    assert unread.train.rows[:] == measured.train.rows[:]
    assert asked_for(unread).tolist() == asked_for(measured).tolist()


def test_test_rows_that_train_shows_are_dropped_though_nothing_is_measured_on_them(
    recipe: Make, tmp_path: Path
) -> None:
    own = tiny.write_jsonl(tmp_path / "own.jsonl", [*tiny.toy_pairs(4), *tiny.toy_pairs(4, start=200)])
    sides = prepare(recipe(evaluate__test=False, data__test=str(own), data__dev="none")).sides
    assert any("4 of 8 anchors of test own stand in train" in note.text for note in sides.notes)
    assert len(sides.train) == 76
    assert not {row["anchor"] for row in tiny.toy_pairs(4)} & set(sides.train.rows["anchor"][:])


def test_evaluate_measures_what_a_run_left_unread(recipe: Make, tiny_model_path: Path) -> None:
    found = evaluate_models([str(tiny_model_path)], recipe(evaluate__test=False))
    assert list(found.items) == ["help-test"]


def test_seeds_that_leave_test_unread_are_unmeasured_together(recipe: Make, tmp_path: Path) -> None:
    found = run_seeds(recipe(evaluate__test=False, train__max_steps=1), tmp_path / "seeds", 2)
    assert found.joint.verdict == "unmeasured"
    assert found.recommended is not None
    assert json.loads((found.out / "metrics.json").read_text(encoding="utf-8"))["primary"] is None


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"data__test": "none"}, r"evaluate\.test: found false without test rows to hold out"),
        ({"evaluate__primary": "help-test_cosine_mrr@10"}, r"evaluate\.primary: has no effect with evaluate\.test"),
    ],
)
def test_what_has_no_effect_beside_it_is_refused(recipe: Make, leaves: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(evaluate__test=False, **leaves)
