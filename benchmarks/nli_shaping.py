"""How long a million inference rows take to become triplets: read, checked, paired, grouped, and a split of them.

python benchmarks/nli_shaping.py [rows]
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import datasets

from embertune.caches import placed
from embertune.data.shapes import shape
from embertune.data.sources import read
from embertune.data.split import split

LABELS = ("entailment", "neutral", "contradiction")
Value = TypeVar("Value")


def write(path: Path, rows: int) -> None:
    """Made-up rows: up to nine hypotheses a premise, as in the real sets, 8 to 24 words a text."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(20_000)]

    def text() -> str:
        return " ".join(chance.choices(words, k=chance.randint(8, 24)))

    with path.open("w") as file:
        done = 0
        while done < rows:
            premise = text()
            for _ in range(min(chance.choice((1, 1, 3, 3, 9)), rows - done)):
                done += 1
                row = {"premise": premise, "hypothesis": text(), "label": chance.choice(LABELS)}
                file.write(json.dumps(row) + "\n")


def timed(what: str, work: Callable[[], Value]) -> Value:
    """The result of some work, with its seconds printed."""
    start = time.perf_counter()
    result = work()
    print(f"{what:<28}{time.perf_counter() - start:8.1f} s")
    return result


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder, placed(folder):
        datasets.config.HF_DATASETS_CACHE = folder
        path = Path(folder) / "made.jsonl"
        write(path, rows)
        source = timed(f"read {rows:,} rows", lambda: read(str(path)))
        prepared = timed("fingerprint and triplets", lambda: shape(source, "train"))
        timed("split", lambda: split(prepared, 0.05, 0.1, seed=0))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{len(prepared):,} triplets, peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
