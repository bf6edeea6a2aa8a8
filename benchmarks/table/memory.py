"""The most memory that steps take above model and optimizer, each side in a process of its own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from embertune.engine.machine import begin_peak, peak_memory
from table.machine import device
from table.models import minilm
from table.row import Options
from table.sides import Work, ours, plain
from table.steps import TRIPLETS_BATCH
from table.texts import Texts
from table.timing import Steps

_WAYS = {"plain": plain, "embertune": ours}


class Growth(Steps):
    """Reads the memory in use after the first step, when model and optimizer are complete, and the peak after it."""

    before: int | None = None

    def ended(self, loss: float) -> None:
        """A step is done."""
        super().ended(loss)
        if self.before is None:
            self.before = begin_peak(torch.device(device()))


def grown(way: str, data: Path, batch: int, steps: int, threads: int) -> tuple[int, int, float]:
    """Bytes before, bytes at the peak, and the last loss, of one side in the process this is called in."""
    torch.set_num_threads(threads)
    work = Work(minilm, Texts(data).triplets(batch * (steps + 1)), batch, steps)
    watch = Growth()
    _WAYS[way](work, watch)
    peak = peak_memory(torch.device(device()))
    if watch.before is None or peak is None:
        raise SystemExit("memory cannot be measured here: Linux or a GPU is needed")
    return watch.before, peak, watch.losses[-1]


def memory(options: Options) -> dict[str, Any]:
    """Bytes by side, and their share."""
    batch = options.batch or TRIPLETS_BATCH
    record: dict[str, Any] = {}
    for way in _WAYS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            asked = (way, options.texts.data, batch, options.steps + 1, torch.get_num_threads())
            before, peak, loss = alone.submit(grown, *asked).result()
        mib = {"before": before / 2**20, "peak": peak / 2**20, "growth": (peak - before) / 2**20}
        record[way] = {name: round(value, 1) for name, value in mib.items()} | {"loss at the last step": round(loss, 5)}
        print(f"  {way:<12}{mib['growth']:8.0f} MiB above model and optimizer", flush=True)
    share = record["embertune"]["growth"] / record["plain"]["growth"]
    return {"settings": {"batch size": batch}, "MiB": record, "share": round(share, 3)}
