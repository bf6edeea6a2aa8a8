"""Checkpoints: what is written is whole or is passed over, and a run that is broken off ends where it would have."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer

from embertune.errors import RunFolderError
from embertune.model.prompts import column_prompts
from embertune.training.checkpoint import Checkpoints
from embertune.training.fit import Fit, fit
from embertune.training.looking import Dev
from embertune.training.session import Surroundings
from embertune.training.snapshot import Snapshot
from embertune.watch import Progress, Silent
from tests import tiny
from tests.training.made import distance, planned, weights

Loader = Callable[[], SentenceTransformer]


def snapshot(step: int, times: int = 1) -> Snapshot:
    tensors = {"weights/a": torch.full((3,), float(step)), "best/a": torch.full((2,), float(times))}
    return Snapshot(tensors, {"run": {"done": step, "latest": float("nan")}, "best": {"times": times}})


def written(folder: Path, *steps: int, keep: int = 9) -> Checkpoints:
    checkpoints = Checkpoints(folder / "checkpoints", keep, 1)
    for step in steps:
        checkpoints.write(step, snapshot(step))
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    found = written(tmp_path, 7).newest()
    assert found.snapshot is not None
    assert found.source == "checkpoints/step-000007"
    assert {name: tensor.tolist() for name, tensor in found.snapshot.tensors.items()} == {
        "weights/a": [7.0] * 3, "best/a": [1.0] * 2,
    }  # fmt: skip
    assert found.snapshot.facts["run"]["done"] == 7
    assert found.snapshot.facts["run"]["latest"] != found.snapshot.facts["run"]["latest"]


def test_without_a_checkpoint_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none", 2, 1).newest().snapshot is None


def test_at_most_so_many_stay_and_they_are_the_newest(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, 1, 2, 3, 1_000_000, keep=2)
    assert names(tmp_path) == ["step-000003", "step-1000000"]
    assert checkpoints.newest().source.endswith("step-1000000")


def test_the_best_state_is_linked_while_it_stays_the_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", 3, 1)
    for step, times in ((1, 1), (2, 1), (3, 2)):
        checkpoints.write(step, snapshot(step, times))
    numbers = [(tmp_path / f"checkpoints/step-00000{n}/best.safetensors").stat().st_ino for n in (1, 2, 3)]
    assert numbers[0] == numbers[1] != numbers[2]
    found = checkpoints.newest().snapshot
    assert found is not None
    assert found.tensors["best/a"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("file", ["state.json", "state.safetensors", "best.safetensors", "sha256.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_is_passed_over_and_told_of(tmp_path: Path, file: str, damage: str) -> None:
    checkpoints = written(tmp_path, 1, 2)
    path = tmp_path / "checkpoints" / "step-000002" / file
    whole = path.read_bytes()
    path.unlink()  # it may be linked to an earlier one
    if damage != "gone":
        middle = len(whole) // 2
        flipped = bytes([whole[middle] ^ 1])
        path.write_bytes(whole[:middle] + (b"" if damage == "cut" else flipped + whole[middle + 1 :]))
    found = checkpoints.newest()
    assert found.source.endswith("step-000001")
    (told,) = found.passed_over
    assert told.startswith("step-000002 is damaged" if damage != "gone" else "step-000002 is not complete")
    checkpoints.write(3, snapshot(3))
    assert checkpoints.newest().passed_over == ()


def test_one_of_a_later_step_that_was_passed_over_does_not_outlive_the_next(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, 1, 5)
    (tmp_path / "checkpoints/step-000005/state.json").write_text("{}", encoding="utf-8")
    checkpoints.write(2, snapshot(2))
    assert names(tmp_path) == ["step-000001", "step-000002"]


def test_what_was_being_written_or_removed_is_cleared_away(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, 1)
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "step-000001", folder / ".step-000002.partial")
    shutil.copytree(folder / "step-000001", folder / ".step-000000.old")
    assert checkpoints.newest().source.endswith("step-000001")
    assert names(tmp_path) == ["step-000001"]


def test_one_of_another_format_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = written(tmp_path, 1)
    monkeypatch.setattr("embertune.training.checkpoint._WRITER", "9.9, format 1")
    (told,) = checkpoints.newest().passed_over
    assert re.fullmatch(r"step-000001 was written by another version of embertune \(0\..*, format 1\)", told)


def test_tensors_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1, 1)
    checkpoints.write(1, Snapshot({"weights/a": whole, "weights/b": whole, "weights/c": whole.T}, {}))
    found = checkpoints.newest().snapshot
    assert found is not None
    assert torch.equal(found.tensors["weights/b"], whole)
    assert torch.equal(found.tensors["weights/c"], whole.T)


def test_a_folder_that_cannot_be_written_is_told_and_leaves_the_earlier_ones(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, 1)
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").write_text("a file", encoding="utf-8")
    with pytest.raises((RunFolderError, FileExistsError)):
        checkpoints.write(2, snapshot(2))


# Runs that are broken off


class Breaks(Silent):
    """Breaks a run off after so many steps, as a power cut would; hears what is told."""

    def __init__(self, after: int) -> None:
        self.after, self.said = after, list[str]()

    def note(self, text: str) -> None:
        self.said.append(text)

    def step(self, progress: Progress) -> None:
        if progress.step == self.after:
            raise PowerCutError


class PowerCutError(Exception):
    """The lights are out."""


VALUES = [0.1, 0.3, 0.2, 0.25, 0.2, 0.1, 0.4, 0.2, 0.1, 0.3, 0.2, 0.1, 0.0]

#: Runs that go on in different ways: what dev decides, thaws, an average, a head, several passes, accumulation.
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no dev": {"data__dev": "none"},
    "accumulated": {"train__accumulate": 2},
    "thaw": {"train__freeze": 1, "train__unfreeze": "4 steps"},
    "plateau": {"train__schedule": "plateau", "train__schedule_options": {"patience": "1 evaluation"}},
    "average": {"train__average": 0.9},
    "head": {"train__loss": "softmax"},
    "masked": {"train__known_positives": "mask"},
    "stopped": {"guard__patience": "2 evaluations"},
}


def broken_off(
    tiny_model: Loader, folder: Path, name: str, *afters: int, keep: int | None = 2
) -> tuple[dict[str, torch.Tensor], Fit, list[dict[str, Any]], list[str]]:
    """A run that ends `after` so many steps, again and again, and at last goes on to its end."""
    watch = Silent()
    for after in (*afters, 0):
        dev = {} if "data__dev" in RUNS[name] else {"guard__eval_every": "2 steps", "guard__patience": None}
        rows = tiny.toy_nli(90) if name == "head" else tiny.toy_pairs(60)
        settings = {"data__dev": 0.2, "train__max_steps": 12, "train__batch_size": 8, "train__learning_rate": 1e-3}
        made = planned(tiny_model(), rows, **settings | dev | RUNS[name])
        metric, watch = made.resolved.recipe.guard.metric, Breaks(after)
        seen = folder / "looks"

        def score(metric: str | None = metric, seen: Path = seen) -> Dev:
            """A dev set that knows by itself how far the run is."""
            lines = (seen.parent / "history.jsonl").read_text(encoding="utf-8").splitlines()
            step = max(json.loads(line)["step"] for line in lines)
            return Dev({str(metric): VALUES[step]})

        train = made.data.sides.train
        around = Surroundings(
            score if metric else None, folder / "history.jsonl", watch,
            column_prompts(made.built.role_prompts, train.text_columns), Dev({str(metric): VALUES[0]}),
            encode=made.encode, checkpoints=Checkpoints(folder / "checkpoints", keep, 3) if keep else None,
        )  # fmt: skip
        try:
            fitted = fit(made.built.model, train, made.resolved.recipe, around, made.course)
        except PowerCutError:
            assert after
    history = [json.loads(line) for line in around.history.read_text(encoding="utf-8").splitlines()]
    return weights(made.built.model), fitted, history, watch.said


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_broken_off_twice_ends_as_the_one_left_alone(
    tiny_model: Loader, tmp_path: Path, name: str
) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "broken").mkdir()
    alone, fitted, history, _ = broken_off(tiny_model, tmp_path / "alone", name, keep=None)
    broken, again, other, said = broken_off(tiny_model, tmp_path / "broken", name, 5, 7)
    assert distance(alone, broken) == 0.0
    assert history == other
    assert (fitted.steps, fitted.best_step, fitted.stopped) == (again.steps, again.best_step, again.stopped)
    assert said == ["goes on from checkpoints/step-000006"]
