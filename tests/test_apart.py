"""Runs in processes of their own: that they are ordinary runs, can be ended, tell what failed, and leave no orphan."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.apart import Ended, Worker
from tests import tiny

Make = Callable[..., et.Recipe]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(threads=1) as made:
        yield made


@pytest.fixture
def recipe(tiny_model_path: Path, tmp_path: Path) -> Make:
    rows = tiny.write_jsonl(tmp_path / "triplets.jsonl", tiny.toy_triplets(60))

    def make(**leaves: Any) -> et.Recipe:
        settings = {
            "model.name": str(tiny_model_path), "data.train": str(rows), "train.max_steps": 4, "train.batch_size": 8,
            "train.learning_rate": 2e-3, "evaluate.similarity": ["cosine"], "evaluate.retention": None,
            "guard.eval_every": "1 steps", "train.save_every": "1 steps", "guard.patience": None,
        }  # fmt: skip
        return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})

    return make


def never() -> bool:
    return False


def values(out: Path) -> Any:
    found = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return found["baseline"], found["tuned"]


def test_a_run_apart_is_the_run_it_would_be_here(worker: Worker, recipe: Make, tmp_path: Path) -> None:
    assert worker.run(recipe(), tmp_path / "apart", never) == Ended(True)
    et.run(recipe(), tmp_path / "here")
    assert values(tmp_path / "apart") == values(tmp_path / "here")
    assert not list(tmp_path.glob("apart.*"))


def test_a_run_that_is_stopped_goes_on_and_ends_in_the_same_place(worker: Worker, recipe: Make, tmp_path: Path) -> None:
    made = recipe(train__max_steps=30, guard__eval_every="10 steps")
    history = tmp_path / "apart" / "history.jsonl"
    ended = worker.run(made, tmp_path / "apart", lambda: history.is_file() and history.stat().st_size > 0)
    assert ended == Ended(False)
    assert not (tmp_path / "apart" / "metrics.json").exists()
    assert worker.run(made, tmp_path / "apart", never) == Ended(True)
    et.run(made, tmp_path / "here")
    assert values(tmp_path / "apart") == values(tmp_path / "here")


def test_what_a_run_refuses_is_told_in_its_own_words(worker: Worker, recipe: Make, tmp_path: Path) -> None:
    ended = worker.run(recipe(train__loss="cosent"), tmp_path / "apart", never)
    assert not ended.done
    assert "train.loss" in ended.error
    assert "Traceback" not in ended.error
    assert ended.error.splitlines()[-1] in (tmp_path / "apart.log").read_text(encoding="utf-8")


def test_a_run_that_is_killed_is_told_and_the_worker_goes_on(worker: Worker, recipe: Make, tmp_path: Path) -> None:
    made = recipe(train__max_steps=300)

    def kill() -> bool:
        if (tmp_path / "apart" / "history.jsonl").is_file():
            for child in children(worker_pid(worker)):
                os.kill(child, signal.SIGKILL)
        return False

    ended = worker.run(made, tmp_path / "apart", kill)
    assert not ended.done
    assert "SIGKILL" in ended.error
    assert worker.run(recipe(), tmp_path / "other", never) == Ended(True)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_no_run_outlives_a_process_that_is_killed(recipe: Make, tmp_path: Path) -> None:
    from embertune.recipe.explain import to_yaml

    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe(train__max_steps=5_000), {}), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from embertune.apart import Worker; from embertune import load_recipe\n"
        "with Worker() as worker: worker.run(load_recipe(sys.argv[1]), Path(sys.argv[2]), lambda: False)"
    )
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "recipe.yaml"), str(tmp_path / "run")])
    wait(lambda: (tmp_path / "run" / "history.jsonl").is_file())
    began = [*children(first.pid), *(pid for child in children(first.pid) for pid in children(child))]
    assert len(began) == 2
    first.kill()
    first.wait()
    wait(lambda: not any(alive(pid) for pid in began))


def worker_pid(worker: Worker) -> int:
    process = worker._process
    assert process is not None
    return process.pid


def children(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in told.read_text(encoding="ascii").split()] if told.is_file() else []


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait(until: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)
