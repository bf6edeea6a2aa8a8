"""Known positives: masked, kept apart by the sampler, or ignored, on questions of which many share a paragraph.

`python prove/masking.py` trains on `squad/` (looked for in $EMBERTUNE_DATA, default ../shared/data from the project
root) with each way and three seeds, and writes prove/results/masking.json. A seed has its own split, order and dropout;
its ways share them, so they are compared question by question, by resampling paragraphs. What is trained already is
kept in the folder `runs/masking` and not trained again. `python prove/masking.py counts` trains nothing and counts, in
a minute, the false negatives of shuffled batches and the rows that the sampler leaves out.
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
from embertune.data.known import known_of
from embertune.data.prepare import prepare
from embertune.evaluate.scene import measure
from embertune.manifest import hardware, versions
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.training.batches import distinct, shuffled
from embertune.watch import Silent

ROWS = DATA / "squad"
RESULTS = Path(__file__).parent / "results" / "masking.json"
WORK = ROOT / "runs" / "masking"
SEEDS = (0, 1, 2)
METRIC = "squad-test_cosine_ndcg@10"
SETTINGS: dict[str, Any] = {
    **SHARED,
    "model.max_length": 48,
    "data.test": 0.6,
    "data.limit": 2048,
    "train.batch_size": 64,
    "train.epochs": 2,
}
WAYS: dict[str, dict[str, Any]] = {
    "ignore": {"train.known_positives": "ignore"},
    "apart": {"train.known_positives": "apart"},
    "mask": {"train.known_positives": "mask"},
    "guide": {"train.known_positives": "mask", "train.guide": "base"},
}


def train(way: str, seed: int) -> dict[str, Any]:
    """One model: what it reaches on every test question, and what its loss masked."""
    recipe = load_recipe(set={**SETTINGS, **WAYS[way], "data.train": str(ROWS), "seed": seed})
    planned = plan(recipe, None, None, Silent())
    started = time.perf_counter()
    fitted = taught(planned)
    seconds = time.perf_counter() - started
    tuned, *_ = measure(planned.encode, planned.scene)
    return {
        "tuned": tuned.items[METRIC].tolist(),
        "groups": [int(group) for group in tuned.groups],
        "steps": fitted.steps,
        "notes": [note.text for note in (*planned.course.notes, *fitted.notes)],
        "precision": planned.resolved.recipe.train.precision,
        "seconds": seconds,
    }


def of(way: str, seed: int) -> dict[str, Any]:
    """The same, trained only where it was not yet."""
    return kept(WORK / f"{way}-{seed}.json", lambda: train(way, seed))


def counts() -> list[dict[str, int]]:
    """What the first pass over the whole set holds, by batch size: nothing is trained."""
    train = prepare(load_recipe(set={"data.train": str(ROWS), "data.dev": "none"})).sides.train
    known, found = known_of(train), []
    for size in (64, 128, 512):
        masks = [known.mask(np.array(batch)) for batch in shuffled(train, size)(0, 0)]
        found.append(
            {
                "rows": len(train),
                "batch_size": size,
                "negatives": sum(mask.size - len(mask) for mask in masks),
                "false negatives": sum(int(mask.sum()) for mask in masks),
                "rows with one": sum(int(mask.any(axis=1).sum()) for mask in masks),
                "rows left out by apart": len(train) - sum(map(len, distinct(train, size)(0, 0))),
            }
        )
    return found


def main(wanted: list[str]) -> None:
    """Train what is missing, then compare; all ways, or those that are named (`ignore` and `apart` among them)."""
    if not ROWS.is_dir():
        print(f"skipped: {ROWS} is not there")
        return
    if wanted == ["counts"]:
        keep({"counts": counts()})
        return
    ways = wanted or list(WAYS)
    for seed in SEEDS:
        for way in ways:
            made = of(way, seed)
            print(seed, way, f"{np.mean(made['tuned']):.4f}", made["notes"], f"{made['seconds']:.0f} s", flush=True)
    write({way: [of(way, seed) for seed in SEEDS] for way in ways})


def write(runs: dict[str, list[dict[str, Any]]]) -> None:
    """The record of the seeds that are done."""
    groups = [one["groups"] for one in runs["ignore"]]
    tuned = {way: [one["tuned"] for one in made] for way, made in runs.items()}
    record = {
        "settings": SETTINGS,
        "metric": METRIC,
        "questions": [len(each) for each in groups],
        "reached": {way: [float(np.mean(each)) for each in made] for way, made in tuned.items()},
        "over ignore": {way: change(tuned["ignore"], tuned[way], groups) for way in runs if way != "ignore"},
        "over apart": {
            way: change(tuned["apart"], tuned[way], groups) for way in runs if way not in ("ignore", "apart")
        },
        "notes": {way: [one["notes"] for one in made] for way, made in runs.items()},
        "seconds of training": {way: [round(one["seconds"], 1) for one in made] for way, made in runs.items()},
        "precision": runs["ignore"][0]["precision"],
        "hardware": hardware("cpu", torch.get_num_threads()),
        "versions": versions(),
    }
    keep(record)


def keep(record: dict[str, Any]) -> None:
    """Add to the record on disk."""
    there = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(there | record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
