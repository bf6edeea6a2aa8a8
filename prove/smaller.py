"""What do smaller models keep? Blocks cut out, vectors made shorter, vectors that can be cut off, after training.

1,000 rows of `banking77/` (with every third text of its test) and of `nli/` (some of its premises), two passes and one
in float32, without stopping or choosing on dev; the last state is measured on test, with whole vectors and with their
first 192, 96 and 48 numbers. A seed has its own rows, split, order and dropout, which all its ways share.
Beside every way stands what the model reaches before training: for cut models that is how good a start they have.

`python prove/smaller.py` runs what prove/results/smaller.json does not have yet, seed by seed; `--table` prints the
table of what is there. The data is looked for in $EMBERTUNE_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from compared import add_run, runs_of, taught
from embertune.data.hashing import keys_of, mix
from embertune.data.prepared import Prepared
from embertune.evaluate.scene import measure
from embertune.evaluate.score import Encode
from embertune.plan import Plan, plan
from embertune.recipe import load_recipe
from embertune.smaller import Smaller
from embertune.watch import Silent
from levers import DATA, write
from levers import read as rows_of

RESULTS = Path(__file__).parent / "results" / "smaller.json"
SEEDS = (0, 1, 2)
LENGTHS = (192, 96, 48)
SHARES = {"banking77": {"train": 0.5, "test": 0.33}, "nli": {"train": 0.1, "dev": 0.05, "test": 0.15}}
SETS: dict[str, dict[str, Any]] = {
    "banking77": {"train.epochs": 2, "train.learning_rate": 2e-5},
    "nli": {"train.epochs": 1, "train.learning_rate": 2e-5},
}
WAYS: dict[str, dict[str, Any]] = {
    "control": {},
    "3 blocks, spread": {"model.layers": {"keep": 3, "choose": "spread"}},
    "3 blocks, first": {"model.layers": {"keep": 3, "choose": "first"}},
    "matryoshka": {"train.matryoshka": list(LENGTHS)},
    "128 dimensions": {"model.dimensions": 128},
    "128 dimensions, from random": {"model.dimensions": 128},
    "2 blocks, spread": {"model.layers": {"keep": 2, "choose": "spread"}},
    "4 blocks, spread": {"model.layers": {"keep": 4, "choose": "spread"}},
    "48 dimensions": {"model.dimensions": 48},
}
SHARED: dict[str, Any] = {
    "model.name": "sentence-transformers/all-MiniLM-L6-v2",
    "data.limit": 1000,
    "data.near_duplicates": None,
    "train.precision": "float32",
    "guard.patience": None,
    "evaluate.similarity": ["cosine"],
}


class Random(Smaller):
    """The same, but for a head that begins as any layer does."""

    def begin(self, _train: Prepared, _encode: Encode, seed: int) -> None:
        """Leave the head's weights as they are drawn."""
        if self.head is not None:
            torch.manual_seed(seed)
            self.head.layer.linear.reset_parameters()


def planned(name: str, way: str, seed: int, folder: Path) -> Plan:
    """A run's plan, to be measured at all lengths."""
    settings = SHARED | SETS[name] | WAYS[way] | {"data.train": str(folder), "seed": seed}
    made = plan(load_recipe(set=settings), None, None, Silent())
    if way.endswith("from random"):
        made = dataclasses.replace(made, smaller=Random(**vars(made.smaller)))
    return dataclasses.replace(made, scene=dataclasses.replace(made.scene, lengths=LENGTHS, parts=()))


def reached(made: Plan) -> dict[str, float]:
    """The headline of test, by the length of the vectors."""
    whole, *short = measure(made.encode, made.scene)
    values = {"whole": whole.values[whole.headline]}
    values |= {str(length): one.values[one.headline] for length, one in zip(LENGTHS, short, strict=True)}
    return {length: round(value, 5) for length, value in values.items()}


def run(name: str, way: str, seed: int, folder: Path) -> dict[str, Any]:
    """One training: test before and after, and the processor's seconds."""
    made = planned(name, way, seed, folder)
    made.smaller.begin(made.data.sides.train, made.encode, seed)
    before, started = reached(made), time.process_time()
    taught(made)
    seconds = time.process_time() - started
    size = made.smaller.record()["tuned"]
    return {"before": before, "after": reached(made), "seconds": round(seconds, 1), "parameters": size["parameters"]}


def put_down(into: Path) -> None:
    """The sets, thinned by hash of the premise or of the text."""
    for name, column in (("banking77", "text"), ("nli", "premise")):
        (into / name).mkdir()
        for side, share in SHARES[name].items():
            rows = rows_of(name, side)
            kept = mix(keys_of([row[column] for row in rows]), 0, "smaller") < share * 2**64
            write(into / name / f"{side}.jsonl", itertools.compress(rows, kept))


def every_run() -> Iterator[tuple[str, str, int]]:
    for seed in SEEDS:
        for way in WAYS:
            for name in SETS:
                yield name, way, seed


def table(runs: dict[str, Any]) -> str:
    """For docs/lab.md: test before and after training, at every length, means over the seeds that are there."""
    columns = ["before", "after", *map(str, LENGTHS), "time"]
    lines = ["| set, way | " + " | ".join(columns) + " | seeds |", "|---" + "|--:" * (len(columns) + 1) + "|"]
    for name in SETS:
        for way in WAYS:
            found = [runs[label] for seed in SEEDS if (label := f"{name} {way} {seed}") in runs]
            if found:
                lines.append(f"| {name}, {way} | " + " | ".join(_cells(found)) + f" | {len(found)} |")
    return "\n".join(lines)


def _cells(runs: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{statistics.mean(run['before']['whole'] for run in runs):.4f}"
    for length in ("whole", *map(str, LENGTHS)):
        yield f"{statistics.mean(run['after'][length] for run in runs):.4f}"
    yield f"{statistics.mean(run['seconds'] for run in runs):.0f} s"


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    if parser.parse_args().table:
        print(table(runs_of(RESULTS)))
        return
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    with tempfile.TemporaryDirectory() as made:
        put_down(Path(made))
        for name, way, seed in every_run():
            label = f"{name} {way} {seed}"
            if label not in runs_of(RESULTS):
                found = run(name, way, seed, Path(made) / name)
                add_run(RESULTS, label, found, SHARED)
                print(f"{label}: {found['before']['whole']:.4f} to {found['after']}", flush=True)


if __name__ == "__main__":
    main()
