"""Classes of unequal size: what does each `data.balance` give on a Banking77 made long-tailed?

Which classes are rare is decided by a hash of (seed, class), which of their rows stay by a hash of (seed, text): the
first class keeps 100 training rows, the one at rank r 100 / r^0.8, the last 3. Test has 20 rows of each of the 77
classes. Every run makes the same number of steps, without dev, so the last state is measured. The score is macro
accuracy: the share of test texts whose nearest training text is of their class, averaged over classes; balanced or
not, neighbours are looked for among the same training rows.

`python prove/long_tail.py` runs every loss, balance and seed and writes prove/results/long_tail.json; what is there
already is not run again. `--only batch_all_triplet weights 2` runs those whose loss, balance and seed are all named
(any of the three may be left out). The data is looked for in $EMBERTUNE_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune.data.hashing import keys_of, mix
from embertune.manifest import hardware, versions
from embertune.model.find import locate

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data")) / "banking77"
RESULTS = Path(__file__).parent / "results" / "long_tail.json"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LOSSES = ("multiple_negatives_ranking", "batch_all_triplet")
BALANCES = ("none", "oversample", "undersample", "batches", "weights")
SEEDS = (0, 1, 2)
LARGEST, SMALLEST, EXPONENT = 100, 3, 0.8
TEST_ROWS = 20
STEPS = 32
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


def long_tailed(seed: int) -> tuple[list[Row], list[Row], list[str]]:
    """Training rows, test rows, and the classes from the largest to the rarest."""
    classes, tests = by_class(read("train"), seed), by_class(read("test"), seed)
    train = [row for rank, rows in enumerate(classes.values(), 1) for row in rows[: size_of(rank)]]
    return train, [row for name in classes for row in tests[name][:TEST_ROWS]], list(classes)


def measure(loss: str, balance: str, seed: int) -> Row:
    """One run, and the macro accuracy of its model."""
    train = long_tailed(seed)[0]
    with tempfile.TemporaryDirectory() as folder:
        rows, out = Path(folder) / "train.jsonl", Path(folder) / "run"
        rows.write_text("".join(json.dumps(row) + "\n" for row in train), encoding="utf-8")
        settings = {
            "model.name": MODEL,
            "data.train": str(rows),
            "data.dev": "none",
            "data.test": "none",
            "data.balance": None if balance == "none" else balance,
            "train.loss": loss,
            "train.max_steps": STEPS,
            "train.batch_size": 64,
            "seed": seed,
        }
        started = time.perf_counter()
        et.run(et.load_recipe(set=settings), out=out)
        seconds = time.perf_counter() - started
        found = macro(SentenceTransformer(str(out / "model"), device="cpu"), seed)
    return {**found, "train_rows": len(train), "seconds": round(seconds, 1)}


def macro(model: SentenceTransformer, seed: int) -> dict[str, float]:
    """Accuracy of the nearest training text by cosine, averaged over the classes of each part and over all."""
    train, test, names = long_tailed(seed)
    et.pack(model)
    known, asked = (
        model.encode([row["text"] for row in rows], normalize_embeddings=True, batch_size=64) for rows in (train, test)
    )
    nearest = (asked @ known.T).argmax(axis=1)
    right = [train[place]["label"] == row["label"] for place, row in zip(nearest, test, strict=True)]
    of_class = np.reshape(right, (len(names), TEST_ROWS)).mean(axis=1)
    return {**{part: float(of_class[cut].mean()) for part, cut in PARTS.items()}, "all": float(of_class.mean())}


def summary(runs: Row) -> Row:
    """Over seeds: the mean of each part, and the difference to `none` of the same loss and seed, seed by seed."""
    found: Row = {}
    for loss in LOSSES:
        for balance in BALANCES:
            mine = [runs.get(f"{loss} {balance} {seed}") for seed in SEEDS]
            plain = [runs.get(f"{loss} none {seed}") for seed in SEEDS]
            if not all(mine) or not all(plain):
                continue
            parts = {part: statistics.mean(run[part] for run in mine) for part in (*PARTS, "all")}
            gains = [one["all"] - other["all"] for one, other in zip(mine, plain, strict=True)]
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
    for loss, seed, balance in itertools.product(LOSSES, SEEDS, BALANCES):
        name = f"{loss} {balance} {seed}"
        named = ((loss, LOSSES), (balance, BALANCES), (str(seed), [str(one) for one in SEEDS]))
        if name in read_results()["runs"] or any(wanted & set(kind) and one not in wanted for one, kind in named):
            continue
        base = {} if str(seed) in read_results()["base"] else {str(seed): macro(base_model(), seed)}
        run = measure(loss, balance, seed)
        record = read_results()
        record["base"] |= base
        record["runs"][name] = run
        record["summary"] = summary(record["runs"])
        record |= {"model": MODEL, "steps": STEPS, "versions": versions()}
        record["hardware"] = hardware("cpu", torch.get_num_threads())
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(name, run, flush=True)


def base_model() -> SentenceTransformer:
    """The model as it comes."""
    return SentenceTransformer(str(locate(MODEL).folder), device="cpu")


def read_results() -> Row:
    """What has been measured so far, by this process or another."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"base": {}, "runs": {}}


if __name__ == "__main__":
    main()
