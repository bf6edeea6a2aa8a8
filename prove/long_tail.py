"""Classes of unequal size: what does each `data.balance` give on a Banking77 made long-tailed?

Which classes are rare is decided by a hash of (seed, class), which of their rows stay by a hash of (seed, text): the
first class keeps 100 training rows, the one at rank r 100 / r^0.8, the last 3. Test has 20 rows of each of the 77
classes. Every run makes the same number of steps, without dev, so the last state is measured. The score is macro
accuracy: the share of test texts whose nearest training text is of their class, averaged over classes.

`python prove/long_tail.py` runs every loss, balance and seed and writes prove/results/long_tail.json; what is there
already is not run again. `--only batch_all_triplet weights 2` runs those whose loss, balance and seed are all named
(any of the three may be left out). The data is looked for in $EMBERTUNE_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import embertune as et
from embertune.data.hashing import keys_of, mix
from embertune.manifest import hardware, versions

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data")) / "banking77"
RESULTS = Path(__file__).parent / "results" / "long_tail.json"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LOSSES = ("multiple_negatives_ranking", "batch_all_triplet")
BALANCES = ("none", "oversample", "undersample", "batches", "weights")
SEEDS = (0, 1, 2)
LARGEST, SMALLEST, EXPONENT = 100, 3, 0.8
TEST_ROWS = 20
STEPS = 48
#: The classes by rank: how many are large, how many in the middle; the others are rare.
PARTS = {"large": slice(0, 26), "middle": slice(26, 51), "rare": slice(51, None)}

Row = dict[str, Any]


def read(side: str) -> list[Row]:
    """All rows of a side."""
    with gzip.open(DATA / f"{side}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def by_class(rows: list[Row], seed: int) -> dict[str, list[Row]]:
    """Classes in the order of their hash, and so the rows within each."""
    order = mix(keys_of([row["text"] for row in rows]), seed, "long tail rows").argsort(kind="stable")
    found: dict[str, list[Row]] = {}
    for place in order:
        found.setdefault(str(rows[place]["label"]), []).append(rows[place])
    names = sorted(found)
    return {names[i]: found[names[i]] for i in mix(keys_of(names), seed, "long tail classes").argsort()}


def size_of(rank: int) -> int:
    """Training rows of the class at a rank, from 1."""
    return max(SMALLEST, round(LARGEST / rank**EXPONENT))


def long_tailed(seed: int) -> tuple[list[Row], dict[str, list[Row]]]:
    """Training rows, and test rows by part."""
    classes, tests = by_class(read("train"), seed), by_class(read("test"), seed)
    train = [row for rank, rows in enumerate(classes.values(), 1) for row in rows[: size_of(rank)]]
    names = list(classes)
    return train, {part: [row for n in names[cut] for row in tests[n][:TEST_ROWS]] for part, cut in PARTS.items()}


def write(path: Path, rows: list[Row]) -> str:
    """Rows as a file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def measure(loss: str, balance: str, seed: int) -> Row:
    """One run: macro accuracy before and after, by part and over all classes."""
    train, tests = long_tailed(seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        settings = {
            "model.name": MODEL,
            "data.train": write(out / "train.jsonl", train),
            "data.dev": "none",
            "data.test": {part: write(out / f"{part}.jsonl", rows) for part, rows in tests.items()},
            "data.balance": None if balance == "none" else balance,
            "train.loss": loss,
            "train.max_steps": STEPS,
            "train.batch_size": 64,
            "evaluate.similarity": ["cosine"],
            "seed": seed,
        }
        started = time.perf_counter()
        result = et.run(et.load_recipe(set=settings), out=out / "run")
        seconds = time.perf_counter() - started
    found = {"base": macro(result.baseline), "tuned": macro(result.tuned)}
    return {**found, "train_rows": len(train), "seconds": round(seconds, 1)}


def macro(metrics: Any) -> dict[str, float]:
    """Macro accuracy of each part, and of all classes: parts weigh as many classes as they have."""
    parts = {part: float(metrics[f"{part}_cosine_macro_accuracy"]) for part in PARTS}
    counts = [len(range(77)[cut]) for cut in PARTS.values()]
    return {**parts, "all": float(np.average(list(parts.values()), weights=counts))}


def summary(runs: Row) -> Row:
    """Over seeds: the mean of each part, and the difference to `none` of the same loss and seed, seed by seed."""
    found: Row = {}
    for loss in LOSSES:
        for balance in BALANCES:
            mine = [runs.get(f"{loss} {balance} {seed}") for seed in SEEDS]
            plain = [runs.get(f"{loss} none {seed}") for seed in SEEDS]
            if not all(mine) or not all(plain):
                continue
            parts = {part: statistics.mean(run["tuned"][part] for run in mine) for part in (*PARTS, "all")}
            gains = [one["tuned"]["all"] - other["tuned"]["all"] for one, other in zip(mine, plain, strict=True)]
            found[f"{loss} {balance}"] = {
                **{part: round(value, 4) for part, value in parts.items()},
                "gain": round(statistics.mean(gains), 4),
                "gain_by_seed": [round(gain, 4) for gain in gains],
            }
    return found


def main() -> None:
    """Run what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of losses, balances and seeds")
    wanted = set(parser.parse_args().only)
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    record: Row = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"runs": {}}
    record |= {"model": MODEL, "steps": STEPS, "versions": versions()}
    record["hardware"] = hardware("cpu", torch.get_num_threads())
    plans = [(loss, balance, seed) for loss in LOSSES for seed in SEEDS for balance in BALANCES]
    for loss, balance, seed in plans:
        name = f"{loss} {balance} {seed}"
        kinds = ({loss} if wanted & set(LOSSES) else set(), {balance} if wanted & set(BALANCES) else set())
        asked = set().union(*kinds, {str(seed)} if wanted & {str(s) for s in SEEDS} else set())
        if name in record["runs"] or not asked <= wanted:
            continue
        record["runs"][name] = measure(loss, balance, seed)
        record["summary"] = summary(record["runs"])
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(name, record["runs"][name], flush=True)


if __name__ == "__main__":
    main()
