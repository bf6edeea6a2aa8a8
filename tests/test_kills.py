"""A handful of the kills of prove/kills.py: real processes, `kill -9`, and the same weights in the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROOF = Path(__file__).parent.parent / "prove" / "kills.py"


def test_runs_with_remedies_that_are_killed_end_as_the_one_left_alone_bit_for_bit() -> None:
    command = [sys.executable, str(PROOF), "3", "remedies"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    assert ", 2 remedies" in process.stdout
    record = json.loads(process.stdout[process.stdout.index("\n{") :])
    assert record["kills"] >= 3
    assert record["different"] == []
