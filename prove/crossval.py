"""What do five folds of a recipe with frozen layers take, beside one run of the plain trainer?

2,000 triplets of `nli/` and all-MiniLM-L6-v2. On one side `embertune crossval` with the lowest three of six layers
frozen, so that their states are computed once for all folds: five trainings, each with a dev set, a baseline, a verdict
and a report. On the other sentence-transformers' own trainer, once, on the training rows of the first fold: the same
passes and batch size, every layer trained, else its defaults, then its evaluator on the dev rows and the model saved.
Each is a process of its own, one after the other, with one thread, empty caches and the start of Python counted.

    python prove/crossval.py [LABEL=auto|float32 …]

writes prove/results/crossval.json. A label is the precision of the folds; the plain trainer has its default, float32.
The data is looked for in $EMBERTUNE_DATA (default ../shared/data).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from compared import DATA, add_run

RESULTS = Path(__file__).parent / "results" / "crossval.json"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
ROWS, FOLDS, EPOCHS, BATCH = 2_000, 5, 3, 64
LABELS = ("auto", "float32")
SETTINGS: dict[str, Any] = {
    "model.name": MODEL,
    "train.epochs": EPOCHS,
    "train.batch_size": BATCH,
    "train.freeze": 3,
    "guard.patience": None,  # all passes, as the plain trainer makes them
}


def write_rows(folder: Path) -> None:
    """All triplets, and those of the first fold by side; made beforehand, so that no side pays for it."""
    from embertune.data.prepare import Given, prepare
    from embertune.recipe import load_recipe

    shared = {"data.train": str(DATA / "nli" / "train.jsonl.gz"), "data.limit": ROWS}
    whole = prepare(load_recipe(set={**shared, "data.dev": "none", "data.test": "none"})).sides.train
    columns = list(whole.text_columns)
    rows = whole.rows.select_columns(columns).to_list()
    fold = prepare(load_recipe(set={"data.fold": f"1 of {FOLDS}"}), Given(rows)).sides
    assert fold.dev is not None
    for name, found in (("all", whole), ("train", fold.train), ("dev", fold.dev)):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows.select_columns(columns).to_list())
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def plain(folder: Path) -> None:
    """What the documentation of sentence-transformers shows; its figure goes to plain.json."""
    import datasets
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.evaluation import TripletEvaluator
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    sides = datasets.load_dataset("json", data_files={name: str(folder / f"{name}.jsonl") for name in ("train", "dev")})
    model = SentenceTransformer(os.environ["PLAIN_MODEL"])
    out = str(folder / "plain")
    arguments = SentenceTransformerTrainingArguments(
        out, num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, report_to="none", disable_tqdm=True
    )
    loss = MultipleNegativesRankingLoss(model)
    trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=sides["train"], loss=loss)
    trainer.train()
    dev = sides["dev"]
    found = TripletEvaluator(dev["anchor"], dev["positive"], dev["negative"], name="dev")(model)
    model.save_pretrained(out)
    record = {
        "dev accuracy": found["dev_cosine_accuracy"],
        "rows": len(sides["train"]),
        "steps": trainer.state.global_step,
    }
    (folder / "plain.json").write_text(json.dumps(record), encoding="utf-8")


def timed(command: list[str], folder: Path) -> dict[str, float]:
    """Seconds of a process, by the clock and by the processor."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "EMBERTUNE_CACHE": str(folder / "cache")}
    environment |= {"HF_DATASETS_CACHE": str(folder / "datasets"), "PLAIN_MODEL": model_folder()}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"clock": round(clock, 1), "processor": round(processor, 1)}


def model_folder() -> str:
    """Where the model's files are, for who does not look in installed packages."""
    from embertune.model.find import locate

    return str(locate(MODEL).folder)


def folds(folder: Path, label: str) -> dict[str, Any]:
    """The seconds of all folds, by stage too, and what they come to."""
    out = folder / "folds"
    settings = SETTINGS | {
        "model.name": model_folder(),
        "data.train": str(folder / "all.jsonl"),
        "train.precision": label,
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    command = [sys.executable, "-m", "embertune", "crossval", "--folds", str(FOLDS), "--out", str(out), "--quiet"]
    seconds = timed([*command, *words], folder)
    told = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    each = [json.loads((out / f"fold-{n}-of-{FOLDS}" / "metrics.json").read_text("utf-8")) for n in range(1, FOLDS + 1)]
    stages = {name: [round(one["timing"][name], 1) for one in each] for name in each[0]["timing"]}
    return {"seconds": seconds, "stages": stages, "verdict": told["verdict"], "folds": told["folds"]}


def main() -> None:
    """The labels that are named, or all."""
    for label in sys.argv[1:] or LABELS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_rows(folder)
            one = timed([sys.executable, __file__, "plain", name], folder)
            several = folds(folder, label)
            told = json.loads((folder / "plain.json").read_text(encoding="utf-8"))
        ratio = {by: round(several["seconds"][by] / one[by], 2) for by in one}
        add_run(RESULTS, label, {"ratio": ratio, "plain": {"seconds": one, **told}, "folds": several}, SETTINGS)
        print(
            label,
            json.dumps({"ratio": ratio, "plain": one, "folds": several["seconds"], **several["stages"]}),
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        plain(Path(sys.argv[2]))
    else:
        main()
