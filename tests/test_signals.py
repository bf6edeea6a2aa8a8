"""Being asked to end: the step is finished, a checkpoint is written, and the same command goes on; twice, at once."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.cli import main
from embertune.errors import Interrupted
from embertune.signals import Ending, terminable
from embertune.watch import Progress, Silent
from tests.tiny import toy_pairs, write_jsonl


def asked(number: int) -> None:
    """This process is sent a signal, which python hears at once in its main thread."""
    os.kill(os.getpid(), number)
    time.sleep(0)


class Sends(Silent):
    """Sends a signal after so many steps; hears what is told."""

    def __init__(self, after: int, number: int, times: int = 1) -> None:
        self.after, self.number, self.times, self.said = after, number, times, list[str]()

    def note(self, text: str) -> None:
        self.said.append(text)

    def step(self, progress: Progress) -> None:
        if progress.step == self.after:
            for _ in range(self.times):
                asked(self.number)


def recipe(folder: Path, model: Path, **leaves: Any) -> et.Recipe:
    rows = write_jsonl(folder / "faq.jsonl", toy_pairs(60))
    settings = {
        "model.name": str(model), "data.train": str(rows), "train.max_steps": 6, "train.batch_size": 8,
        "data.test": "none", "guard.eval_every": "2 steps", "guard.patience": None, **leaves,
    }  # fmt: skip
    return et.load_recipe(set=settings)


def weights(result: et.Result) -> bytes:
    return (result.model / "model.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """As at a terminal: a shell starts its background jobs with SIGINT ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_end_writes_a_checkpoint_and_goes_on_to_the_same_end(
    tmp_path: Path, tiny_model_path: Path, number: int
) -> None:
    made = recipe(tmp_path, tiny_model_path)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted):
        et.run(made, tmp_path / "out", watch=Sends(3, number))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    lines = (tmp_path / "out" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["step"] == 3
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-000003"]
    watch = Sends(0, number)
    result = et.run(made, tmp_path / "out", watch=watch)
    assert "goes on from checkpoints/step-000003" in watch.said
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert weights(result) == weights(et.run(made, tmp_path / "alone"))


def test_asked_in_the_last_step_of_all_it_still_ends(tmp_path: Path, tiny_model_path: Path) -> None:
    made = recipe(tmp_path, tiny_model_path)
    with pytest.raises(Interrupted):
        et.run(made, tmp_path / "out", watch=Sends(6, signal.SIGTERM))
    assert et.run(made, tmp_path / "out", watch=Sends(1, signal.SIGTERM)).verdict == "unmeasured"


def test_a_second_signal_leaves_at_once(tmp_path: Path, tiny_model_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        et.run(recipe(tmp_path, tiny_model_path), tmp_path / "out", watch=Sends(3, signal.SIGINT, times=2))
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_without_checkpoints_a_signal_ends_as_it_always_did(tmp_path: Path, tiny_model_path: Path) -> None:
    made = recipe(tmp_path, tiny_model_path, **{"train.save_every": None})
    with pytest.raises(KeyboardInterrupt):
        et.run(made, tmp_path / "out", watch=Sends(3, signal.SIGINT))
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_the_command_ends_with_130_and_says_what_goes_on(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_jsonl(tmp_path / "faq.jsonl", toy_pairs(60))
    words = ["run", "--model", str(tiny_model_path), "--train", str(rows), "--out", str(tmp_path / "out")]
    words += ["--set", "train.max_steps=60", "--set", "train.batch_size=8", "--quiet"]

    def later() -> None:
        history = tmp_path / "out" / "history.jsonl"
        while not history.is_file() or history.read_bytes().count(b"\n") < 3:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=later)
    thread.start()
    assert main(words) == 130
    thread.join()
    assert f"Go on with: embertune {' '.join(words)}" in capsys.readouterr().err
    assert list((tmp_path / "out" / "checkpoints").iterdir())


def test_sigterm_before_training_ends_with_130_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("embertune.cli._terminal", lambda options: asked(signal.SIGTERM))
    assert main(["cache", "--cache-dir", str(tmp_path)]) == 130


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Ending() as ending:
            asked(signal.SIGINT)
        assert not ending.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_train_and_hears_no_signals() -> None:
    found = []

    def work() -> None:
        with Ending() as ending, terminable():
            found.append((ending.asked, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before)]
