"""Does the rate that a range test proposes end better than the published ones?

For each set and seed one range test, as `embertune init --find-rate` makes it, and a training at the proposed rate, at
2e-5 and at 5e-5. The sets are small parts of `nli/`, `stsb/` and `scifact/` in small batches, so that a run has 40
steps. It trains to its last step, without stopping or choosing on dev; its last state is measured on dev and test,
and compared on test with the others of its seed, item by item.

`python prove/rates.py` runs what prove/results/rates.json does not have yet, the first seed of every set first;
`--table` prints the table of what is there. The data is looked for in $EMBERTUNE_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compared import add_run, runs_of, taught
from embertune.evaluate.bootstrap import paired_all
from embertune.evaluate.score import Scores
from embertune.findrate import find_rate
from embertune.plan import Plan, plan
from embertune.recipe import load_recipe
from embertune.watch import Silent
from levers import DATA, MADE, put_down, reached, revision

RESULTS = Path(__file__).parent / "results" / "rates.json"
SEEDS = (0, 1, 2)
#: Rates that are published for fine-tuning encoders (docs/guide.md).
PUBLISHED = (2e-5, 5e-5)
SETS: dict[str, dict[str, Any]] = {
    "nli": {"data.limit": 640},
    "stsb": {"data.limit": 640},
    "scifact": {"data.limit": 640, "model.max_length": 64},
}
SHARED: dict[str, Any] = {
    "model.name": "sentence-transformers/all-MiniLM-L6-v2",
    "data.near_duplicates": None,
    "train.batch_size": 16,
    "train.epochs": 1,
    "train.precision": "float32",
    "guard.patience": None,
    "evaluate.similarity": ["cosine"],
}


def planned(name: str, seed: int, folder: Path, rate: float) -> Plan:
    """A run at that rate."""
    settings = SHARED | SETS[name] | {"data.train": str(folder), "seed": seed, "train.learning_rate": rate}
    return plan(load_recipe(set=settings), None, None, Silent())


def compare(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """A range test, and a training at each rate."""
    first = planned(name, seed, folder, PUBLISHED[0])
    before, _ = reached(first)
    test, proposed = tested(first)
    rates: dict[str, Any] = {}
    tests: dict[str, Scores] = {}
    for label, rate in {**proposed, **{f"{rate:.0e}": rate for rate in PUBLISHED}}.items():
        made = planned(name, seed, folder, rate)
        _, seconds = timed(lambda made=made: taught(made))
        values, tests[label] = reached(made)
        rates[label] = {"rate": rate, **values, "seconds": seconds}
    headline = first.scene.test_headline
    change = {
        label: dataclasses.asdict(paired_all(tests[label], tests["proposed"], [headline], seed)[headline])
        for label in rates
        if proposed and label not in proposed
    }
    return {"revision": revision(), "before": before, "range test": test, "rates": rates, "proposed against": change}


def tested(made: Plan) -> tuple[dict[str, Any], dict[str, float]]:
    """What a range test found, and the rate under `proposed`; none where it proposes none."""
    found, took = timed(lambda: find_rate(made, Silent()))
    lowest = min(found.settled, key=lambda point: point.smooth)
    fall = {"steps": len(found.points), "lowest at": lowest.rate, "first": found.settled[0].smooth}
    losses = [round(point.loss, 4) for point in found.points]
    test = {**fall, "lowest": lowest.smooth, "seconds": took, "reason": found.reason, "losses": losses}
    return test, {} if found.rate is None else {"proposed": found.rate}


def timed(work: Any) -> tuple[Any, float]:
    """What `work` gives, and the processor's seconds."""
    started = time.process_time()
    return work(), round(time.process_time() - started, 1)


def table(runs: dict[str, Any]) -> Iterator[str]:
    """For docs/lab.md: dev and test at each rate, means over the seeds; the change on test, mean and by seed."""
    columns = ["seeds", "proposed", "untouched", "at it", *(f"{rate:.0e}" for rate in PUBLISHED)]
    yield "| set | " + " | ".join([*columns, *(f"against {rate:.0e}" for rate in PUBLISHED)]) + " |"
    yield "|---" + "|--:" * (len(columns) + len(PUBLISHED)) + "|"
    for name in SETS:
        if found := [runs[label] for seed in SEEDS if (label := f"{name} {seed}") in runs]:
            yield f"| `{name}/` | " + " | ".join(_cells(found)) + " |"


def _cells(runs: list[dict[str, Any]]) -> Iterator[str]:
    yield str(len(runs))
    yield ", ".join(f"{run['rates']['proposed']['rate']:.1e}" if _proposes(run) else "none" for run in runs)
    yield _both([run["before"] for run in runs])
    for label in ("proposed", *(f"{rate:.0e}" for rate in PUBLISHED)):
        yield _both([run["rates"][label] for run in runs if label in run["rates"]])
    for label in (f"{rate:.0e}" for rate in PUBLISHED):
        found = [run["proposed against"][label] for run in runs if _proposes(run)]
        yield ", ".join(
            f"{100 * c['difference']:+.1f} ({100 * c['low']:+.1f} to {100 * c['high']:+.1f})" for c in found
        )


def _proposes(run: dict[str, Any]) -> bool:
    return "proposed" in run["rates"]


def _both(values: list[dict[str, float]]) -> str:
    sides = ("dev", "test") if values else ()
    return " / ".join(f"{statistics.mean(value[side] for value in values):.4f}" for side in sides)


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    if parser.parse_args().table:
        print("\n".join(table(runs_of(RESULTS))))
        return
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    with tempfile.TemporaryDirectory() as made:
        for name in SETS:
            if name in MADE:
                (Path(made) / name).mkdir()
                put_down(name, Path(made) / name)
        for label in (f"{name} {seed}" for seed in SEEDS for name in SETS):
            if label not in runs_of(RESULTS):
                name, seed = label.split()
                folder = Path(made) / name if name in MADE else DATA / name
                found = compare(name, int(seed), folder)
                add_run(RESULTS, label, found, SHARED)
                print(label, found["rates"], flush=True)


if __name__ == "__main__":
    main()
