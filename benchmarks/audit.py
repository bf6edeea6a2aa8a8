"""What it takes to look for repeats, near duplicates and leaks among a million rows: seconds and the highest memory.

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
from pathlib import Path
from typing import Any, TypeVar

import datasets

from embertune.caches import placed
from embertune.data.keyed import keyed_sides
from embertune.data.leaks import without_leaks
from embertune.data.nearness import findings_of_near
from embertune.data.prepare import prepare
from embertune.data.repeats import findings_across, findings_of_repeats
from embertune.manifest import versions
from embertune.recipe.check import check

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "audit.json"
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
        audited: dict[str, Any] = {}
        sides = timed("leaks once more", lambda: without_leaks(sides, "drop"), audited)
        held = timed("keys", lambda: keyed_sides(sides), audited)
        found = timed("repeats", lambda: [one for side in held for one in findings_of_repeats(side)], audited)
        found += timed("across", lambda: [one for side in held[1:] for one in findings_across(held[0], side)], audited)
        found += timed("near duplicates", lambda: findings_of_near(held, 0.8), audited)
        record = {
            "rows": rows,
            "texts": {side.side: len(side.texts()) for side in held},
            "steps": steps | audited,
            "audit": {
                unit: round(sum(step[unit] for step in audited.values()), 1)
                for unit in ("seconds", "processor seconds")
            },
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
