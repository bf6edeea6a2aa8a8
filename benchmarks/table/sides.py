"""The sides of a comparison: a plain script around the host's trainer, and `embertune.run`, on the same batches."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import nn
from transformers import PrinterCallback, TrainerCallback

from embertune.caches import placed
from embertune.data.shapes import shape
from embertune.data.sources import read
from embertune.recipe import load_recipe
from embertune.run import run
from embertune.training.batches import Stream, distinct
from table.models import Maker
from table.timing import Side, Steps

SEED, RATE, DECAY = 0, 2e-5, 0.01

LossMaker = Callable[[SentenceTransformer], nn.Module]


@dataclass(frozen=True)
class Work:
    """What both sides of a row do: so many `steps` of the ranking loss on batches of `batch_size` of these `rows`.

    `dropout` False runs without any, where both must end at the same loss. `precision` is a value of
    `train.precision`, `chunk` one of `train.chunk`; `leaves` are others of the recipe, for embertune alone.
    """

    model: Maker
    rows: Dataset
    batch_size: int
    steps: int
    precision: str = "float32"
    chunk: Any = "auto"
    dropout: bool = True
    leaves: Mapping[str, Any] = field(default_factory=dict)


class _Ends(TrainerCallback):
    """Tells when a step of the host's trainer begins, and when it has ended, with its loss."""

    def __init__(self, watch: Steps, losses: list[torch.Tensor]) -> None:
        self.watch, self.losses = watch, losses

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.watch.began()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.watch.ended(float(self.losses[-1]))


def plain(
    work: Work,
    watch: Steps,
    *,
    prepared: Callable[[SentenceTransformer], SentenceTransformer] = lambda model: model,
    loss: LossMaker = MultipleNegativesRankingLoss,
) -> None:
    """What a careful user writes; `prepared` changes the model first, `loss` takes the place of the usual one."""
    model = prepared(work.model(work.dropout))
    objective = loss(model)
    losses: list[torch.Tensor] = []
    objective.register_forward_hook(lambda _module, _inputs, value: losses.append(value.detach()))
    with tempfile.TemporaryDirectory() as folder:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=host_arguments(work, folder),
            train_dataset=work.rows,
            loss=objective,
            callbacks=[_Ends(watch, losses)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def host_arguments(work: Work, folder: str, **more: Any) -> SentenceTransformerTrainingArguments:
    """The host's arguments for the same work; its batches are embertune's, so both see the same rows in order."""
    plan = distinct(shape(read(work.rows), "train"), work.batch_size)
    return silent_arguments(
        folder,
        work.steps,
        work.batch_size,
        warmup_steps=0,
        use_cpu=not torch.cuda.is_available(),
        bf16=work.precision == "bfloat16",
        batch_sampler=lambda *_, **__: Stream(plan, SEED, work.steps),
        **more,
    )


def silent_arguments(folder: str, steps: int, batch_size: int, **more: Any) -> SentenceTransformerTrainingArguments:
    """The host's arguments in every comparison: fused AdamW; nothing is saved, logged or shown."""
    return SentenceTransformerTrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=RATE,
        weight_decay=DECAY,
        optim="adamw_torch_fused",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=SEED,
        **more,
    )


def ours(work: Work, watch: Steps) -> None:
    """One call of `run`, without dev and test."""
    with workplace() as folder:
        run(
            load_recipe(set=settings(work)),
            folder / "run",
            train=work.rows,
            model=work.model(work.dropout),
            watch=watch,
        )


def settings(work: Work) -> dict[str, Any]:
    """The recipe's leaves for this work."""
    return {
        "data.dev": "none",
        "data.test": "none",
        "train.max_steps": work.steps,
        "train.batch_size": work.batch_size,
        "train.learning_rate": RATE,
        "train.weight_decay": DECAY,
        "train.warmup": 0.0,
        "train.precision": work.precision,
        "train.chunk": work.chunk,
        "seed": SEED,
        **work.leaves,
    }


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder, with empty caches in it for as long as it is there."""
    before = datasets.config.HF_DATASETS_CACHE
    with tempfile.TemporaryDirectory() as folder, placed(f"{folder}/embertune"):
        datasets.config.HF_DATASETS_CACHE = f"{folder}/datasets"
        try:
            yield Path(folder)
        finally:
            datasets.config.HF_DATASETS_CACHE = before


def side(way: Callable[..., None], work: Work, **more: Any) -> Side:
    """A way of working with its work bound."""
    return partial(way, work, **more)
