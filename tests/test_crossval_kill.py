"""A cross-validation that is ended by `kill -9` at a random moment, and begun again: the same figures."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

import embertune as et
from tests import tiny

FOLDS, STEPS, EVERY = 2, 8, 2


def lines(out: Path) -> int:
    """How far it has come: lines of the histories of all folds."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob("fold-*/history.jsonl"))


def test_a_cross_validation_that_is_killed_and_begun_again_ends_as_the_one_left_alone(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    rows = tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.toy_triplets(60))
    settings = {
        "model.name": str(tiny_model_path), "data.train": str(rows),
        "train.max_steps": STEPS, "train.batch_size": 8, "train.learning_rate": 2e-3, "train.precision": "float32",
        "train.save_every": "3 steps", "guard.eval_every": f"{EVERY} steps", "guard.patience": None,
        "evaluate.similarity": ["cosine"], "evaluate.retention": None,
    }  # fmt: skip
    alone = et.cross_validate(et.load_recipe(set=settings), tmp_path / "alone", FOLDS)
    out = tmp_path / "killed"
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    command = [sys.executable, "-m", "embertune", "crossval", "--folds", str(FOLDS), "--out", str(out), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}

    moment = random.uniform(0, lines(alone.out))
    child = subprocess.Popen([*command, "--quiet"], env=environment, stdout=subprocess.DEVNULL)
    while child.poll() is None and lines(out) < moment:
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, f"it had ended before line {moment:.1f} of its histories"
    assert not (out / "metrics.json").exists()

    et.cross_validate(et.load_recipe(set=settings), out, FOLDS)
    assert (out / "metrics.json").read_bytes() == (alone.out / "metrics.json").read_bytes(), moment
    assert (out / "report.md").read_bytes() == (alone.out / "report.md").read_bytes(), moment
