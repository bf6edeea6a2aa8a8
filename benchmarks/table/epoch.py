"""A whole epoch, from the file of rows to the saved model, without any evaluation on the way."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import PrinterCallback

from embertune.data.shapes import shape
from embertune.data.sources import read
from embertune.model.encode import make_encode
from embertune.recipe import load_recipe
from embertune.run import run
from embertune.training.batches import distinct
from table.models import minilm, minilm_folder
from table.row import Options
from table.sides import Work, host_arguments, settings, workplace
from table.texts import EPOCH, TRIPLET
from table.timing import Side, Steps, ratios, turns

BATCH = 64


def epoch(options: Options) -> dict[str, Any]:
    """Seconds of everything: reading, loading, training, saving; and what the test triplets say of both models."""
    count = options.at_most(EPOCH)
    file = options.folder / "triplets.jsonl"
    options.texts.triplets(count).to_json(str(file))
    batch = options.batch or BATCH
    rows = Dataset.from_json(str(file), cache_dir=str(options.folder))
    batches = len(distinct(shape(read(rows), "train"), batch)(0, 0))
    work = Work(minilm, rows, batch, batches)
    saved = {name: options.folder / name for name in ("plain", "embertune")}
    sides: dict[str, Side] = {
        "plain": partial(script, work, file, saved["plain"]),
        "embertune": partial(command, work, file, saved["embertune"]),
    }
    took = turns(sides, options.rounds)
    seconds = {name: [round(one.whole, 2) for one in runs] for name, runs in took.items()}
    test = options.texts.test_triplets()
    test = test.select(range(options.at_most(len(test))))
    return {
        "settings": {"batch size": batch, "triplets": count, "share of the epoch": round(count / EPOCH, 4)},
        "seconds": seconds,
        **ratios(seconds, "plain", "embertune"),
        "loss at the last step": {name: [round(one.losses[-1], 5) for one in runs] for name, runs in took.items()},
        "test cosine accuracy": {
            "untouched": accuracy(minilm_folder(), test),
            **{name: accuracy(folder, test) for name, folder in saved.items()},
        },
    }


def script(work: Work, file: Path, out: Path, watch: Steps) -> None:
    """By hand, with the trainer's own precision."""
    with workplace() as folder:
        model = work.model(True)
        objective = MultipleNegativesRankingLoss(model)
        objective.register_forward_hook(lambda _module, _inputs, value: watch.ended(float(value.detach())))
        trainer = SentenceTransformerTrainer(
            model=model,
            args=host_arguments(work, str(folder / "checkpoints")),
            train_dataset=Dataset.from_json(str(file), cache_dir=str(folder)),
            loss=objective,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        model.save(str(out))


def command(work: Work, file: Path, out: Path, watch: Steps) -> None:
    """What `embertune run` does, its precision chosen by itself."""
    chosen = {**settings(work), "model.name": str(minilm_folder()), "data.train": str(file), "train.precision": "auto"}
    with workplace() as folder:
        result = run(load_recipe(set=chosen), folder / "run", watch=watch)
        SentenceTransformer(str(result.model), local_files_only=True).save(str(out))


def accuracy(folder: Path, test: Dataset) -> float:
    """The share of triplets whose positive is nearer to the anchor than the negative, by cosine."""
    encode = make_encode(SentenceTransformer(str(folder), local_files_only=True), {})
    anchor, positive, negative = (_unit(encode(test[column], "text")) for column in TRIPLET)
    nearer = (anchor * positive).sum(1) > (anchor * negative).sum(1)
    return round(float(nearer.mean()), 4)


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
