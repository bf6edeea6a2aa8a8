"""What does `data.augment` give or cost? Small subsets of two real sets, three seeds, each method against none.

    python prove/augmentation.py [--only banking77/300/delete ...]

Every run takes the same number of steps, so that a method gets no more training than its control, only other texts. The
rows of a subset are chosen by the seed, and are the same for all methods. Results go to prove/results/augmentation.json
after each run; what is there already is kept. The data is looked for in $EMBERTUNE_DATA (default ../shared/data from
the project root). Back-translation is not measured: no weights of a translation model are at hand.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from embertune import load_recipe
from embertune.engine.pack import unpack
from embertune.evaluate.scene import measure
from embertune.manifest import versions
from embertune.plan import Plan, plan
from embertune.run import teach
from embertune.rundir import claim
from embertune.watch import Silent

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "augmentation.json"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SEEDS = (0, 1, 2)
#: Rows that are kept of a test file, by the hash of the column that makes a group; of a training file, to draw from.
TEST_GROUPS, TRAIN_GROUPS = {"banking77": 1_000, "nli": 400}, 6_000
COLUMN = {"banking77": "text", "nli": "premise"}
#: Set and training rows to optimizer steps of 16 rows (pairs, triplets): two to three passes of 300 rows, one or more
#: of 1,000. Few, for an hour of two busy cores.
STEPS = {("banking77", 300): 60, ("nli", 300): 40, ("banking77", 1_000): 100, ("nli", 1_000): 64}
BATCH = 16

_THESAURUS = {"thesaurus": str(DATA / "thesaurus" / "synonyms.jsonl.gz")}
METHODS: Mapping[str, dict[str, Any] | None] = {
    "none": None,
    "delete": {"delete": 0.1},
    "swap": {"swap": 0.1},
    "synonyms": {"synonyms": 0.3, **_THESAURUS},
    "all": {"delete": 0.1, "swap": 0.1, "synonyms": 0.3, **_THESAURUS, "copies": 3},
}


def part(name: str, side: str, groups: int, folder: Path) -> Path:
    """The rows of a side whose groups have the lowest hashes, as a file."""
    path = folder / f"{name}-{side}.jsonl"
    if not path.exists():
        with gzip.open(DATA / name / f"{side}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        column = COLUMN[name]
        ranked = sorted({row[column] for row in rows}, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
        kept = set(ranked[:groups])
        path.write_text("".join(json.dumps(row) + "\n" for row in rows if row[column] in kept), encoding="utf-8")
    return path


def measured(
    name: str, rows: int, method: str, seed: int, folder: Path, baselines: dict[tuple[str, int, int], float]
) -> dict[str, Any]:
    """One run: the metric of test before and after, and how many copies there were."""
    settings: dict[str, Any] = {
        "model.name": MODEL,
        "data.train": str(part(name, "train", TRAIN_GROUPS, folder)),
        "data.test": {name: str(part(name, "test", TEST_GROUPS[name], folder))},
        "data.dev": "none",
        "data.limit": rows,
        "data.augment": METHODS[method],
        "train.epochs": None,
        "train.max_steps": STEPS[name, rows],
        "train.batch_size": BATCH,
        "train.learning_rate": 5e-5,
        "evaluate.similarity": ["cosine"],
        "report.examples": False,
        "seed": seed,
    }
    started = time.perf_counter()
    planned = plan(load_recipe(set=settings), None, None, Silent())
    dir_ = claim(folder / f"{name}-{rows}-{method}-{seed}", planned.resolved, planned.fingerprint)
    metric = planned.resolved.recipe.evaluate.primary
    assert metric is not None
    if (name, rows, seed) not in baselines:  # neighbours of classes are looked for among the rows of the subset
        baselines[name, rows, seed] = measure_test(planned, metric)
    teach(planned, dir_, None, None, Silent())
    tuned = measure_test(planned, metric)
    unpack(planned.built.model)
    return {
        "metric": metric,
        "baseline": baselines[name, rows, seed],
        "tuned": tuned,
        "copies": sum(note.count for note in planned.data.notes if "joined them" in note.text),
        "seconds": round(time.perf_counter() - started, 1),
    }


def measure_test(planned: Plan, metric: str) -> float:
    """The metric of the model as it stands."""
    scores, *_ = measure(planned.encode, planned.scene)
    return float(scores.values[metric])


def summed(runs: Mapping[str, Any]) -> dict[str, Any]:
    """The mean over seeds of each method, and of its difference from none with the same seed, with the spread."""
    found: dict[str, Any] = {}
    for name, rows in STEPS:
        for method in METHODS:
            keys = [f"{name}/{rows}/{method}/{seed}" for seed in SEEDS]
            controls = [f"{name}/{rows}/none/{seed}" for seed in SEEDS]
            both = [
                (runs[a]["tuned"], runs[b]["tuned"]) for a, b in zip(keys, controls, strict=True) if {a, b} <= set(runs)
            ]
            if both:
                changes = [tuned - none for tuned, none in both]
                found[f"{name}/{rows}/{method}"] = {
                    "tuned": round(statistics.mean(tuned for tuned, _ in both), 4),
                    "change": round(statistics.mean(changes), 4),
                    "by_seed": [round(change, 4) for change in changes],
                }
    return found


def wanted(only: list[str]) -> Iterator[tuple[str, int, str, int]]:
    """All runs asked for, small ones first."""
    for (name, rows), seed, method in itertools.product(STEPS, SEEDS, METHODS):
        if not only or any(f"{name}/{rows}/{method}/{seed}".startswith(prefix) for prefix in only):
            yield name, rows, method, seed


def main(only: list[str]) -> None:
    """Run what is asked for and not there yet."""
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    record: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"runs": {}}
    record |= {"model": MODEL, "versions": versions(), "steps": {f"{n}/{r}": s for (n, r), s in STEPS.items()}}
    record["methods"] = {m: {k: v for k, v in (s or {}).items() if k != "thesaurus"} for m, s in METHODS.items()}
    baselines: dict[tuple[str, int, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, rows, method, seed in wanted(only):
            key = f"{name}/{rows}/{method}/{seed}"
            if key in record["runs"]:
                continue
            record["runs"][key] = measured(name, rows, method, seed, Path(folder), baselines)
            record["summary"] = summed(record["runs"])
            print(key, record["runs"][key], flush=True)
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name, line in record["summary"].items():
        print(name, line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="SET/ROWS/METHOD/SEED", help="runs that begin so")
    main(parser.parse_args().only)
