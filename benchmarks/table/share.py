"""How much of what the machine's products can do a training step gets out of it, counting real tokens only."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Any

from embertune.bench import model_work
from embertune.data.shapes import shape
from embertune.data.sources import read
from embertune.engine.machine import product_speed
from embertune.model.encode import count_tokens
from embertune.training.batches import distinct
from table.machine import device, precisions
from table.models import minilm
from table.row import Options
from table.sides import SEED, Work, ours, side
from table.steps import TRIPLETS_BATCH
from table.timing import Took, once


def share(options: Options) -> dict[str, Any]:
    """Work of the model on real tokens by time, over the measured speed of products, in each precision."""
    batch = options.batch or TRIPLETS_BATCH
    steps = options.steps + 1
    work = Work(minilm, options.texts.triplets(batch * (steps + 1)), batch, steps)
    operations = per_step(work)
    record: dict[str, Any] = {"settings": {"batch size": batch, "timed steps": options.steps}}
    record["GFLOP a step"] = round(median(operations) / 1e9, 1)
    for precision in precisions():
        record[precision] = in_precision(replace(work, precision=precision), operations, options.rounds)
    if "bfloat16" not in record:
        record["bfloat16"] = "not measured: products are slower than in float32 here"
    return record


def in_precision(work: Work, operations: list[float], rounds: int) -> dict[str, Any]:
    """The peak is measured anew before every round and after the last."""
    peaks, reached = [product_speed(work.precision, device())], []
    once(side(ours, replace(work, steps=2)))
    for _ in range(rounds):
        took: Took = once(side(ours, work))
        rates = [done / seconds for done, seconds in zip(operations[1:], took.steps, strict=True)]
        reached.append(median(rates))
        peaks.append(product_speed(work.precision, device()))
    print(f"  {work.precision}: {median(reached) / 1e9:.1f} of {median(peaks) / 1e9:.1f} GFLOP/s", flush=True)
    return {
        "GFLOP/s": [round(rate / 1e9, 2) for rate in reached],
        "products, GFLOP/s": [round(peak / 1e9, 2) for peak in peaks],
        "share": round(median(reached) / median(peaks), 3),
    }


def per_step(work: Work) -> list[float]:
    """Floating-point operations of every step on real tokens, forward and backward."""
    model = work.model(True)
    prepared = shape(read(work.rows), "train")
    done = []
    for batch in distinct(prepared, work.batch_size)(SEED, 0)[: work.steps]:
        rows = prepared.rows.select(batch)
        texts = [text for column in prepared.text_columns for text in rows[column]]
        lengths = count_tokens(model, texts).clip(max=model.max_seq_length)
        done.append(3 * model_work(model, lengths))
    return done
