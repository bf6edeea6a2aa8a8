"""Rows that are written are the rows of the run, and embertune reads them back as such."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from embertune.cli import main
from embertune.data.keyed import named
from embertune.data.prepare import Given
from embertune.errors import RunFolderError
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.rowfiles import write_rows
from embertune.watch import Silent
from tests import tiny

Rows = list[dict[str, Any]]


def texts(prepared: Any) -> Rows:
    rows: Rows = prepared.rows.select_columns(list(prepared.text_columns)).to_list()
    return rows


@pytest.mark.parametrize(
    ("rows", "leaves"),
    [
        (tiny.toy_pairs, {"data.negatives": {"num_negatives": 2, "random": 1}}),
        (tiny.toy_pairs, {}),
        (tiny.toy_nli, {"data.negatives": {}}),
        (tiny.toy_classes, {}),
        (tiny.toy_scored, {}),
        (tiny.toy_labelled, {}),
    ],
)
def test_what_is_written_is_what_would_be_trained_on_and_is_read_back_as_it_is(
    rows: Callable[..., Rows], leaves: Mapping[str, Any], tiny_model_path: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(set={"model.name": str(tiny_model_path), **leaves})
    written = write_rows(recipe, tmp_path / "rows", Given(rows(120)))
    sides = dict(named(plan(recipe, Given(rows(120)), None, Silent()).data.sides))
    assert sorted(path.name for path in written.out.iterdir()) == [
        "audit.json", "dev.jsonl", "recipe.yaml", "test-data.jsonl", "train.jsonl",
    ]  # fmt: skip
    assert not [path for path in tmp_path.iterdir() if path != written.out]
    files = {side: str(written.out / name) for side, name in written.files.items()}
    again = {"data.train": files["train"], "data.dev": files["dev"], "data.test": files["test data"]}
    back = plan(load_recipe(set={"model.name": str(tiny_model_path), **again}), None, None, Silent()).data.sides
    assert texts(back.train) == texts(sides["train"])
    assert back.train.shape == sides["train"].shape
    assert back.dev is not None
    assert texts(back.dev) == texts(sides["dev"])
    assert texts(back.tests["test-data"]) == texts(sides["test data"])
    assert json.loads((written.out / "audit.json").read_text()).get("negatives") is None or "data.negatives" in leaves


def test_a_side_for_retrieval_is_a_folder_that_is_read_back_with_its_corpus(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    source = tiny.toy_beir(tmp_path / "help")
    leaves = {"model.name": str(tiny_model_path), "data.train": str(source)}
    written = write_rows(load_recipe(set={**leaves, "data.negatives": {}}), tmp_path / "rows")
    assert written.files["train"] == "train.jsonl"
    folder = written.out / written.files["test help"]
    assert sorted(path.name for path in folder.iterdir()) == ["corpus.jsonl", "qrels", "queries.jsonl"]
    given = {"data.train": str(written.out / "train.jsonl"), "data.dev": "none", "data.test": str(folder)}
    back = plan(load_recipe(set={**leaves, **given}), None, None, Silent()).data.sides
    own = plan(load_recipe(set={**leaves, "data.dev": "none"}), None, None, Silent()).data.sides.tests["help"]
    (test,) = back.tests.values()
    assert test.shape == "retrieval"
    assert texts(test) == texts(own)
    assert test.corpus == own.corpus


def test_a_used_folder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "mine.txt").write_text("keep me")
    with pytest.raises(RunFolderError, match="holds files already; choose another --out"):
        write_rows(load_recipe(), tmp_path / "rows")
    assert [path.name for path in (tmp_path / "rows").iterdir()] == ["mine.txt"]


def test_nothing_is_left_where_the_data_cannot_be_used(tiny_model_path: Path, tmp_path: Path) -> None:
    from embertune.errors import DataError

    recipe = load_recipe(set={"model.name": str(tiny_model_path), "data.negatives": {"num_negatives": 50}})
    with pytest.raises(DataError, match="fewer than 50 texts"):
        write_rows(recipe, tmp_path / "rows", Given(tiny.toy_pairs(30)))
    assert not list(tmp_path.iterdir())


def test_the_command_writes_rows_and_says_what_trains_on_them(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tiny.write_jsonl(tmp_path / "pairs.jsonl", tiny.toy_pairs(60))
    words = ["prepare", "--model", str(tiny_model_path), "--train", str(rows), "--dev", "none"]
    words += ["--set", "data.negatives={}", "--out", str(tmp_path / "rows")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == {"train": "train.jsonl", "test pairs": "test-pairs.jsonl"}
    assert told["command"].startswith(f"embertune run --train {tmp_path / 'rows' / 'train.jsonl'} --set data.dev=none")
    assert main(words) == 1
    assert "holds files already" in capsys.readouterr().err
