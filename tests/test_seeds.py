"""Several seeds of one recipe: what the seed of training decides, what it does not, and what seeds say together."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune.cli import main
from embertune.errors import Interrupted, RecipeError, RunFolderError
from embertune.evaluate.seeds import pooled
from embertune.model.save import fingerprint
from embertune.result import read_result
from embertune.watch import Progress, Silent
from tests import tiny


@pytest.fixture(scope="module")
def recipe(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., et.Recipe]:
    """A recipe of a few steps on pairs, with leaves changed; a double underscore is a dot."""
    rows = tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "faq.jsonl", tiny.toy_pairs(120))
    settings = {
        "model.name": str(tiny_model_path), "data.train": str(rows), "train.max_steps": 4, "train.batch_size": 8,
        "train.learning_rate": 1e-3, "evaluate.similarity": ["cosine"],
    }  # fmt: skip

    def make(**leaves: Any) -> et.Recipe:
        return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})

    return make


def weights_of(folder: Path) -> str:
    return fingerprint(SentenceTransformer(str(folder), device="cpu", local_files_only=True))


def audit(result: et.Result) -> Any:
    return json.loads((result.out / "audit.json").read_text(encoding="utf-8"))


def losses(result: et.Result) -> list[float]:
    lines = (result.out / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["loss"] for record in map(json.loads, lines) if "loss" in record]


@pytest.fixture(scope="module")
def seeded(recipe: Callable[..., et.Recipe], tmp_path_factory: pytest.TempPathFactory) -> et.Seeded:
    """Three seeds from 4 on, of a recipe whose data go by 5."""
    return et.run_seeds(recipe(seed=5, train__seed=4), tmp_path_factory.mktemp("seeds") / "out")


def files(folder: Path) -> dict[str, bytes]:
    """What must not change when nothing is trained."""
    names = ("metrics.json", "history.jsonl", "recipe.yaml")
    return {str(path.relative_to(folder)): path.read_bytes() for name in names for path in folder.rglob(name)}


def result_of(seeded: et.Seeded, number: int) -> et.Result:
    return read_result(seeded.out / f"seed-{number}")


def test_the_seed_of_training_changes_what_is_learnt_and_neither_splits_nor_baseline(seeded: et.Seeded) -> None:
    one, other = (result_of(seeded, number) for number in (4, 5))
    assert one.baseline == other.baseline
    assert audit(one) == audit(other)
    assert losses(one) != losses(other)
    assert weights_of(one.model) != weights_of(other.model)


def test_every_seed_is_the_run_that_it_is_alone_and_no_seed_of_training_is_that_of_the_data(
    recipe: Callable[..., et.Recipe], seeded: et.Seeded, tmp_path: Path
) -> None:
    alone, inside = et.run(recipe(seed=5), tmp_path / "alone"), result_of(seeded, 5)
    assert audit(inside) == audit(alone)
    assert losses(inside) == losses(alone)
    assert weights_of(inside.model) == weights_of(alone.model)
    assert inside.change == alone.change


def test_the_joint_result_is_that_of_the_single_ones(seeded: et.Seeded) -> None:
    found, primary = seeded.joint, seeded.joint.primary
    assert primary is not None
    changes = [one.change for one in seeded.seeds]
    assert found.counts is not None
    mean = found.change[primary]
    expected = pooled(changes, found.counts.groups)
    assert (mean.change.difference, mean.change.low, mean.change.high) == (
        expected.difference, expected.low, expected.high,
    )  # fmt: skip
    assert mean.by_seed == tuple(one.difference for one in changes)
    assert [one.name for one in found.retention] == ["general"]
    record = json.loads((seeded.out / "metrics.json").read_text(encoding="utf-8"))
    assert record == json.loads(json.dumps(seeded.as_record()))
    assert (record["verdict"], record["sentence"]) == (found.verdict, found.sentence)
    assert [one["number"] for one in record["seeds"]] == [4, 5, 6]
    report = seeded.report.with_suffix(".md").read_text(encoding="utf-8")
    assert {path.name for path in seeded.out.iterdir()} == {
        "seed-4", "seed-5", "seed-6", "metrics.json", "report.html", "report.md",
    }  # fmt: skip
    assert found.sentence[1:].split(" (")[0] in report
    assert "| **mean** |" in report


def test_the_seed_to_take_is_the_best_on_dev(seeded: et.Seeded) -> None:
    dev = {one.number: one.dev for one in seeded.seeds}
    assert seeded.recommended is not None
    assert dev[seeded.recommended] == max(dev.values())
    assert seeded.model == seeded.out / f"seed-{seeded.recommended}" / "model"
    assert "on dev" in seeded.why


def test_a_folder_with_other_seeds_or_anything_else_is_an_error_and_left_alone(
    recipe: Callable[..., et.Recipe], seeded: et.Seeded, tmp_path: Path
) -> None:
    before = files(seeded.out)
    for changed, seeds, needle in (
        ({}, 2, "holds seed-6, which is not asked for"),
        ({"train__seed": 5}, 3, "holds seed-4, which is not asked for"),
        ({"train__max_steps": 3}, 3, "holds the run of another recipe"),
    ):
        with pytest.raises(RunFolderError, match=needle):
            et.run_seeds(recipe(**({"seed": 5, "train__seed": 4} | changed)), seeded.out, seeds)
    assert files(seeded.out) == before
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"holds notes\.txt"):
        et.run_seeds(recipe(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_one_seed_is_refused_before_anything_is_read(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="ask for at least 2 seeds"):
        et.run_seeds(recipe(data__train="nowhere.jsonl"), tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


class Stops(Silent):
    """Interrupts the second seed at a step."""

    def __init__(self) -> None:
        self.seeds = 0

    def stage(self, name: str, detail: str = "") -> None:
        """Count seeds."""
        self.seeds += name == "seed"

    def step(self, progress: Progress) -> None:
        """Stop."""
        if self.seeds == 2 and progress.step == 2:
            raise Interrupted("the same call")


def test_what_was_interrupted_goes_on_a_finished_one_is_only_read_and_a_larger_number_adds_a_seed(
    recipe: Callable[..., et.Recipe], seeded: et.Seeded, tmp_path: Path
) -> None:
    asked, out = recipe(seed=5, train__seed=4), tmp_path / "out"
    shutil.copytree(seeded.out / "seed-4", out / "seed-4")
    with pytest.raises(Interrupted):
        et.run_seeds(asked, out, 2, watch=Stops())
    assert not (out / "metrics.json").exists()
    two = et.run_seeds(asked, out, 2)
    assert [one.number for one in two.seeds] == [4, 5]
    before = files(out)
    assert et.run_seeds(asked, out, 2) == two
    assert files(out) == before
    three = et.run_seeds(asked, out, 3)
    assert three.joint == seeded.joint
    assert {name: text for name, text in files(out).items() if name in before and "/" in name} == {
        name: text for name, text in before.items() if "/" in name
    }


def test_rows_that_are_handed_over_reach_every_seed(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    rows = {"train": tiny.toy_pairs(60), "test": tiny.toy_pairs(40, start=100)}
    asked = recipe(data__train=None, data__test="auto", data__dev="none", train__max_steps=1)
    found = et.run_seeds(asked, tmp_path / "out", 2, rows=rows)
    assert found.joint.counts is not None
    assert found.joint.counts.items == 40
    assert (found.recommended, found.model) == (None, None)
    assert "no dev rows" in found.why


# On the command line


@pytest.fixture
def words(seeded: et.Seeded) -> list[str]:
    """The command for what `seeded` holds."""
    return ["run", str(seeded.out / "seed-4" / "recipe.yaml"), "--seeds", "3", "--out", str(seeded.out)]


def test_the_command_tells_every_seed_and_what_they_say_together(
    words: list[str], seeded: et.Seeded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    assert re.findall(r"^ +(\d+|mean) ", text, re.MULTILINE) == ["4", "5", "6", "mean"]
    assert seeded.joint.sentence in text
    assert f"model:  {seeded.model}" in text
    assert main([*words, "--quiet"]) == 0
    quiet = capsys.readouterr().out
    assert quiet.startswith(f"\n{seeded.joint.sentence}\nto take: {seeded.why}\n")
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(seeded.as_record()))


def test_a_dry_run_of_several_seeds_estimates_all_of_them_and_one_seed_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*words[:-1], str(tmp_path / "new"), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "4 for each of 3 seeds" in text
    assert "all of them together" in text
    assert not (tmp_path / "new").exists()
    assert main([*words[:3], "1", "--dry-run"]) == 1
    assert "ask for at least 2 seeds" in capsys.readouterr().err


def test_ctrl_c_names_the_command_that_goes_on(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("embertune.several.run", interrupted)
    assert main(words) == 130
    assert shlex.join(["embertune", *words]) in capsys.readouterr().err
