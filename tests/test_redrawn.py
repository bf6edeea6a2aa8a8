"""`embertune report`: drawn again from the run folder alone, and several runs beside each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.cli import main
from embertune.errors import RecipeError, RunFolderError
from embertune.recipe import load_recipe
from embertune.redrawn import compare, redraw
from tests import tiny

REPORTS = ("report.md", "report.html")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model_path: Path) -> dict[str, et.Result]:
    """Three runs: two on the same test rows, one that shows no text and has other test rows."""
    folder = tmp_path_factory.mktemp("runs")
    train = str(tiny.write_jsonl(folder / "faq.jsonl", [*tiny.toy_pairs(150), tiny.toy_pairs(1)[0]]))
    shared = {"model.name": str(tiny_model_path), "data.train": train, "train.max_steps": 6, "train.batch_size": 8}
    asked: dict[str, dict[str, Any]] = {
        "one": {"train.learning_rate": 2e-3},
        "other": {"train.learning_rate": 1e-12},
        "silent": {"report.examples": False, "seed": 3},
    }
    return {name: et.run(load_recipe(set=shared | leaves), folder / name) for name, leaves in asked.items()}


@pytest.mark.parametrize("name", ["one", "silent"])
def test_what_is_drawn_again_is_the_same_to_the_byte(runs: dict[str, et.Result], name: str) -> None:
    out = runs[name].out
    before = {report: (out / report).read_bytes() for report in REPORTS}
    for report in REPORTS:
        (out / report).unlink()
    assert redraw(out) == out / "report.html"
    assert {report: (out / report).read_bytes() for report in REPORTS} == before


def test_a_folder_that_was_moved_names_its_new_place(runs: dict[str, et.Result], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(runs["one"].out, moved)
    redraw(moved)
    assert str(moved / "model") in (moved / "report.md").read_text()


def test_no_text_of_the_data_is_kept_where_none_may_be_shown(runs: dict[str, et.Result]) -> None:
    shown, silent = ((runs[name].out / "facts.json").read_text() for name in ("one", "silent"))
    texts = {text for row in tiny.toy_pairs(150) for text in row.values()}
    assert any(text in shown for text in texts)
    assert not any(text in silent for text in texts)


def test_runs_stand_beside_each_other_with_what_their_metrics_say(runs: dict[str, et.Result]) -> None:
    found = compare([runs["one"].out, runs["other"].out])
    assert found.apart == ""
    for line, name in zip(found.lines, ("one", "other"), strict=True):
        result = runs[name]
        assert (line.metric, line.verdict, line.chosen) == (result.primary, result.verdict, result.chosen)
        assert line.change == result.change[line.metric]
        assert line.tuned == result.tuned[line.metric]
        assert line.kept == {one.name: one.word for one in result.retention}
    assert found.lines[1].chosen == "base"


def test_other_test_rows_are_pointed_out(runs: dict[str, et.Result]) -> None:
    assert compare([runs["one"].out, runs["silent"].out]).apart == "they were measured on different test rows"


def test_the_command_does_both(runs: dict[str, et.Result], capsys: pytest.CaptureFixture[str]) -> None:
    one, other, silent = (str(runs[name].out) for name in ("one", "other", "silent"))
    assert main(["report", one]) == 0
    assert capsys.readouterr().out.strip() == f"report: {one}/report.html"
    assert main(["report", one, other, silent]) == 0
    text = capsys.readouterr().out
    assert "Not to be held against each other" in text
    assert main(["report", one, other, "--json"]) == 0
    assert [line["run"] for line in json.loads(capsys.readouterr().out)["lines"]] == [one, other]


def test_what_is_no_finished_run_is_told(runs: dict[str, et.Result], tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"holds no run that ended: facts\.json and history\.jsonl not there"):
        redraw(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(runs["one"].out, broken)
    (broken / "facts.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"facts\.json or history\.jsonl is not what a run writes"):
        redraw(broken)
    with pytest.raises(RecipeError, match="is named twice"):
        compare([runs["one"].out, runs["one"].out])
