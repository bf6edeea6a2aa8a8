"""Mined negatives against none, on claims and the abstracts that support them.

`python prove/mined.py` trains on `scifact/` (looked for in $EMBERTUNE_DATA, default ../shared/data from the project
root) with and without `data.negatives`, three seeds each, and writes prove/results/mined.json. The ways of a seed share
rows, order and test queries, so they are compared query by query. What is trained already is kept in the folder
`runs/mined` and not trained again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compared import DATA, ROOT, SHARED, change, kept, taught
from embertune.evaluate.scene import measure
from embertune.manifest import hardware, versions
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.watch import Silent

ROWS = DATA / "scifact"
RESULTS = Path(__file__).parent / "results" / "mined.json"
WORK = ROOT / "runs" / "mined"
SEEDS = (0, 1, 2)
METRIC = "scifact-test_cosine_ndcg@10"
SETTINGS: dict[str, Any] = {
    **SHARED,
    "model.max_length": 64,
    "train.batch_size": 32,
    "train.epochs": 1,
}
WAYS: dict[str, dict[str, Any]] = {"none": {}, "mined": {"data.negatives": {}}}


def train(way: str, seed: int) -> dict[str, Any]:
    """One model: what it reaches on every test query, and what was mined for it."""
    recipe = load_recipe(set={**SETTINGS, **WAYS.get(way, {}), "data.train": str(ROWS), "seed": seed})
    started = time.perf_counter()
    planned = plan(recipe, None, None, Silent())
    decided = time.perf_counter()
    if way != "untrained":
        taught(planned)
    learnt = time.perf_counter()
    tuned, *_ = measure(planned.encode, planned.scene)
    mined = {name: value for name, value in (planned.mined or {}).items() if name != "examples"}
    return {
        "reached": tuned.items[METRIC].tolist(),
        "groups": [int(group) for group in tuned.groups],
        "mined": mined,
        "precision": planned.resolved.recipe.train.precision,
        "steps": planned.course.steps,
        "seconds": {
            "plan": round(decided - started, 1),
            "train": round(learnt - decided, 1),
            "test": round(time.perf_counter() - learnt, 1),
        },
    }


def of(way: str, seed: int) -> dict[str, Any]:
    """The same, trained only where it was not yet."""
    return kept(WORK / f"{way}-{seed}.json", lambda: train(way, seed))


def over(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """How much better the second models find, query by query."""
    reached = ([one["reached"] for one in made] for made in (before, after))
    return change(*reached, [one["groups"] for one in after])


def main(seeds: list[int]) -> None:
    """Train what is missing, then compare what is there."""
    if not ROWS.is_dir():
        print(f"skipped: {ROWS} is not there")
        return
    base = of("untrained", 0)
    print("untrained", f"{np.mean(base['reached']):.4f}", base["seconds"], flush=True)
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number, seed in enumerate(seeds, 1):
        for way, found in runs.items():
            found.append(of(way, seed))
            print(seed, way, f"{np.mean(found[-1]['reached']):.4f}", found[-1]["seconds"], flush=True)
        write(base, runs, seeds[:number])


def write(base: dict[str, Any], runs: dict[str, list[dict[str, Any]]], seeds: list[int]) -> None:
    """The record of the seeds that are done."""
    record = {
        "settings": SETTINGS,
        "metric": METRIC,
        "queries": len(base["reached"]),
        "seeds": seeds,
        "untrained": float(np.mean(base["reached"])),
        "reached": {way: [float(np.mean(one["reached"])) for one in made] for way, made in runs.items()},
        "over untrained": {way: over([base] * len(made), made) for way, made in runs.items()},
        "mined over none": over(runs["none"], runs["mined"]),
        "mined": runs["mined"][0]["mined"],
        "seconds": {way: [one["seconds"] for one in made] for way, made in runs.items()},
        "precision": runs["none"][0]["precision"],
        "hardware": hardware("cpu", torch.get_num_threads()),
        "versions": versions(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(SEEDS))
