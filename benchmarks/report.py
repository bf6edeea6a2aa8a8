"""What report.html costs: seconds to draw it and its size, for histories of 1,000 and 10,000 steps.

    python benchmarks/report.py

The facts are made up, as large as a run may make them: rates of 14 groups of layers, a look every hundredth of the
way, remedies and thaws, the longest texts that are shown, wherever texts are. Each case is a process of its own; its
first drawing loads matplotlib, and builds its list of fonts where the case says so. Seconds are those of the clock and
of the processor, which a busy machine disturbs less. Results go to benchmarks/results/report.json.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from embertune.choose import Choice
from embertune.data.findings import Finding
from embertune.evaluate.bootstrap import Change
from embertune.evaluate.proof import Counts, Proof
from embertune.evaluate.seen import Histogram, Moved, Neighbour, Neighbours, Seen, SizePoint
from embertune.manifest import hardware, versions
from embertune.report import Facts, Side, to_html

RESULT = Path(__file__).parent / "results" / "report.json"
#: Steps, and whether matplotlib finds its list of fonts.
CASES = {
    "1,000 steps": (1_000, True),
    "10,000 steps": (10_000, True),
    "10,000 steps, no list of fonts yet": (10_000, False),
}
GROUPS = ("top", *(f"block {n}" for n in range(11, -1, -1)), "embeddings")
TEXT = "The panel shows a code of four digits while the key is held. " * 5
METRIC, DRAWINGS, ROUNDS = "cosine_ndcg@10", 3, 3


def facts(steps: int) -> Facts:
    """A run of so many steps."""
    name = f"help-test_{METRIC}"
    sides = [Side("train", "help", "pairs", 90_000), Side("dev", "help-dev", "pairs", 900)]
    return Facts(
        title="help",
        base_model="a model",
        recipe_yaml="train:\n  epochs: 3 # a reason of some words\n" * 100,
        proof=Proof({name: 0.6}, {name: 0.7}, {name: Change(0.1, 0.08, 0.12, 0.0001, 10_000)}, name, "better",
                    "better", Counts(900, 900, 300, 200, 100, 600)),
        choice=Choice("tuned", "best on dev"),
        steps=steps,
        best_step=steps // 2,
        stopped="",
        sides=[*sides, Side("test", "help-test", "pairs", 900)],
        rows=[{"anchor": TEXT, "positive": TEXT}] * 3,
        notes=[],
        history=history(steps),
        timing={"train": 4000.0},
        environment={},
        model_path=Path("model"),
        examples=True,
        metric=METRIC,
        findings=[Finding("empty", "train", f"finding {n}", 9, 90, (TEXT,) * 5) for n in range(12)],
        seen=seen(name),
    )  # fmt: skip


def history(steps: int) -> list[dict[str, Any]]:
    """A line for each step, and one for each look."""
    records: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        share = step / steps
        rates = {group: 2e-5 * 0.9**place * (1 - share) for place, group in enumerate(GROUPS)}
        loss = 2 * math.exp(-4 * share) + 0.3 * math.sin(step * 12.9898)
        records.append({"step": step, "epoch": 3 * share, "loss": loss, "gradient_norm": 1.0, "rates": rates})
        if step % (steps // 100) == 0:
            signs = {"train_loss": math.exp(-4 * share), "dev_loss": math.exp(-3 * share), "error": 0.01}
            look = {"step": step, "epoch": 3 * share, "dev": {METRIC: 0.6 + 0.1 * share}, "signs": signs}
            records.append({**look, "best": True, "diagnosis": "improving", "reason": "dev rises from look to look"})
        if step % (steps // 10) == 0:
            records.append({"step": step, "remedy": "rate", "reason": "dev fell", "back_to": step - 1, "text": "less"})
            records.append({"step": step, "thawed": ["block 3"]})
        if step % 50 == 0:
            records.append({"step": step, "skipped": "loss is nan"})
    return records


def seen(metric: str) -> Seen:
    """As much as a report shows of a test set."""
    edges = tuple(n / 50 for n in range(51))
    some = Histogram(edges, tuple(n * n for n in range(50)), tuple(n for n in range(50, 0, -1)))
    moved = tuple(
        Moved({"anchor": (TEXT,), "positive": (TEXT, TEXT), "negative": (TEXT,) * 3}, 0, 1) for _ in range(10)
    )
    near = tuple(Neighbour(TEXT, 0.9, n == 2) for n in range(5))
    sizes = tuple(SizePoint("tuned", 64 * n, n, 0.5, 0.4, 0.6, n / 2) for n in range(1, 7))
    return Seen(metric, "cosine", some, some, moved, moved, (Neighbours(TEXT, near, near),) * 5, sizes, (TEXT,) * 3)


def measured(steps: int) -> dict[str, Any]:
    """Seconds of the first drawing and of later ones in this process, and the size of the page."""
    made, clock, processor = facts(steps), [], []
    assert "matplotlib" not in sys.modules
    for _ in range(1 + DRAWINGS):
        begin, begun = time.perf_counter(), time.process_time()
        page = to_html(made)
        clock.append(time.perf_counter() - begin)
        processor.append(time.process_time() - begun)
    found = {"first": clock[0], "later": statistics.median(clock[1:])}
    found |= {"first, processor": processor[0], "later, processor": statistics.median(processor[1:])}
    return {**found, "bytes": len(page.encode())}


def in_a_process(steps: int, with_fonts: bool) -> dict[str, Any]:
    """`measured` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = {} if with_fonts else {"MPLCONFIGDIR": folder}
        command = [sys.executable, __file__, str(steps)]
        done = subprocess.run(command, env=os.environ | place, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure every case, `ROUNDS` times in turn, and write the medians down."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, case in CASES.items():
            found[name].append(in_a_process(*case))
            print(f"{name}: {found[name][-1]}", flush=True)
    told = {
        name: {key: round(statistics.median(one[key] for one in rounds), 2) for key in rounds[0]}
        for name, rounds in found.items()
    }
    record = {
        "seconds and bytes of report.html": told,
        "rounds": ROUNDS,
        "load": round(os.getloadavg()[0], 1),
        "machine": hardware("cpu", 1),
        "versions": versions(),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(int(sys.argv[1]))))
    else:
        main()
