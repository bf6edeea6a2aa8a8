"""Does a search find better settings than those of the plain trainer, and what does it take?

all-MiniLM-L6-v2 on two sets: 2,000 rows of `banking77/`, proven on 1,500 of its test rows; and 5,000 rows of `nli/`,
whose dev is the dev set of `stsb/`, proven on the test set of that. `embertune search` makes 20 trials and trains the
best three and the defaults on all rows with two seeds. Beside it stands sentence-transformers' own trainer with its own
defaults (three epochs, batches of 8, a rate of 5e-5 that falls in a line, no warm-up), on the same rows, with the same
seeds: multiple negatives ranking for triplets; batch-all triplets with batches grouped by label for classes, as the
documentation shows. What is proven is the difference on test between the winner and this, over items and seeds.
Each is a process of its own with one thread, one after the other, caches empty, the start of Python counted; seconds
are those of the clock and of the processor.

`python prove/search.py [SET[/processes] …]` writes prove/results/search.json. `banking77/2` is the same search with
two processes, of one thread each, for its trials per hour. The data is looked for in $EMBERTUNE_DATA.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import embertune as et
from compared import add_run
from crossval import model_folder, timed
from embertune.evaluate.proof import prove
from embertune.evaluate.scene import arrange
from embertune.evaluate.score import Scores
from embertune.evaluate.seeds import joint
from embertune.evaluated import scored
from embertune.plan import read as prepared
from embertune.watch import Silent
from overfitting import drawn, read

RESULTS = Path(__file__).parent / "results" / "search.json"
LABELS = ("banking77", "nli", "banking77/2")
TRIALS, SEEDS = 20, 2
#: Rows of each set, and what is set beside model, rows and similarity: a trial has some 500 rows.
ROWS = {"banking77": 2_000, "nli": 5_000}
SETTINGS: dict[str, dict[str, Any]] = {
    "banking77": {"search": {"rows": 500}},
    "nli": {"search": {"rows": 500}, "data.near_duplicates": None},
}
SHARED: dict[str, Any] = {"train.precision": "float32", "evaluate.similarity": ["cosine"], "evaluate.retention": None}

Row = dict[str, Any]


def write_rows(name: str, folder: Path) -> dict[str, str]:
    """The rows of a set by side, as files; made beforehand, so that nobody pays for it."""
    train = drawn(read(name, "train"), 0, "search")[: ROWS[name]]
    if name == "banking77":
        sides = {"train": train, "test": drawn(read(name, "test"), 0, "search")[:1_500]}
    else:
        sides = {"train": train, "dev": read("stsb", "dev"), "test": read("stsb", "test")}
    for side, rows in sides.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{side}.jsonl").write_text("".join(lines), encoding="utf-8")
    return {f"data.{side}": str(folder / f"{side}.jsonl") for side in sides}


def plain(folder: Path, seed: int) -> None:
    """What the documentation of sentence-transformers shows, on the rows that embertune trains on."""
    import datasets
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import BatchAllTripletLoss, MultipleNegativesRankingLoss

    rows = datasets.load_dataset("json", data_files=str(folder / "plain.jsonl"), split="train")
    model = SentenceTransformer(os.environ["PLAIN_MODEL"])
    classes = "label" in rows.column_names
    loss = (BatchAllTripletLoss if classes else MultipleNegativesRankingLoss)(model)
    out = str(folder / f"plain-{seed}")
    grouped = {"batch_sampler": "group_by_label"} if classes else {}
    arguments = SentenceTransformerTrainingArguments(out, seed=seed, report_to="none", disable_tqdm=True, **grouped)
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    model.save_pretrained(out)


def compare(name: str, processes: int) -> dict[str, Any]:
    """A search and, for one process, the plain runs and what the search gains over them."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        leaves = {**SHARED, **SETTINGS[name], **write_rows(name, folder), "model.name": model_folder()}
        recipe = et.load_recipe(set=leaves)
        out = folder / "search"
        words = [word for path, value in leaves.items() for word in ("--set", f"{path}={json.dumps(value)}")]
        asked = ["--trials", str(TRIALS), "--seeds", str(SEEDS), "--processes", str(processes), "--out", str(out)]
        took = timed([sys.executable, "-m", "embertune", "search", *asked, "--quiet", *words], folder)
        told = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        trials = [
            {key: one[key] for key in ("number", "state", "value", "seconds", "settings")} for one in told["tried"]
        ]
        found = {"seconds": took, "answer": told["answer"], "winner": told["winner"], "gain": _short(told["gain"])}
        found |= {"candidates": told["candidates"], "importance": told["importance"], "trials": trials}
        if processes > 1:
            return found
        data = prepared(et.replace(recipe, {"search": None}), None, Silent())
        columns = [*data.sides.train.text_columns, *(["label"] if name == "banking77" else [])]
        side = data.sides.train.rows.select_columns(columns)
        side.to_json(folder / "plain.jsonl")
        seconds = [timed([sys.executable, __file__, "plain", place, str(seed)], folder) for seed in range(SEEDS)]
        scene = arrange(data.sides, recipe.evaluate.similarity)
        ours = [
            _test(out / "confirm" / told["winner"] / f"seed-{seed}" / "model", recipe, scene) for seed in range(SEEDS)
        ]
        theirs = [_test(folder / f"plain-{seed}", recipe, scene) for seed in range(SEEDS)]
        proofs = [prove(one, other, None, 0) for one, other in zip(theirs, ours, strict=True)]
        over = joint(proofs, scene.tests[0].name, scene.tests[0].shape)
    whole = {by: sum(one[by] for one in seconds) / len(seconds) for by in took}
    found["plain"] = {"seconds": seconds, "rows": len(side)}
    found["over plain"] = over.as_record()
    found["plain runs that the search takes"] = {by: round(took[by] / whole[by], 2) for by in took}
    return found


def _short(gain: Any) -> Any:
    return gain and {key: gain[key] for key in ("verdict", "sentence", "change")}


def _test(model: Path, recipe: et.Recipe, scene: Any) -> tuple[Scores, ...]:
    return scored(str(model), recipe, scene, Silent())[1]


def main(labels: list[str]) -> None:
    """The labels that are named, or all."""
    for label in labels or LABELS:
        name, _, processes = label.partition("/")
        began = time.perf_counter()
        found = compare(name, int(processes or 1))
        add_run(RESULTS, label, found, {"shared": SHARED, **SETTINGS, "trials": TRIALS, "seeds": SEEDS})
        print(label, round(time.perf_counter() - began), "s", json.dumps({k: found[k] for k in list(found)[:4]}))
        print({key: found.get(key) for key in ("over plain", "plain runs that the search takes")}, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        plain(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(sys.argv[1:])
