"""Gradient caching: large batches in little memory, against the host's and against the plain loss."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

from table.models import minilm
from table.row import Options
from table.sides import Work, ours, plain, side
from table.timing import Side, once

BATCH, CHUNK = 2_048, 8_192
#: The same on few rows, without dropout, where all sides must have the same loss.
SMALL_BATCH, SMALL_CHUNK = 64, 512
MINI_BATCHES = (32, 128)


def caching(options: Options) -> dict[str, Any]:
    """One timed step of each side; the host's, which is the slowest, does no other.

    Its first step is timed from the moment its texts are tokenised, which is to its advantage.
    """
    batch = options.batch or BATCH
    rows = options.texts.triplets(4 * batch)
    small = Work(minilm, options.texts.triplets(4 * SMALL_BATCH), SMALL_BATCH, 2, dropout=False)
    found = {name: round(once(one).losses[0], 6) for name, one in sides(small, SMALL_CHUNK).items()}
    print(f"  losses without dropout: {found}", flush=True)
    seconds: dict[str, float] = {}
    losses: dict[str, float] = {}
    for name, one in sides(Work(minilm, rows, batch, 2), CHUNK).items():
        took = once(one)
        seconds[name], losses[name] = round(median(took.steps), 3), round(took.losses[0], 5)
        print(f"  {name:<24}{seconds[name]:8.2f} s a step", flush=True)
    chunked, whole, *host = seconds.values()
    return {
        "settings": {"batch size": batch, "precision": "float32", "tokens in a chunk": CHUNK},
        "seconds a step": seconds,
        "times faster than the host's": {
            "32 at a time": round(host[0] / chunked, 3),
            "best": round(min(host) / chunked, 3),
        },
        "times as long as the plain loss": round(chunked / whole, 3),
        "loss at the first step": losses,
        "without dropout": {
            "batch size": SMALL_BATCH,
            "tokens in a chunk": SMALL_CHUNK,
            "losses": found,
            "equal to four decimals": max(found.values()) - min(found.values()) < 5e-5,
        },
    }


def sides(work: Work, chunk: int) -> dict[str, Side]:
    """embertune's in chunks and whole, then the host's by size of its mini-batches."""
    made = {
        "embertune, in chunks": side(ours, replace(work, chunk=chunk)),
        "embertune, plain loss": side(ours, replace(work, chunk=None)),
    }
    for size in MINI_BATCHES:
        loss = partial(CachedMultipleNegativesRankingLoss, mini_batch_size=size)
        made[f"host, {size} at a time"] = side(plain, replace(work, steps=1), loss=loss)
    return made
