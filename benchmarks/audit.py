"""What it takes to audit a million rows: seconds and the highest memory.

`python benchmarks/audit.py [rows]` makes rows out of nli/ in $EMBERTUNE_DATA (default ../shared/data from the project
root) and writes benchmarks/results/audit.json. Each real row comes as often as it takes, a third of the copies with a
word replaced in both texts, the others with every fourth word replaced, so that there are both near duplicates and
texts of their own.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import datasets

import embertune.data.audit
from embertune.caches import placed
from embertune.data.keyed import named
from embertune.data.leaks import without_leaks
from embertune.data.prepare import prepare
from embertune.manifest import versions
from embertune.recipe.check import check

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "audit.json"
#: The parts of the audit that are timed apart.
PARTS = (
    "keyed_sides",
    "read_columns",
    "findings_of_repeats",
    "findings_of_texts",
    "findings_of_targets",
    "findings_of_tongues",
    "findings_across",
    "findings_of_likeness",
    "findings_of_near",
)
#: What is asked: seconds and bytes for a million rows on two cores.
SECONDS, BYTES = 300, 4 * 10**9

Value = TypeVar("Value")


def made(rows: int) -> Iterator[dict[str, str]]:
    """Real rows and what becomes of them, `rows` in all."""
    with gzip.open(DATA / "nli" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        real = [json.loads(line) for line in lines]
    chance = random.Random(0)
    words = sorted({word for row in real[:20_000] for word in row["hypothesis"].split()})
    for number in range(rows):
        row = real[number % len(real)]
        if number < len(real):
            yield row
            continue
        share = 0.0 if number % 3 == 0 else 0.25
        texts = {name: changed(row[name], share, words, chance) for name in ("premise", "hypothesis")}
        yield {**texts, "label": row["label"]}


def changed(text: str, share: float, words: list[str], chance: random.Random) -> str:
    """The text with one word, or that share of its words, replaced."""
    parts = text.split() or [""]
    for at in chance.sample(range(len(parts)), max(1, int(share * len(parts)))):
        parts[at] = chance.choice(words)
    return " ".join(parts)


def timed(name: str, work: Callable[[], Value], record: dict[str, Any]) -> Value:
    """Do it and note wall time, processor time and the highest memory so far."""
    wall, own = time.perf_counter(), time.process_time()
    value = work()
    record[name] = {
        "seconds": round(time.perf_counter() - wall, 1),
        "processor seconds": round(time.process_time() - own, 1),
        "highest memory so far, GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print(name, record[name], flush=True)
    return value


def _part(name: str, work: Callable[..., Value], record: dict[str, Any], *given: Any, **options: Any) -> Value:
    """A part of the audit, its times added up over the sides."""
    once: dict[str, Any] = {}
    value = timed(name, lambda: work(*given, **options), once)
    before = record.get(name, {"seconds": 0.0, "processor seconds": 0.0})
    record[name] = once[name] | {unit: round(before[unit] + once[name][unit], 1) for unit in before if "sec" in unit}
    return value


def main(rows: int) -> None:
    """Write the rows, prepare them, look for everything, and keep what it took."""
    if not (DATA / "nli").is_dir():
        print(f"skipped, {DATA / 'nli'} is not there")
        return
    steps: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, placed(str(Path(folder) / "cache")):
        datasets.config.HF_DATASETS_CACHE = Path(folder) / "host"
        path = Path(folder) / "nli.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in made(rows))
        data = {"train": str(path), "dev": 0.02, "test": 0.02, "shape": "nli", "leaks": "keep"}
        recipe = check({"data": data, "train": {"loss": "softmax"}})
        sides = timed("prepare, leaks told", lambda: prepare(recipe), steps).sides
        sides = replace(sides, findings=())
        sides = timed("leaks dropped", lambda: without_leaks(sides, "drop"), steps)
        for name in PARTS:
            part = getattr(embertune.data.audit, name)
            setattr(embertune.data.audit, name, partial(_part, name, part, steps))
        found = timed("audit", lambda: embertune.data.audit.audit(sides, near=0.8), steps)
        record = {
            "rows": rows,
            "sides": {name: len(side) for name, side in named(sides)},
            "steps": steps,
            "found": [f"{one.kind}, {one.side}: {one.count} of {one.of} {one.text}" for one in found],
            "cores": os.cpu_count(),
            "load afterwards": round(os.getloadavg()[0], 2),
            "asked": {"seconds": SECONDS, "GB": BYTES / 1e9},
            "versions": versions(),
        }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
