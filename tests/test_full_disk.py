"""A full disk: one message, earlier checkpoints stay, and the same run goes on once there is room."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROOF = Path(__file__).parent.parent / "prove" / "full_disk.py"
MOUNTS = ["unshare", "--map-root-user", "--mount", "true"]


def may_mount() -> bool:
    try:
        return subprocess.run(MOUNTS, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not may_mount(), reason="no namespace of its own in which to mount a small disk")
def test_a_disk_that_is_full_at_a_checkpoint_or_at_the_model_is_told_once_and_the_run_goes_on() -> None:
    command = [sys.executable, str(PROOF), "checkpoint", "model"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr[-2000:]
    lines = [line.partition(": ") for line in process.stdout.splitlines()]
    told = {name: json.loads(record) for name, _, record in lines if name in ("checkpoint", "model")}
    assert told["checkpoint"]["kept"] == "checkpoints/step-000004"
    assert told["model"]["kept"] == "checkpoints/step-000012"
    assert "no space left on the disk; make room and run the same command again" in told["checkpoint"]["message"]
