"""Cross-validation: what each fold is, what they come to together, that it goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.cli import main
from embertune.crossval import on_all_rows
from embertune.data.prepare import prepare
from embertune.errors import DataError, RecipeError, RunFolderError
from tests import tiny

Make = Callable[..., et.Recipe]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "triplets.jsonl", tiny.toy_triplets(60))


@pytest.fixture
def recipe(tiny_model_path: Path, rows: Path) -> Make:
    def make(**leaves: Any) -> et.Recipe:
        settings = {
            "model.name": str(tiny_model_path), "data.train": str(rows), "train.max_steps": 3, "train.batch_size": 8,
            "train.learning_rate": 2e-3, "evaluate.similarity": ["cosine"], "evaluate.retention": None,
        }  # fmt: skip
        return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})

    return make


# A fold of the rows


def test_every_row_is_test_in_exactly_one_fold_and_no_group_stands_on_two_sides(recipe: Make) -> None:
    tests: list[str] = []
    for number in (1, 2, 3):
        sides = prepare(recipe(data__fold=f"{number} of 3")).sides
        held = sides.tests["triplets"].rows["anchor"][:]
        assert not set(held) & set(sides.train.rows["anchor"][:])
        assert sides.dev is not None
        assert not set(held) & set(sides.dev.rows["anchor"][:])
        tests += held
    assert sorted(tests) == sorted(row["anchor"] for row in tiny.toy_triplets(60))


def test_a_fold_says_in_its_recipe_which_it_is_and_can_be_run_again(recipe: Make, tmp_path: Path) -> None:
    first = et.run(recipe(data__fold="2 of 3"), tmp_path / "first")
    again = et.run(et.load_recipe(first.out / "recipe.yaml"), tmp_path / "again")
    assert again.tuned == first.tuned
    made = et.load_recipe(first.out / "recipe.yaml")
    assert (made.data.fold, made.data.test) == ("2 of 3", None)


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"data.fold": "0 of 3"}, "counts from '1 of n'"),
        ({"data.fold": "4 of 3"}, "counts from '1 of n'"),
        ({"data.fold": "third"}, "such as '2 of 5'"),
        ({"data.fold": "1 of 3", "data.test": 0.2}, "data.fold: found 1 of 3 next to data.test: 0.2"),
    ],
)
def test_what_is_no_fold_is_refused(leaves: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        et.load_recipe(set={"data.train": "rows.jsonl", **leaves})


def test_test_rows_handed_over_beside_a_fold_are_refused(recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="test rows are handed over"):
        et.run(recipe(data__fold="1 of 3"), tmp_path, test=tiny.toy_triplets(10, start=100))


# All folds


def test_each_fold_is_a_run_of_its_own_and_what_they_say_together_is_written_down(recipe: Make, tmp_path: Path) -> None:
    found = et.cross_validate(recipe(), tmp_path / "folds", 3)
    names = sorted(path.name for path in found.out.iterdir())
    assert names == ["fold-1-of-3", "fold-2-of-3", "fold-3-of-3", "metrics.json", "report.html", "report.md"]
    assert sum(fold.items for fold in found.folds) == found.together.counts.items == 60
    for fold in found.folds:
        result = json.loads((found.out / f"fold-{fold.number}-of-3" / "metrics.json").read_text(encoding="utf-8"))
        assert (fold.baseline, fold.tuned) == (
            result["baseline"][result["primary"]], result["tuned"][result["primary"]]
        )  # fmt: skip
    record = json.loads((found.out / "metrics.json").read_text(encoding="utf-8"))
    assert record["verdict"] == found.together.verdict
    assert [fold["number"] for fold in record["folds"]] == [1, 2, 3]
    assert found.together.sentence.split(": ", 1)[1][:20] in (found.out / "report.md").read_text(encoding="utf-8")


def test_the_same_call_again_reads_finished_folds_and_makes_those_that_are_missing(
    recipe: Make, tmp_path: Path
) -> None:
    first = et.cross_validate(recipe(), tmp_path / "folds", 2)
    before = (first.out / "metrics.json").read_bytes()
    stamp = (first.out / "fold-1-of-2" / "metrics.json").stat().st_mtime_ns
    shutil.rmtree(first.out / "fold-2-of-2")
    et.cross_validate(recipe(), tmp_path / "folds", 2)
    assert (first.out / "metrics.json").read_bytes() == before
    assert (first.out / "fold-1-of-2" / "metrics.json").stat().st_mtime_ns == stamp


def test_the_final_model_is_trained_on_all_rows_for_the_median_of_the_best_steps(recipe: Make, tmp_path: Path) -> None:
    made = recipe(train__max_steps=6, train__learning_rate=5e-3, guard__eval_every="2 steps", guard__patience=None)
    found = et.cross_validate(made, tmp_path / "folds", 2, final=True)
    assert found.steps > 0
    assert found.final is not None
    facts = json.loads((found.out / "final" / "facts.json").read_text(encoding="utf-8"))
    assert facts["steps"] == found.steps
    assert [(side["role"], side["rows"]) for side in facts["sides"]] == [("train", 60)]


def test_a_recipe_without_sides_keeps_what_is_not_about_them(recipe: Make) -> None:
    made = on_all_rows(recipe(guard__on_overfit="regularise", guard__patience="2 epochs"), 7)
    assert (made.data.dev, made.data.test, made.train.max_steps, made.train.epochs) == ("none", "none", 7, None)
    assert made.train.learning_rate == 2e-3


def test_more_folds_than_groups_are_refused(recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="99 folds of 60 groups cannot be made"):
        et.cross_validate(recipe(), tmp_path / "folds", 99)
    assert not (tmp_path / "folds" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("folds", "leaves", "message"),
    [
        (1, {}, "ask for at least 2"),
        (3, {"data__test": 0.2}, r"data\.test: found 0\.2, and each fold is the test set of a run"),
        (3, {"data__fold": "1 of 3"}, r"data\.fold: found 1 of 3, and all folds are run"),
        (3, {"data__subset": 0.5}, "a learning curve trains on parts of its own"),
    ],
)
def test_what_has_no_place_in_a_cross_validation_is_refused(
    recipe: Make, tmp_path: Path, folds: int, leaves: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        et.cross_validate(recipe(**leaves), tmp_path / "folds", folds, learning_curve=True)
    assert not (tmp_path / "folds").exists()


@pytest.mark.parametrize("name", ["fold-1-of-7", "notes.txt"])
def test_a_folder_with_anything_else_in_it_is_refused(recipe: Make, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(RunFolderError, match=f"holds {name}"):
        et.cross_validate(recipe(), tmp_path, 3)


def test_the_command_prints_a_line_for_each_fold_and_the_verdict(
    tiny_model_path: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["crossval", "--model", str(tiny_model_path), "--train", str(rows), "--out", str(tmp_path / "folds")]
    settings = ["train.max_steps=2", "evaluate.similarity=[cosine]", "evaluate.retention=null"]
    assert main([*words, "--folds", "2", *(word for one in settings for word in ("--set", one))]) == 0
    shown = capsys.readouterr().out
    assert "60 items in 2 folds" in shown
    assert "over 2 folds, of 60 test triplets" in " ".join(shown.split())
    assert str(tmp_path / "folds" / "report.html") in shown.replace("\n", "")


# Parts of the rows, and a learning curve


def test_a_part_of_the_training_rows_lies_within_a_larger_one_and_leaves_dev_and_test_alone(recipe: Make) -> None:
    whole, most, some = (prepare(recipe(data__subset=share)).sides for share in (None, 0.6, 0.3))
    anchors = [set(sides.train.rows["anchor"][:]) for sides in (whole, most, some)]
    assert anchors[2] < anchors[1] < anchors[0]
    assert 0.15 < len(anchors[2]) / len(anchors[0]) < 0.45
    for sides in (most, some):
        assert sides.dev is not None
        assert whole.dev is not None
        assert sides.dev.rows["anchor"][:] == whole.dev.rows["anchor"][:]
        assert sides.tests["triplets"].rows["anchor"][:] == whole.tests["triplets"].rows["anchor"][:]
    assert any("as data.subset says" in note.text for note in some.train.notes)


def test_a_part_as_large_as_the_whole_is_refused(recipe: Make) -> None:
    with pytest.raises(RecipeError, match=r"data\.subset: found 1000, and there are"):
        prepare(recipe(data__subset=1_000))


def test_a_learning_curve_trains_each_fold_on_parts_of_its_rows(recipe: Make, tmp_path: Path) -> None:
    rows = {"train": tiny.toy_triplets(160)}
    made = et.replace(recipe(train__max_steps=1), {"data.train": None})
    found = et.cross_validate(made, tmp_path / "folds", 2, learning_curve=True, rows=rows)
    assert found.growth is not None
    assert [round(rows / found.growth.rows[-1], 1) for rows in found.growth.rows] == [0.1, 0.3, 1.0]
    assert "would" in found.growth.answer
    assert found.growth.answer in (found.out / "report.md").read_text(encoding="utf-8").replace("\\", "").lower()
    names = sorted(path.name for path in found.out.iterdir() if path.is_dir())
    parts = ["", "-rows-10", "-rows-30"]
    assert names == [f"fold-{number}-of-2{part}" for number in (1, 2) for part in parts]
