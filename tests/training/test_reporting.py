"""Trackers follow one life of a run, whatever its phases, and change no weight; one that fails ends no run."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from sentence_transformers import SentenceTransformer
from transformers import TrainerCallback

import embertune as et
from embertune.errors import EmbertuneError
from embertune.recipe import Recipe, load_recipe
from embertune.recipe.reporting import PACKAGES
from embertune.training import reporting
from embertune.training.reporting import EVENTS, logs_of
from embertune.watch import Silent
from tests import tiny


def _events(folder: Path) -> dict[str, dict[int, float]]:
    """Scalars by tag and step from the one event file in a folder: records with a length and checksums around them."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.glob("events*")
    raw, scalars = file.read_bytes(), {}
    while raw:
        (length,) = struct.unpack("<Q", raw[:8])
        event = Event.FromString(raw[12 : 12 + length])
        raw = raw[16 + length :]
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    return scalars


def _recipe(*trackers: str, **leaves: Any) -> Recipe:
    settings = {
        "data.test": "none",
        "train.precision": "float32",
        "train.max_steps": 8,
        "train.batch_size": 8,
        "train.unfreeze": "3 steps",
        "train.freeze": 1,
        "guard.eval_every": "4 steps",
        "guard.patience": None,
        "train.report_to": list(trackers),
    }
    return load_recipe(set=settings | leaves)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return tiny.toy_pairs(60)


@pytest.fixture(scope="module")
def runs(rows: list[dict[str, Any]], tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with TensorBoard and without any tracker, in folders of these names."""
    folder = tmp_path_factory.mktemp("runs")
    for name, trackers in (("with", ["tensorboard"]), ("without", [])):
        model = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
        et.run(_recipe(*trackers), folder / name, train=rows, model=model)
    return folder


def test_tensorboard_has_every_step_of_all_phases_under_the_steps_of_the_run(runs: Path) -> None:
    lines = (runs / "with" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    history = [json.loads(line) for line in lines]
    assert any("thawed" in record for record in history)
    found = _events(runs / "with" / EVENTS)
    losses = {record["step"]: record["loss"] for record in history if "loss" in record}
    assert sorted(losses) == list(range(1, 9))
    assert found["train/loss"] == pytest.approx(losses)
    looks = {record["step"]: record["dev"] for record in history if "dev" in record}
    assert sorted(looks) == [0, 4, 8]
    for metric in looks[0]:
        expected = {step: dev[metric] for step, dev in looks.items()}
        assert found[f"eval/{metric.replace('@', '_')}"] == pytest.approx(expected)
    rates = [record["rates"] for record in history if "rates" in record]
    for row, rate in rates[-1].items():
        assert found[f"train/rate/{row.replace(' ', '_')}"][8] == pytest.approx(rate)
    assert "train/grad_norm" in found


def test_reporting_changes_no_weight(runs: Path) -> None:
    first, other = ((runs / name / "model" / "model.safetensors").read_bytes() for name in ("with", "without"))
    assert first == other
    assert not (runs / "without" / EVENTS).exists()


class Hears(TrainerCallback):
    """A tracker that counts its events, and fails at one of them."""

    heard: ClassVar[list[str]] = []
    fails = ""

    def _event(self, name: str) -> None:
        self.heard.append(name)
        if name == self.fails:
            raise ConnectionError("no route to host")

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._event("begin")

    def on_log(self, *_: Any, **__: Any) -> None:
        self._event("log")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._event("end")


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch) -> type[Hears]:
    """Stands for a service on the network."""
    monkeypatch.setattr(reporting, "get_reporting_integration_callbacks", lambda names: [Hears for _ in names])
    monkeypatch.setattr(Hears, "heard", [])
    monkeypatch.setitem(PACKAGES, "wandb", ("json",))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None, finish=lambda: Hears.heard.append("finish")))
    return Hears


def test_a_tracker_begins_once_and_ends_once_though_there_are_several_phases(
    hears: type[Hears], rows: list[dict[str, Any]], tmp_path: Path, tiny_model: Callable[[], SentenceTransformer]
) -> None:
    et.run(_recipe("wandb"), tmp_path, train=rows, model=tiny_model())
    assert hears.heard == ["begin", *["log"] * (8 + 3), "end", "finish"]


class Notes(Silent):
    """Keeps notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.stages.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_tracker_that_fails_on_the_way_is_told_nothing_more_and_the_run_goes_on(
    hears: type[Hears],
    rows: list[dict[str, Any]],
    tmp_path: Path,
    tiny_model: Callable[[], SentenceTransformer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hears, "fails", "log")
    watch = Notes()
    assert et.run(_recipe("wandb"), tmp_path, train=rows, model=tiny_model(), watch=watch).model.is_dir()
    assert hears.heard == ["begin", "log", "finish"]
    failed = [note for note in watch.notes if "train.report_to" in note]
    assert failed == ["train.report_to: wandb failed and is told nothing more: no route to host"]


def test_a_tracker_that_cannot_begin_is_one_clear_error(
    hears: type[Hears],
    rows: list[dict[str, Any]],
    tmp_path: Path,
    tiny_model: Callable[[], SentenceTransformer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hears, "fails", "begin")
    with pytest.raises(EmbertuneError, match=r"train\.report_to: wandb cannot begin: no route to host; set it up"):
        et.run(_recipe("wandb"), tmp_path, train=rows, model=tiny_model())


def test_a_tracker_that_cannot_begin_ends_the_run_before_anything_is_measured(
    rows: list[dict[str, Any]],
    tmp_path: Path,
    tiny_model: Callable[[], SentenceTransformer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "taken" / "events"))
    watch, out = Notes(), tmp_path / "run"
    with pytest.raises(EmbertuneError, match=r"train\.report_to: tensorboard cannot begin: .*Not a directory"):
        et.run(_recipe("tensorboard"), out, train=rows, model=tiny_model(), watch=watch)
    assert watch.stages == ["data", "model"]
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR")
    assert et.run(_recipe("tensorboard"), out, train=rows, model=tiny_model()).model.is_dir()
    assert _events(out / EVENTS)


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_done(
    rows: list[dict[str, Any]], tmp_path: Path, tiny_model: Callable[[], SentenceTransformer]
) -> None:
    with pytest.raises(EmbertuneError, match=r"mlflow is not installed \(mlflow\); pip install mlflow, or leave"):
        et.run(_recipe("mlflow"), tmp_path / "run", train=rows, model=tiny_model())
    assert not (tmp_path / "run").exists()


def test_every_tracker_of_the_recipe_is_one_of_the_host() -> None:
    from transformers.integrations import get_reporting_integration_callbacks

    assert len(get_reporting_integration_callbacks(list(PACKAGES))) == len(PACKAGES)


@pytest.mark.parametrize("trackers", [["tensorboard", "tensorboard"], ["neptune"], "tensorboard"])
def test_a_list_with_anything_else_in_it_is_refused(trackers: Any) -> None:
    with pytest.raises(EmbertuneError, match=r"train\.report_to"):
        load_recipe(set={"train.report_to": trackers})


def test_the_losses_without_dropout_are_told_and_what_was_not_measured_is_not() -> None:
    signs = {"train_loss": 0.2, "dev_loss": 0.5, "cosine": None, "rank": 7.0}
    record = {"step": 3, "epoch": 0.5, "dev": {"loss": 0.5, "cosine_accuracy": 0.7}, "signs": signs}
    assert logs_of(record) == {
        "eval_loss": 0.5,
        "eval_cosine_accuracy": 0.7,
        "loss_without_dropout": 0.2,
        "eval_effective_rank": 7.0,
    }
    assert logs_of({"step": 4, "thawed": ["block 1"]}) == {}
    assert logs_of({"step": 4, "loss": None, "skipped": "loss is nan"}) == {}
