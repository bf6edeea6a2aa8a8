"""Rows about frozen layers: embertune, which reads their states, against the plain trainer, which computes them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from sentence_transformers import SentenceTransformer

from table.machine import precisions
from table.models import Maker, deep_in, minilm
from table.row import Options
from table.sides import Work, ours, plain, side
from table.steps import SLOW_BATCH, TRIPLETS_BATCH, compare
from table.timing import Side, ratios, turns

#: Batches of an epoch: states pay where a text is read again.
BATCHES = 3


def frozen(options: Options, *, precision: str = "float32") -> dict[str, Any]:
    """Four of MiniLM's six layers, from the second epoch on: the states are there before the first timed step."""
    return _against_plain(minilm, 4, options, precision)


def deep(options: Options) -> dict[str, Any]:
    """Eleven of twelve layers of MiniLM's width."""
    return _against_plain(deep_in(options.folder / "deep"), 11, options, "float32")


def _against_plain(model: Maker, layers: int, options: Options, precision: str) -> dict[str, Any]:
    batch = options.batch or (TRIPLETS_BATCH if precision in precisions() else SLOW_BATCH)
    leaves = {"train.freeze": layers, "train.prefix_cache": "float16"}
    rows = options.texts.triplets(batch * BATCHES)
    work = Work(model, rows, batch, options.steps + 1, precision, leaves=leaves)
    return {"layers frozen": layers, **compare(work, partial(_sides, layers=layers), options.rounds)}


def _sides(work: Work, *, layers: int) -> dict[str, Side]:
    """Without dropout, where both must agree, states are kept as float32; else as they are by default."""
    work = work if work.dropout else replace(work, leaves={**work.leaves, "train.prefix_cache": "float32"})
    return {"plain": side(plain, work, prepared=partial(freeze, layers=layers)), "embertune": side(ours, work)}


def freeze(model: SentenceTransformer, layers: int) -> SentenceTransformer:
    """By hand, as guides have it: embeddings and the lowest layers need no gradient; they keep their dropout."""
    backbone = model[0].model
    for part in (backbone.embeddings, *backbone.encoder.layer[:layers]):
        part.requires_grad_(False)
    return model


def thaw(options: Options) -> dict[str, Any]:
    """A layer more is trained every epoch, from one of six to all: seconds of whole runs, the filling included."""
    batch = options.batch or TRIPLETS_BATCH
    rows = options.texts.triplets(batch * BATCHES)
    leaves = {"train.freeze": 5, "train.unfreeze": {"every": f"{BATCHES} steps", "warmup": "1 steps"}}
    without = Work(minilm, rows, batch, 6 * BATCHES, leaves={**leaves, "train.prefix_cache": None})
    with_it = replace(without, leaves={**leaves, "train.prefix_cache": "auto"})
    took = turns({"without": side(ours, without), "with": side(ours, with_it)}, options.rounds)
    seconds = {name: [round(one.whole, 2) for one in runs] for name, runs in took.items()}
    return {
        "settings": {"batch size": batch, "precision": "float32", "steps": without.steps},
        "seconds": seconds,
        "median": {name: median(values) for name, values in seconds.items()},
        **ratios(seconds, "without", "with"),
        "loss at the last step": {name: [round(one.losses[-1], 5) for one in runs] for name, runs in took.items()},
    }


frozen_bfloat16 = partial(frozen, precision="bfloat16")
