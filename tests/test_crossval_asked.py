"""Cross-validation as it is asked for: its dry run, rows handed over, and what is refused in one clear message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.cli import main
from embertune.crossval import foresee
from embertune.dryrun import dry_run
from embertune.errors import DataError, RecipeError
from embertune.watch import Silent
from tests import tiny

Words = Callable[..., list[str]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "triplets.jsonl", tiny.toy_triplets(60))


@pytest.fixture
def settings(tiny_model_path: Path, rows: Path) -> dict[str, Any]:
    return {
        "model.name": str(tiny_model_path), "data.train": str(rows), "train.epochs": 2, "train.batch_size": 8,
        "evaluate.similarity": ["cosine"], "evaluate.retention": None,
    }  # fmt: skip


@pytest.fixture
def words(settings: dict[str, Any], tmp_path: Path) -> Words:
    def make(folds: int = 2, **leaves: Any) -> list[str]:
        made = settings | {path.replace("__", "."): value for path, value in leaves.items()}
        set_ = [word for path, value in made.items() for word in ("--set", f"{path}={json.dumps(value)}")]
        return ["crossval", "--folds", str(folds), "--out", str(tmp_path / "folds"), "--quiet", *set_]

    return make


# What it would do


def test_a_dry_run_shows_every_fold_and_estimates_all_of_them_and_trains_nothing(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words(3), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "fold: 1 of 3" in text
    for number in (1, 2, 3):
        assert f"fold-{number}-of-3" in text
    assert text.count("20 test triplets") == 3
    assert "for each of 3 folds" in text
    assert "all of them together" in text
    assert not (tmp_path / "folds").exists()


def test_a_learning_curve_and_a_final_model_are_foreseen_too(settings: dict[str, Any]) -> None:
    recipe = et.load_recipe(set=settings)
    one = dry_run(et.replace(recipe, {"data.fold": "1 of 2"}), Silent()).estimate
    told = foresee(recipe, 2, learning_curve=True, final=True)
    assert [name for name in told.runs if name.endswith("-rows-10")] == ["fold-1-of-2-rows-10", "fold-2-of-2-rows-10"]
    assert told.runs["fold-1-of-2-rows-10"]["train"] < told.runs["fold-1-of-2"]["train"]
    assert told.estimate.disk == 7 * one.disk  # two folds of three runs each, and the final one
    assert "fewer on parts of their rows" in dict(told.estimate.lines())["steps"]


# Rows that are handed over


def test_folds_of_rows_that_are_handed_over_are_those_of_the_file_and_as_foreseen(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    recipe = et.load_recipe(set=settings | {"train.epochs": 1})
    handed = {"train": tiny.toy_triplets(60)}
    found = et.cross_validate(et.replace(recipe, {"data.train": None}), tmp_path / "folds", 2, rows=handed)
    for name, rows in foresee(recipe, 2).runs.items():
        sides = json.loads((found.out / name / "facts.json").read_text(encoding="utf-8"))["sides"]
        assert [side["rows"] for side in sides][:3] == list(rows.values())
    stamp = (found.out / "fold-2-of-2" / "metrics.json").stat().st_mtime_ns
    again = et.cross_validate(et.replace(recipe, {"data.train": None}), tmp_path / "folds", 2, rows=handed)
    assert again.together == found.together
    assert (found.out / "fold-2-of-2" / "metrics.json").stat().st_mtime_ns == stamp


def test_test_rows_handed_over_to_a_cross_validation_are_refused_before_anything_is_written(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    handed = {"train": tiny.toy_triplets(60), "test": tiny.toy_triplets(10, start=100)}
    with pytest.raises(RecipeError, match="test rows are handed over"):
        et.cross_validate(et.load_recipe(set={**settings, "data.train": None}), tmp_path / "folds", 2, rows=handed)
    assert not (tmp_path / "folds").exists()


# What is refused


@pytest.mark.parametrize(
    ("folds", "leaves", "message"),
    [
        (99, {}, "99 folds of 60 groups cannot be made; ask for 2 to 60 folds"),
        (1, {}, "folds: found 1; ask for at least 2"),
        (3, {"data__test": 0.2}, "data.test: found 0.2, and each fold is the test set of a run; leave it out"),
        (3, {"data__fold": "1 of 3"}, "data.fold: found 1 of 3, and all folds are run; leave it out"),
        (3, {"evaluate__test": False}, "evaluate.test: found false, and each fold is measured on its rows"),
        (3, {"data__train": "nothing.jsonl"}, "nothing.jsonl"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_what_cannot_be_is_told_in_one_message_and_nothing_is_written(
    words: Words,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    folds: int,
    leaves: dict[str, Any],
    message: str,
    more: list[str],
) -> None:
    assert main([*words(folds, **leaves), *more]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (tmp_path / "folds").exists()


def test_other_data_in_the_same_folder_is_refused_and_what_is_there_stays(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leaves: dict[str, Any] = {"train__epochs": None, "train__max_steps": 1}
    other = tiny.write_jsonl(tmp_path / "other.jsonl", tiny.toy_triplets(60, start=100))
    own = tiny.write_jsonl(tmp_path / "own.jsonl", tiny.toy_triplets(60))
    leaves["data__train"] = str(own)
    assert main(words(2, **leaves)) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "folds").rglob("*") if path.is_file()}
    for asked in (words(2, **leaves | {"data__train": str(other)}), words(2, **leaves, seed=1), words(3, **leaves)):
        capsys.readouterr()
        assert main(asked) == 1
        assert "choose another --out" in capsys.readouterr().err
    tiny.write_jsonl(own, tiny.toy_triplets(59))
    assert main(words(2, **leaves)) == 1
    assert "other data" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "folds").rglob("*") if path.is_file()} == before


def test_a_class_of_fewer_rows_than_folds_is_no_obstacle(settings: dict[str, Any], tmp_path: Path) -> None:
    made = [row | ({"label": "rare"} if place < 2 else {}) for place, row in enumerate(tiny.toy_classes(60, classes=3))]
    rows = tiny.write_jsonl(tmp_path / "classes.jsonl", made)
    told = foresee(et.load_recipe(set={**settings, "data.train": str(rows)}), 5)
    assert sum(sides["test classes"] for sides in told.runs.values()) == 60


def test_no_rows_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.jsonl"):
        et.cross_validate(et.load_recipe(set={**settings, "data.train": str(tmp_path / "empty.jsonl")}), tmp_path / "x")
    assert not (tmp_path / "x").exists()
