"""Where there is nothing to learn, does the proof say so? Runs on shuffled positives should not be called better.

200 triplets of premises, what they entail and what contradicts them, with the positives (and the negatives) handed
round among the training rows, so that nothing in a row belongs together; dev and test are as they are. Everything else
is a run at default settings on all-MiniLM-L6-v2, with the choice on dev among base, best state, average and mixtures.
At a level of 5 %, two-sided, a verdict `better` by chance alone is to be expected in one of forty runs; asked are at
most 2 of 20 seeds. `python prove/shuffled.py [SEEDS]` writes prove/results/shuffled.json; runs that are there already
are not made again. Two to three minutes a run on one core.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import embertune as et
from compared import add_run, runs_of
from overfitting import drawn, read, triplets

RESULTS = Path(__file__).parent / "results" / "shuffled.json"
SEEDS = 20
ROWS, TEST = 200, 500
SETTINGS: dict[str, Any] = {
    "model.name": "sentence-transformers/all-MiniLM-L6-v2",
    "data.leaks": "keep",
    "train.precision": "float32",
    "evaluate.similarity": ["cosine"],
    "report.examples": False,
}

#: By case: the rows of dev, and what differs from the defaults.
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "defaults": (300, {}),
    "gentle": (100, {"train.learning_rate": 1e-6, "train.epochs": 3}),
}

Row = dict[str, Any]


def handed_round(rows: list[Row]) -> list[Row]:
    """Every anchor with the positive of the next row, and the negative of the one after it."""
    turned = {"positive": [*rows[1:], *rows[:1]], "negative": [*rows[2:], *rows[:2]]}
    return [
        {"anchor": row["anchor"], **{name: other[name] for name, other in zip(turned, others, strict=True)}}
        for row, *others in zip(rows, *turned.values(), strict=True)
    ]


def one(case: str, seed: int) -> Row:
    """A run, and what it came to."""
    began = time.perf_counter()
    most, leaves = CASES[case]
    train = handed_round(drawn(triplets(read("nli", "train")), seed, "train")[:ROWS])
    rest = drawn(triplets([*read("nli", "dev"), *read("nli", "test")]), seed, "dev")
    recipe = et.load_recipe(set={**SETTINGS, **leaves, "seed": seed})
    with tempfile.TemporaryDirectory() as folder:
        dev, test = rest[:most], rest[most : most + TEST]
        result = et.run(recipe, Path(folder) / "run", train=train, dev=dev, test=test)
    assert result.primary is not None
    change = result.change[result.primary]
    return {
        "verdict": result.verdict,
        "chosen": result.chosen,
        "baseline": result.baseline[result.primary],
        "difference": change.difference,
        "low": change.low,
        "high": change.high,
        "seconds": round(time.perf_counter() - began),
    }


def main(seeds: int) -> None:
    """Make the runs that are missing, and count."""
    for case in CASES:
        for label, seed in ((f"{case} {seed}", seed) for seed in range(seeds)):
            if label not in runs_of(RESULTS):
                add_run(RESULTS, label, one(case, seed), SETTINGS)
                print(label, runs_of(RESULTS)[label], flush=True)
        found = [run for label, run in runs_of(RESULTS).items() if label.startswith(case)]
        print(case, Counter(run["verdict"] for run in found), Counter(run["chosen"] for run in found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
