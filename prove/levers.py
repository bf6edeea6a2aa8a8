"""What does each lever of training give and cost? One line of settings each, against the defaults.

Sets: 2,000 rows of `nli/` and of `banking77/`, 300 rows of each, 400 pairs of `scifact/` on a smaller corpus, and
`far`, which is Banking77 with every letter turned into another, so that no word of it was met in pre-training. A run
trains to its last step, without stopping or choosing on dev, and its last state is measured on dev and test; a seed
has its own rows, split, order and dropout, which its levers share. Seconds are those of the processor, one thread,
training only.

`python prove/levers.py` runs what prove/results/levers.json does not have yet, the first seed of everything first; a
lever whose leaf does not exist yet is skipped. What each test item came to is kept in the folder `runs/levers`, from
which intervals are computed. `--only 'nli freeze*' '* 0'` runs those whose "SET LEVER SEED" matches
every pattern, `--table` prints the table of what is there. The data is looked for in $EMBERTUNE_DATA (default
../shared/data).
"""

from __future__ import annotations

import argparse
import codecs
import fnmatch
import gzip
import itertools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compared import change, taught
from embertune.data.hashing import keys_of, mix
from embertune.errors import RecipeError
from embertune.evaluate.scene import measure, measure_dev
from embertune.evaluate.score import Scores
from embertune.manifest import hardware, versions
from embertune.plan import Plan, plan
from embertune.recipe import Recipe, load_recipe
from embertune.watch import Silent

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "levers.json"
ITEMS = ROOT / "runs" / "levers"
SEEDS = (0, 1, 2)
#: Folders that are made of others.
MADE = ("nli", "far", "scifact")
#: Documents of SciFact that answer nothing and stay in the corpus all the same.
DISTRACTORS = 300
SHARED: dict[str, Any] = {
    "model.name": "sentence-transformers/all-MiniLM-L6-v2",
    "data.near_duplicates": None,
    "train.precision": "float32",
    "guard.patience": None,
    "evaluate.similarity": ["cosine"],
}
Settings = dict[str, Any]


@dataclass(frozen=True)
class Set:
    """Rows to train on: where they come from, what is set for them; `rate` is the rate of its control."""

    folder: str
    settings: Settings
    rate: float
    thaw: str


SETS: dict[str, Set] = {
    "banking77-300": Set("banking77", {"data.limit": 300, "train.epochs": 5}, 5e-5, "5 steps"),
    "nli-300": Set("nli", {"data.limit": 300, "train.epochs": 5}, 5e-5, "5 steps"),
    "banking77": Set("banking77", {"data.limit": 2000, "train.epochs": 2}, 2e-5, "12 steps"),
    "far": Set("far", {"data.limit": 2000, "train.epochs": 2}, 2e-5, "12 steps"),
    "nli": Set("nli", {"data.limit": 2000, "train.epochs": 1}, 2e-5, "6 steps"),
    "scifact": Set("scifact", {"data.limit": 400, "model.max_length": 64, "train.epochs": 1}, 5e-5, "2 steps"),
}


def freezing(of: Set) -> dict[str, Settings]:
    """Fewer layers that train."""
    return {
        "freeze 2": {"train.freeze": 2},
        "freeze 3": {"train.freeze": 3},
        "freeze all but 1": {"train.freeze": "all but 1"},
        "thaw": {"train.freeze": "all but 1", "train.unfreeze": of.thaw},
        "layer_decay 0.9": {"train.layer_decay": 0.9},
        "lower half at half": {"train.layer_rates": {"embeddings": of.rate / 2, "blocks 0-2": of.rate / 2}},
    }


def gentle(of: Set) -> dict[str, Settings]:
    """What is advised for few rows: fewer passes, a lower rate, more dropout, smaller batches."""
    return {
        "half the epochs": {"train.epochs": of.settings["train.epochs"] / 2},
        "half rate": {"train.learning_rate": of.rate / 2},
        "dropout 0.2": {"model.dropout": 0.2},
        "batch 16": {"train.batch_size": 16},
    }


def others(of: Set) -> dict[str, Settings]:
    """All the rest."""
    return {
        "dropout 0": {"model.dropout": 0.0},
        "double rate": {"train.learning_rate": 2 * of.rate},
        "double the epochs": {"train.epochs": 2 * of.settings["train.epochs"]},
        "cosine": {"train.schedule": "cosine"},
        "average 0.99": {"train.average": 0.99},
    }


def levers(name: str) -> dict[str, Settings]:
    """Those that are tried on a set; one without settings says nothing there."""
    of = SETS[name]
    found = {"control": Settings()} | freezing(of)
    if name not in ("scifact", "far"):
        found |= gentle(of)
    if name in ("nli", "banking77"):
        found |= others(of)
    return {lever: settings for lever, settings in found.items() if settings or lever == "control"}


def every_run() -> Iterator[tuple[str, str, int]]:
    """Set, lever and seed; the first seed of everything first, the sets taking turns."""
    most = max(len(levers(name)) for name in SETS)
    for seed in SEEDS:
        for place in range(most):
            for name in SETS:
                if place < len(levers(name)):
                    yield name, list(levers(name))[place], seed


def put_down(name: str, into: Path) -> None:
    """The sets that are made of others: fewer premises, other letters, a smaller corpus."""
    if name == "nli":
        for side, share in {"train": 0.15, "dev": 0.15, "test": 0.4}.items():
            rows = read("nli", side)
            kept = mix(keys_of([row["premise"] for row in rows]), 0, "levers") < share * 2**64
            write(into / f"{side}.jsonl", itertools.compress(rows, kept))
    elif name == "far":
        for side in ("train", "test"):
            turned = (row | {"text": codecs.encode(row["text"], "rot13")} for row in read("banking77", side))
            write(into / f"{side}.jsonl", turned)
    else:
        put_down_collection(name, into)


def read(name: str, side: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name / f"{side}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def put_down_collection(folder: str, into: Path) -> None:
    """All that is judged, and `DISTRACTORS` documents beside."""
    shutil.copytree(DATA / folder / "qrels", into / "qrels")
    shutil.copy(DATA / folder / "queries.jsonl", into / "queries.jsonl")
    judged = {line.split("\t")[1] for file in (into / "qrels").iterdir() for line in file.read_text().splitlines()}
    documents = [json.loads(line) for line in (DATA / folder / "corpus.jsonl").read_text("utf-8").splitlines()]
    names = [document["_id"] for document in documents]
    extra = {names[i] for i in mix(keys_of(names), 0, "levers").argsort()[:DISTRACTORS]}
    write(into / "corpus.jsonl", (document for document in documents if document["_id"] in judged | extra))


def recipe_of(name: str, lever: str, seed: int, folder: Path) -> Recipe:
    """The recipe of one run; RecipeError where a leaf of the lever does not exist yet."""
    chosen = SETS[name]
    settings = SHARED | chosen.settings | {"train.learning_rate": chosen.rate} | levers(name)[lever]
    return load_recipe(set=settings | {"data.train": str(folder), "seed": seed})


def run(recipe: Recipe, label: str) -> dict[str, Any]:
    """One training, and what its last state reaches on dev and on test; test item by item in a file of its own."""
    planned = plan(recipe, None, None, Silent())
    started, clock = time.process_time(), time.perf_counter()
    steps = taught(planned).steps
    seconds, elapsed = time.process_time() - started, time.perf_counter() - clock
    values, test = reached(planned)
    groups = np.unique(test.groups, return_inverse=True)[1]
    items = {"items": test.items[planned.scene.test_headline].tolist(), "groups": groups.tolist()}
    ITEMS.mkdir(parents=True, exist_ok=True)
    (ITEMS / f"{label}.json").write_text(json.dumps(items), encoding="utf-8")
    return values | {
        "revision": revision(),
        "rows": len(planned.data.sides.train),
        "steps": steps,
        "seconds": round(seconds, 1),
        "clock": round(elapsed, 1),
    }


def revision() -> str:
    """The commit that is run."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def untouched(recipe: Recipe) -> dict[str, float]:
    """What the model reaches as it came."""
    return reached(plan(recipe, None, None, Silent()))[0]


def reached(planned: Plan) -> tuple[dict[str, float], Scores]:
    """The headlines of dev and test, and all of test."""
    scene = planned.scene
    dev, test = measure_dev(planned.encode, scene, scene.dev_headline), measure(planned.encode, scene)[0]
    values = {"dev": dev.values[f"{dev.name}_{scene.dev_headline}"], "test": test.values[scene.test_headline]}
    return {side: round(value, 5) for side, value in values.items()}, test


def summary(runs: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """For each set and lever, over the seeds that are there: the change against the control of the same seed.

    An interval whose test items are no longer there is taken from what is `known`.
    """
    found: dict[str, Any] = {}
    for name in SETS:
        for lever in levers(name):
            labels = [(f"{name} control {seed}", f"{name} {lever} {seed}") for seed in SEEDS]
            labels = [pair for pair in labels if runs.keys() >= set(pair)]
            both = [(runs[before], runs[after]) for before, after in labels]
            if both:
                found[f"{name} {lever}"] = {
                    "dev": round(statistics.mean(after["dev"] for _, after in both), 4),
                    "test": round(statistics.mean(after["test"] for _, after in both), 4),
                    "change on dev": [round(after["dev"] - before["dev"], 4) for before, after in both],
                    "change on test": changed(labels) or known[f"{name} {lever}"]["change on test"],
                    "time": round(statistics.mean(after["seconds"] / before["seconds"] for before, after in both), 2),
                }
    return found


def changed(labels: list[tuple[str, str]]) -> dict[str, Any] | None:
    """The paired change over the test items of all seeds, with its interval; None where they are not there."""
    paths = [[ITEMS / f"{label}.json" for label in pair] for pair in labels]
    if not all(path.is_file() for pair in paths for path in pair):
        return None
    runs = [[json.loads(path.read_text(encoding="utf-8")) for path in pair] for pair in paths]
    before, after = ([run["items"] for run in side] for side in zip(*runs, strict=True))
    found = change(before, after, [run["groups"] for _, run in runs])
    return {key: np.round(value, 4).tolist() for key, value in found.items()}


def read_results() -> dict[str, Any]:
    empty: dict[str, Any] = {"untouched": {}, "runs": {}}
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else empty


def keep(record: dict[str, Any]) -> None:
    record["summary"] = summary(record["runs"], record.get("summary", {}))
    record |= {"settings": SHARED, "versions": versions(), "hardware": hardware("cpu", torch.get_num_threads())}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(record: dict[str, Any]) -> str:
    """For docs/lab.md: the change on dev and on test in points, and the time, a column for each set."""
    found = record["summary"]
    names = list(dict.fromkeys(lever for name in SETS for lever in levers(name)))
    lines = ["| lever | " + " | ".join(SETS) + " |", "|---" * (len(SETS) + 1) + "|"]
    for lever in names:
        cells = [_cell(found.get(f"{name} {lever}")) for name in SETS]
        lines += [f"| {lever} | " + " | ".join(cells) + " |"] if any(cells) else []
    return "\n".join(lines)


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    test, dev = found["change on test"], statistics.mean(found["change on dev"])
    spread = f"{100 * test['difference']:+.1f} ({100 * test['low']:+.1f} to {100 * test['high']:+.1f})"
    return f"{100 * dev:+.1f}, {spread}, {found['time']:.2f}"


def main() -> None:
    """Run what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="patterns of 'SET LEVER SEED'")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    asked = parser.parse_args()
    if asked.table:
        print(table(read_results()))
        return
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    with tempfile.TemporaryDirectory() as made:
        for name, lever, seed in every_run():
            label = f"{name} {lever} {seed}"
            if label not in read_results()["runs"] and all(fnmatch.fnmatch(label, only) for only in asked.only):
                one(name, lever, seed, Path(made))


def one(name: str, lever: str, seed: int, made: Path) -> None:
    """One run, kept in the results; a lever that does not exist yet is noted."""
    chosen, label = SETS[name], f"{name} {lever} {seed}"
    folder = made / chosen.folder if chosen.folder in MADE else DATA / chosen.folder
    if chosen.folder in MADE and not folder.is_dir():
        folder.mkdir()
        put_down(chosen.folder, folder)
    try:
        recipe = recipe_of(name, lever, seed, folder)
    except RecipeError as error:
        print(f"{label}: skipped: {error.problems[0]}", flush=True)
        return
    base = f"{name} {seed}"
    with tempfile.TemporaryDirectory() as cache:  # of its own, so that nothing is computed before it is timed
        os.environ["EMBERTUNE_CACHE"] = cache
        before = {} if base in read_results()["untouched"] else {base: untouched(recipe)}
        found = run(recipe, label)
    record = read_results()
    record["untouched"] |= before
    record["runs"][label] = found
    keep(record)
    print(f"{label}: dev {found['dev']:.4f}, test {found['test']:.4f}, {found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
