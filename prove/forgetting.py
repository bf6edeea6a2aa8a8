"""What training costs a model of what it could do before, and what `train.keep_general` wins back at what price.

all-MiniLM-L6-v2 is trained on NLI triplets (as in the case that is known to forget: SciFact and Banking77 fall, STS-B
rises). Once trained, every state that could be saved (base, best state, average, mixtures of base and best) is
measured on the NLI test, and on what should be kept: questions of SciFact over their documents and others, Banking77
as neighbours of each other, STS-B, and the bundled pairs. Beside them stands what the choice among them takes, by dev
and by the bundled pairs alone, which is all that a user has who gives no sets of his own. The shares are named, since
`auto` tries none here: looks at so many states cost more than guard.budget allows for 8,000 triplets trained.

`python prove/forgetting.py [SEED ...]` writes prove/results/forgetting.json; runs that are there already are not made
again. A quarter of an hour a seed on one core. The data is looked for in $EMBERTUNE_DATA.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import embertune as et
from compared import DATA, add_run, runs_of
from embertune.candidates import States, settle_on
from embertune.data.hashing import keys_of, mix
from embertune.data.prepare import BUNDLED, Given
from embertune.evaluate.bootstrap import paired
from embertune.evaluate.scene import measure, measure_retention
from embertune.evaluate.score import Scores
from embertune.plan import Plan, plan
from embertune.run import as_it_came, start_of, teach
from embertune.rundir import RunDir
from embertune.watch import Silent
from overfitting import drawn, read, triplets

RESULTS = Path(__file__).parent / "results" / "forgetting.json"
SEEDS = (0, 1, 2, 3)
ROWS, DEV, TEST = 4_000, 600, 1_000
#: Of SciFact so many test questions, and so many documents that answer none of them; of Banking77 so many test rows.
QUESTIONS, OTHERS, INTENTS = 150, 150, 1_500
SETTINGS: dict[str, Any] = {
    "model.name": "sentence-transformers/all-MiniLM-L6-v2",
    "model.max_length": 128,
    "data.leaks": "keep",
    "train.precision": "float32",
    "train.epochs": 2,
    "train.learning_rate": 5e-5,
    "train.save_every": None,
    "train.keep_general": [0.25, 0.5, 0.75],
    "guard.patience": None,
    "evaluate.similarity": ["cosine"],
    "report.examples": False,
}

Row = dict[str, Any]


def first(names: Sequence[str], most: int) -> list[str]:
    """The `most` names of lowest hash."""
    return [names[i] for i in mix(keys_of(list(names)), 0, "forgetting").argsort(kind="stable")[:most]]


def scifact(folder: Path) -> Path:
    """Some test questions over the documents that answer them and others, as a BEIR folder."""
    source = DATA / "scifact"
    rows = {name: _jsonl(source / f"{name}.jsonl") for name in ("corpus", "queries")}
    lines = (source / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    judged = [line.split("\t") for line in lines]
    questions = set(first(sorted({line[0] for line in judged}), QUESTIONS))
    judged = [line for line in judged if line[0] in questions]
    needed = {line[1] for line in judged}
    others = first(sorted({row["_id"] for row in rows["corpus"]} - needed), OTHERS)
    kept = {"corpus": needed | set(others), "queries": questions}
    (folder / "qrels").mkdir(parents=True)
    for name, ids in kept.items():
        texts = (json.dumps(row) + "\n" for row in rows[name] if row["_id"] in ids)
        (folder / f"{name}.jsonl").write_text("".join(texts), encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(line) for line in judged)]
    for side in ("train", "test"):
        (folder / "qrels" / f"{side}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _jsonl(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def retention(folder: Path) -> dict[str, str]:
    """What should be kept: by name where it stands."""
    some = folder / "banking77.jsonl"
    rows = drawn(read("banking77", "test"), 0, "kept")[:INTENTS]
    some.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sts = folder / "stsb.jsonl"
    sts.write_text("".join(json.dumps(row) + "\n" for row in read("stsb", "test")), encoding="utf-8")
    return {
        "general": str(BUNDLED),
        "scifact": str(scifact(folder / "scifact")),
        "banking77": str(some),
        "stsb": str(sts),
    }


def one(seed: int) -> Row:
    """A training run, and every state of it measured."""
    began = time.perf_counter()
    train = drawn(triplets(read("nli", "train")), seed, "train")[:ROWS]
    rest = drawn(triplets([*read("nli", "dev"), *read("nli", "test")]), seed, "dev")
    given = Given(train, rest[:DEV], rest[DEV : DEV + TEST])
    with tempfile.TemporaryDirectory() as place:
        leaves = {**SETTINGS, "seed": seed, "evaluate.retention": retention(Path(place))}
        planned = plan(et.load_recipe(set=leaves), given, None, Silent())
        dev, baseline, before = as_it_came(planned)
        start = start_of(planned, dev, before)
        fitted = teach(planned, RunDir(Path(place), finished=False), dev, None, Silent())
        states = States(planned, fitted, start)
        found: dict[str, Row] = {}
        for name in states.names:
            states.wear(name)
            tuned, kept = measure(planned.encode, planned.scene), measure_retention(planned.encode, planned.scene)
            pairs = zip((*baseline, *before), (*tuned, *kept), strict=True)
            found[name] = {"dev": states.dev(name).values[str(planned.resolved.recipe.guard.metric)]}
            found[name] |= {one.name: compared(one, other) for one, other in pairs}
        states.wear("tuned")
        choice = settle_on(with_bundled(planned), fitted, replace(start, retention=before[:1]))[0]
    seconds = round(time.perf_counter() - began)
    return {"states": found, "taken": choice.chosen, "why": choice.reason, "steps": fitted.steps, "seconds": seconds}


def with_bundled(planned: Plan) -> Plan:
    """The same plan, of whose retention sets only the first is known: the bundled pairs."""
    return replace(planned, scene=replace(planned.scene, retention=planned.scene.retention[:1]))


def compared(before: Scores, after: Scores) -> Row:
    """The headline, and its change from the base with its interval."""
    metric = before.headline
    change = paired(before, after, metric, 0)
    return {"value": after.values[metric], "change": change.difference, "low": change.low, "high": change.high}


def main(seeds: Sequence[int]) -> None:
    """Make the runs that are missing, and show them."""
    for seed in seeds:
        if str(seed) not in runs_of(RESULTS):
            add_run(RESULTS, str(seed), one(seed), SETTINGS)
        run = runs_of(RESULTS)[str(seed)]
        print(seed, run["taken"], run["why"], run["seconds"], "s", flush=True)
        for name, state in run["states"].items():
            told = [f"{of} {state[of]['value']:.4f} ({state[of]['change']:+.4f})" for of in state if of != "dev"]
            print(f"  {name:20} dev {state['dev']:.4f}", *told, flush=True)
    runs = runs_of(RESULTS).values()
    for name in next(iter(runs))["states"]:
        several = [run["states"][name] for run in runs if name in run["states"]]
        means = {of: float(np.mean([one[of]["change"] for one in several])) for of in several[0] if of != "dev"}
        print(name, {of: f"{mean:+.4f}" for of, mean in means.items()}, flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or SEEDS)
