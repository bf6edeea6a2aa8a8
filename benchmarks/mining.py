"""Mining hard negatives: embertune against the host's `mine_hard_negatives`, same pairs, same model, float32.

    python benchmarks/mining.py [pairs] [rounds]

The pairs are premises and what they entail, out of `nli/` in $EMBERTUNE_DATA (default ../shared/data from the project
root). Both embed every distinct text, search all of them for every anchor, and keep one negative of at most 95 % of the
positive's score among the first 100. Everything counts but loading the model, tokenising included; the two take turns
in one process. Afterwards what both chose is held against what is known of the pairs. Medians, their ratio and the
machine go to benchmarks/results/mining.json. Seconds are those of the clock and of the processor, which a busy machine
disturbs less.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from embertune.data.hashing import folded, keys
from embertune.data.hashing import joined as joined_keys
from embertune.data.prepare import prepare
from embertune.data.prepared import Prepared
from embertune.engine.reading import reading
from embertune.engine.tokens import TokenStore
from embertune.manifest import hardware, versions
from embertune.mining import joined, make_pool, mine
from embertune.model.build import adopt
from embertune.model.encode import make_encode
from embertune.model.load import on_fastest_path
from embertune.recipe import Recipe, load_recipe
from embertune.recipe.negatives import NegativesSection
from table.models import minilm_folder

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data")) / "nli"
RESULT = Path(__file__).parent / "results" / "mining.json"
PAIRS, ROUNDS, RANKS, MARGIN = 5_000, 3, 100, 0.05

#: (anchor, positive, negative) of every row that got one.
Mined = list[tuple[str, str, str]]


def pairs(count: int) -> tuple[Prepared, Recipe]:
    """The first so many different premises with what they entail, and the recipe they come from."""
    recipe = load_recipe(set={"data.train": f"{DATA}@train", "data.dev": "none", "data.test": "none"})
    train = prepare(recipe).sides.train
    both = [keys(train.rows, name, folded) for name in ("anchor", "positive")]
    _, first = np.unique(joined_keys(both), return_index=True)
    rows = train.rows.select(np.sort(first)[:count]).select_columns(["anchor", "positive", "group"])
    return Prepared(train.name, "pairs", rows, source=train.source, group=train.group), recipe


def with_embertune(train: Prepared, recipe: Recipe) -> Callable[[], Mined]:
    """Our own way, with a model of its own; no token is there beforehand."""
    built = on_fastest_path(adopt(SentenceTransformer(str(minilm_folder()), local_files_only=True)), recipe)
    settings = NegativesSection(range_max=RANKS, relative_margin=MARGIN)

    def work() -> Mined:
        read = reading(built.model)
        assert read is not None
        encode = make_encode(built.model, built.role_prompts, tokens=TokenStore(read, None))
        mined = mine(make_pool(train), encode, settings, recipe.data.near_duplicates, seed=0)
        rows = joined(train, mined).rows
        by_search = ~mined.chosen.drawn[mined.pool.anchor_of, 0]
        found = zip(rows["anchor"], rows["positive"], rows["negative"], by_search, strict=True)
        return [(anchor, positive, negative) for anchor, positive, negative, searched in found if searched]

    return work


def with_host(train: Prepared) -> Callable[[], Mined]:
    """The host's way, with a model of its own."""
    model = SentenceTransformer(str(minilm_folder()), local_files_only=True)
    rows = datasets.Dataset.from_dict({name: list(train.rows[name]) for name in ("anchor", "positive")})

    def work() -> Mined:
        made = mine_hard_negatives(
            rows,
            model,
            anchor_column_name="anchor",
            positive_column_name="positive",
            range_max=RANKS,
            relative_margin=MARGIN,
            num_negatives=1,
            batch_size=32,
            verbose=False,
        )
        return list(zip(made["anchor"], made["positive"], made["negative"], strict=True))

    return work


def wrong(mined: Mined, train: Prepared) -> dict[str, int]:
    """Rows whose negative is, but for case and white space, a known positive of the anchor, or a text of its group."""
    positives: dict[str, set[str]] = {}
    groups: dict[int, set[str]] = {}
    of_anchor: dict[str, set[int]] = {}
    for row in train.rows.to_list():
        anchor, positive = folded(row["anchor"]), folded(row["positive"])
        positives.setdefault(anchor, set()).add(positive)
        groups.setdefault(row["group"], set()).update((anchor, positive))
        of_anchor.setdefault(anchor, set()).add(row["group"])
    known = sum(folded(negative) in positives[folded(anchor)] for anchor, _, negative in mined)
    same = sum(any(folded(n) in groups[g] for g in of_anchor[folded(a)]) for a, _, n in mined)
    return {"rows": len(mined), "known positives": known, "same group": same}


def took(work: Callable[[], Mined]) -> tuple[float, float, Mined]:
    """Seconds of the clock and of the processor, and what was mined."""
    clock, processor = time.perf_counter(), time.process_time()
    mined = work()
    return time.perf_counter() - clock, time.process_time() - processor, mined


def main(count: int, rounds: int) -> None:
    """Measure in turns and write the record."""
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"  # read when a bar begins
    train, recipe = pairs(count)
    ways = {"embertune": with_embertune(train, recipe), "host": with_host(train)}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    checked: dict[str, Any] = {}
    for turn in range(rounds):
        for name, work in ways.items():
            clock, processor, mined = took(work)
            seconds[name].append((clock, processor))
            checked[name] = wrong(mined, train)
            print(turn, name, f"{clock:.1f} s, {processor:.1f} s of the processor", checked[name], flush=True)
    middle = {name: [median(values) for values in zip(*each, strict=True)] for name, each in seconds.items()}
    record = {
        "pairs": len(train),
        "model": "all-MiniLM-L6-v2, float32",
        "rounds": rounds,
        "median seconds": {name: {"clock": clock, "processor": own} for name, (clock, own) in middle.items()},
        "times as fast": {
            "clock": middle["host"][0] / middle["embertune"][0],
            "processor": middle["host"][1] / middle["embertune"][1],
        },
        "mined": checked,
        "load": os.getloadavg()[0],
        "hardware": hardware("cpu", torch.get_num_threads()),
        "versions": versions(),
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["times as fast"]))


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [PAIRS, ROUNDS][len(numbers) :]))
