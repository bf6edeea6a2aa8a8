"""Overfitting made on purpose: does the guard say so in time, and does it keep silent where a run is healthy?

Made: 300 rows of STS-B and 300 NLI triplets, at a high rate over many passes; and the same with scores, or positives,
shuffled. Dev has 300 rows. At every look the model is measured on 2,000 held-out rows as well, which decide
nothing: the look where they are at their highest is the peak. Healthy: runs of 500 rows at default settings, ten
seeds of each set; every word of overfitting there counts as a false alarm. The model is all-MiniLM-L6-v2, for healthy
runs cut to its lowest layer (cut, it gains so much from any training that bad rows hardly harm it). Every run goes on
to its end, whatever the diagnosis.

`python prove/overfitting.py` writes prove/results/overfitting.json; what is there already is not run again, and all
diagnoses are made anew from the signs that are kept. `--only healthy nli 3` runs those whose kind, set and seed are
all named (any of the three may be left out). The data is looked for in $EMBERTUNE_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import embertune as et
from compared import DATA
from embertune.data.hashing import keys_of, mix
from embertune.data.prepare import Given
from embertune.evaluate.score import score
from embertune.manifest import hardware, versions
from embertune.plan import Plan, plan
from embertune.run import look, teach
from embertune.rundir import RunDir
from embertune.training.diagnosis import Scope, diagnose
from embertune.training.signs import Signs
from embertune.watch import LookLine, Silent

RESULTS = Path(__file__).parent / "results" / "overfitting.json"
#: The sets and seeds of each kind of run.
SETS = {"high rate": ("stsb", "nli"), "shuffled": ("stsb", "nli"), "healthy": ("banking77", "nli")}
SEEDS = {"high rate": (0, 1, 2), "shuffled": (0, 1, 2), "healthy": tuple(range(10))}
ROWS = {"high rate": 300, "shuffled": 300, "healthy": 500}
DEV, HELD_OUT = 300, 2_000
#: The latest that the word may come: so many looks after the peak.
IN_TIME = 2
#: What the model of healthy runs is cut to: there are many.
LAYERS = 1

Row = dict[str, Any]


def read(name: str, side: str) -> list[Row]:
    """All rows of a side."""
    with gzip.open(DATA / name / f"{side}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def triplets(rows: list[Row]) -> list[Row]:
    """One triplet of every premise that is entailed and contradicted."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row["premise"], {}).setdefault(row["label"], row["hypothesis"])
    both = [(premise, by) for premise, by in found.items() if {"entailment", "contradiction"} <= set(by)]
    return [{"anchor": p, "positive": by["entailment"], "negative": by["contradiction"]} for p, by in both]


def drawn(rows: list[Row], seed: int, what: str) -> list[Row]:
    """Rows in the order of the hash of all they say."""
    texts = [json.dumps(row, sort_keys=True) for row in rows]
    return [rows[i] for i in mix(keys_of(texts), seed, what).argsort(kind="stable")]


def rows_of(kind: str, name: str, seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Training, dev and held-out rows."""
    sides = ("train", "test") if name == "banking77" else ("train", "dev", "test")
    train, *others = ([*read(name, side)] for side in sides)
    rest = list(itertools.chain.from_iterable(others))
    if name == "nli":
        train, rest = triplets(train), triplets(rest)
    train, rest = drawn(train, seed, "train")[: ROWS[kind]], drawn(rest, seed, "dev")
    return shuffled(train) if kind == "shuffled" else train, rest[:DEV], rest[DEV : DEV + HELD_OUT]


def shuffled(rows: list[Row]) -> list[Row]:
    """The same rows, each with the score or the positive of the next."""
    what = "score" if "score" in rows[0] else "positive"
    return [row | {what: other[what]} for row, other in zip(rows, [*rows[1:], rows[0]], strict=True)]


def settings_of(kind: str, seed: int) -> dict[str, Any]:
    """What differs from the defaults; looks once a pass, and 8 passes, where a run is to overfit."""
    shared = {
        "model.name": "sentence-transformers/all-MiniLM-L6-v2",
        "data.leaks": "keep",
        "train.precision": "float32",
        "train.save_every": None,
        "evaluate.similarity": ["cosine"],
        "guard.patience": None,
        "guard.on_overfit": "warn",
        "seed": seed,
    }
    if kind == "healthy":
        return shared | {"model.layers": {"keep": LAYERS, "choose": "first"}}
    rate = 5e-4 if kind == "high rate" else 2e-4
    return shared | {
        "train.learning_rate": rate,
        "train.epochs": 8,
        "train.batch_size": 30,
        "train.warmup": 0.0,
        "guard.eval_every": "1 epoch",
        "guard.budget": None,
    }


class Beside(Silent):
    """Measures the held-out rows whenever dev is looked at."""

    def __init__(self, planned: Plan) -> None:
        self.planned, self.values = planned, list[float]()

    def look(self, _line: LookLine) -> None:
        """After every look."""
        found = score(self.planned.encode_dev, self.planned.scene.tests[0], ["cosine"])
        self.values.append(found.values[found.headline])


def train(kind: str, name: str, seed: int) -> Row:
    """One run: its signs, the held-out rows at every look, and what they are about."""
    began = time.perf_counter()
    planned = plan(et.load_recipe(set=settings_of(kind, seed)), Given(*rows_of(kind, name, seed)), None, Silent())
    watch = Beside(planned) if kind != "healthy" else Silent()
    with tempfile.TemporaryDirectory() as folder:
        fitted = teach(planned, RunDir(Path(folder), finished=False), look(planned), None, watch)
        lines = [json.loads(line) for line in (Path(folder) / "history.jsonl").read_text("utf-8").splitlines()]
    looks = [line for line in lines if "signs" in line]
    dev = planned.scene.dev
    assert dev is not None
    return {
        "steps": fitted.steps,
        "metric": planned.resolved.recipe.guard.metric,
        "items": len(dev),
        "signs": [{"step": line["step"], "epoch": line["epoch"], **line["signs"]} for line in looks],
        "held out": watch.values if isinstance(watch, Beside) else None,
        "seconds": round(time.perf_counter() - began),
    }


def judged(run: Row) -> Row:
    """The run with its diagnoses, made from its signs, and what they are worth."""
    signs = [Signs(**one) for one in run["signs"]]
    scope = Scope(run["metric"], run["items"], run["steps"])
    found = [diagnose(signs[: i + 1], scope) for i in range(len(signs))]
    names = [one.name if one else "" for one in found]
    alarm = names.index("overfitting") if "overfitting" in names else None
    reason = found[alarm].reason if alarm is not None else ""
    judged = run | {"names": names, "alarm": alarm, "reason": reason}
    if run["held out"]:
        peak = max(range(len(signs)), key=lambda i: run["held out"][i])
        judged |= {"peak": peak, "in time": alarm is not None and abs(alarm - peak) <= IN_TIME}
    return judged


def summed(runs: dict[str, Row]) -> Row:
    """Of the runs that overfit, how many were told in time; of the healthy ones, how many were called so."""
    made = {key: run for key, run in runs.items() if run["held out"]}
    healthy = {key: run for key, run in runs.items() if not run["held out"]}
    return {
        "overfitting": len(made),
        "in time": sum(run["in time"] for run in made.values()),
        "late, early or never": sorted(key for key, run in made.items() if not run["in time"]),
        "healthy": len(healthy),
        "false alarms": sorted(key for key, run in healthy.items() if run["alarm"] is not None),
    }


def wanted(only: list[str]) -> Iterator[tuple[str, str, int]]:
    """All runs, seed by seed; those whose kind, set and seed are named, wherever one of these is."""
    for seed in range(max(map(len, SEEDS.values()))):
        for kind, name in [(kind, name) for kind, names in SETS.items() for name in names if seed in SEEDS[kind]]:
            if set(only) <= {kind, name, str(seed)}:
                yield kind, name, seed


def main() -> None:
    """Run what is missing, and judge everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    only = parser.parse_args().only
    known: Row = json.loads(RESULTS.read_text("utf-8"))["runs"] if RESULTS.is_file() else {}
    missing = [run for run in wanted(only) if " ".join(map(str, run)) not in known]
    for kind, name, seed in missing:
        run = known[f"{kind} {name} {seed}"] = train(kind, name, seed)
        write(known)
        told = judged(run)
        print(kind, name, seed, run["seconds"], "s", told.get("peak"), told["alarm"], told["names"], flush=True)
    print(json.dumps(write(known), indent=1))


def write(known: dict[str, Row]) -> Row:
    """Write the results with all diagnoses made anew; their summary."""
    runs = {key: judged(run) for key, run in known.items()}
    told = {"summary": summed(runs), "hardware": hardware("cpu", 1), "versions": versions(), "runs": runs}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told["summary"]


if __name__ == "__main__":
    main()
