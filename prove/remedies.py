"""Is it worth while to go on with remedies where training overfits? `guard.on_overfit: regularise` against `stop`.

    python prove/remedies.py [CASE ...]

Three real sets cut down to a few hundred rows (looked for in $EMBERTUNE_DATA, default ../shared/data from the project
root), trained long and at a high rate, so that they overfit. Both ways may take the same steps, share rows, order and
dev, and are the same run up to the first diagnosis of overfitting; test is read once at the end of each. What is
trained already is kept in the folder `runs/remedies`; results go to prove/results/remedies.json.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compared import DATA, ROOT, change, kept
from embertune.evaluate.scene import measure
from embertune.manifest import hardware, versions
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.run import look, teach
from embertune.rundir import HISTORY, RunDir
from embertune.watch import Silent

RESULTS = Path(__file__).parent / "results" / "remedies.json"
WORK = ROOT / "runs" / "remedies"
SEEDS = (0, 1, 2)
WAYS = ("stop", "regularise")
#: Of each set: its own settings, and how many groups of each file are kept, by hash.
SETTINGS: dict[str, Any] = {
    "model.name": "sentence-transformers/all-MiniLM-L6-v2",
    "model.max_length": 64,
    "data.limit": 300,
    "train.epochs": None,
    "train.max_steps": 200,
    "train.batch_size": 30,
    "train.learning_rate": 1e-3,
    "train.precision": "float32",
    "train.save_every": None,
    "guard.eval_every": "20 steps",
    "guard.patience": None,
    "evaluate.similarity": ["cosine"],
    "report.examples": False,
}
CASES: dict[str, dict[str, int]] = {
    "banking77": {"train": 3_000, "dev": 300, "test": 1_000},
    "nli": {"train": 3_000, "dev": 250, "test": 500},
    "scifact": {},
}
COLUMN = {"banking77": "text", "nli": "premise"}


def rows_of(name: str, folder: Path) -> dict[str, Any]:
    """The leaves that say which rows a case has."""
    if name == "scifact":
        return {"data.train": str(DATA / name), "data.dev": 0.25}
    files = {side: str(_part(name, side, groups, folder)) for side, groups in CASES[name].items()}
    return {"data.train": files["train"], "data.dev": files["dev"], "data.test": {name: files["test"]}}


def _part(name: str, side: str, groups: int, folder: Path) -> Path:
    """The rows of a side whose groups have the lowest hashes; banking77 has no dev, so it takes the next of train."""
    source = "train" if (name, side) == ("banking77", "dev") else side
    skipped = CASES[name]["train"] if source != side else 0
    with gzip.open(DATA / name / f"{source}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    ranked = sorted({row[COLUMN[name]] for row in rows}, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    chosen = set(ranked[skipped : skipped + groups])
    path = folder / f"{name}-{side}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row[COLUMN[name]] in chosen), encoding="utf-8")
    return path


def train(name: str, way: str, seed: int, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """One run: what it reaches on every test item, and what happened on the way."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        leaves = {**SETTINGS, **rows_of(name, folder), **(more or {}), "guard.on_overfit": way, "seed": seed}
        planned = plan(load_recipe(set=leaves), None, None, Silent())
        began = time.perf_counter()
        fitted = teach(planned, RunDir(folder, finished=False), look(planned), None, Silent())
        seconds = time.perf_counter() - began
        tuned, *_ = measure(planned.encode, planned.scene)
        history = [json.loads(line) for line in (folder / HISTORY).read_text(encoding="utf-8").splitlines()]
    metric = planned.resolved.recipe.evaluate.primary
    assert metric is not None
    steering = planned.resolved.recipe.guard.metric
    assert steering is not None
    return {
        "metric": metric,
        "reached": tuned.items[metric].tolist(),
        "groups": [int(group) for group in tuned.groups],
        "rows": len(planned.data.sides.train),
        "dev": len(planned.data.sides.dev or ()),
        "steps": fitted.steps,
        "best_step": fitted.best_step,
        "stopped": fitted.stopped,
        "looks": [
            {"step": line["step"], "dev": line["dev"][steering], "diagnosis": line["diagnosis"]}
            for line in history
            if "dev" in line
        ],
        "remedies": [
            {"step": r.step, "rung": r.rung, "back_to": r.back_to, "result": r.result} for r in fitted.remedies
        ],
        "precision": planned.resolved.recipe.train.precision,
        "seconds": round(seconds, 1),
    }


def of(name: str, way: str, seed: int) -> dict[str, Any]:
    """The same, trained only where it was not yet."""
    return kept(WORK / f"{name}-{way}-{seed}.json", lambda: train(name, way, seed))


def compared(runs: dict[tuple[str, str, int], dict[str, Any]], cases: Sequence[str]) -> Any:
    """Regularise over stop, item by item; over several cases, every case counts by its items."""
    pairs = [(runs[name, "stop", seed], runs[name, "regularise", seed]) for name in cases for seed in SEEDS]
    before, after = ([run["reached"] for run in made] for made in zip(*pairs, strict=True))
    first, groups = 0, []
    for name in cases:  # an item has its group in all seeds, and in no other case
        for seed in SEEDS:
            groups.append([first + group for group in runs[name, "stop", seed]["groups"]])
        first += 1 + max(runs[name, "stop", SEEDS[0]]["groups"])
    return change(before, after, groups)


def write(runs: dict[tuple[str, str, int], dict[str, Any]]) -> None:
    """The record of all of them."""
    told = ("steps", "best_step", "stopped", "remedies", "seconds")
    record = {
        "settings": SETTINGS,
        "cases": {
            name: {
                "metric": runs[name, "stop", SEEDS[0]]["metric"],
                "rows": runs[name, "stop", SEEDS[0]]["rows"],
                "dev": runs[name, "stop", SEEDS[0]]["dev"],
                "test": len(runs[name, "stop", SEEDS[0]]["reached"]),
                "regularise over stop": compared(runs, [name]),
                "runs": {
                    way: [
                        {
                            "test": float(np.mean(runs[name, way, seed]["reached"])),
                            **{key: runs[name, way, seed][key] for key in told},
                        }
                        for seed in SEEDS
                    ]
                    for way in WAYS
                },
            }
            for name in CASES
        },
        "regularise over stop": compared(runs, list(CASES)),
        "seeds": list(SEEDS),
        "hardware": hardware("cpu", torch.get_num_threads()),
        "versions": versions(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main(names: list[str]) -> None:
    """Train what is missing of these cases; compare where all of them are there."""
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    runs: dict[tuple[str, str, int], dict[str, Any]] = {}
    for seed, name, way in itertools.product(SEEDS, names, WAYS):
        runs[name, way, seed] = run = of(name, way, seed)
        rungs = [remedy["rung"] for remedy in run["remedies"]]
        reached = float(np.mean(run["reached"]))
        print(seed, name, way, f"{reached:.4f}", run["steps"], run["best_step"], rungs, run["seconds"], flush=True)
    if set(names) == set(CASES):
        write(runs)


if __name__ == "__main__":
    main(sys.argv[1:] or list(CASES))
