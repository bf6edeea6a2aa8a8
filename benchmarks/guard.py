"""What the guard costs: tokens encoded to look at dev, and the time of probes, diagnosis, checkpoints, best state.

    python benchmarks/guard.py [CASE ...]

First, what a plan at default settings says of looking at dev (`guard.budget`), for several sets and sizes. Then whole
runs at default settings: tokens that went through the model in training and at looks are counted as they pass, and the
parts of the guard are timed where they stand, once with the guard and once without (no dev, no checkpoints) on the same
training rows. Measuring dev has the budget for itself and is no part of the guard's time. Seconds are those of the
clock and of the processor, which a busy machine disturbs less. Data is looked for in $EMBERTUNE_DATA (default
../shared/data from the project root); results go to benchmarks/results/guard.json.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from embertune.data.prepare import prepare
from embertune.manifest import hardware, versions
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.recipe.budget import probed_rows
from embertune.run import run
from embertune.training.keeper import Keeper
from embertune.training.looking import Looking
from embertune.training.probes import Probe
from embertune.training.survival import Survival
from embertune.watch import Silent
from table.models import minilm_folder

#: The module of the flow, whose name the package gives to its function.
flow = importlib.import_module("embertune.run")

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
RESULT = Path(__file__).parent / "results" / "guard.json"
#: Nothing but what is measured: the choices that need a trial on this machine are made beforehand.
SETTLED = {"train.freeze": None, "train.layer_decay": None, "train.prefix_cache": None, "data.near_duplicates": None}
NO_TEST = {"data.test": "none"}

NLI, STSB, BANKING = (f"{DATA}/{name}/train.jsonl.gz" for name in ("nli", "stsb", "banking77"))
#: What a run is asked for besides defaults.
CASES: dict[str, dict[str, Any]] = {
    "nli, 300 rows": {"data.train": NLI, "data.limit": 300, **NO_TEST},
    "nli, 1,000 rows": {"data.train": NLI, "data.limit": 1_000, **NO_TEST},
    "nli, 6,000 rows, dev of its own": {
        "data.train": NLI, "data.limit": 6_000, "data.dev": f"{DATA}/nli/dev.jsonl.gz", **NO_TEST,
    },
    "stsb, dev of its own": {"data.train": STSB, "data.dev": f"{DATA}/stsb/dev.jsonl.gz", **NO_TEST},
    "banking77, 300 rows": {"data.train": f"{BANKING}[:300]", **NO_TEST},
    "banking77": {"data.train": BANKING, **NO_TEST},
    "scifact": {"data.train": f"{DATA}/scifact"},
    "squad": {"data.train": f"{DATA}/squad@test", **NO_TEST},
}  # fmt: skip
#: The cases that are run, each with and without the guard.
RUNS = ("nli, 300 rows", "nli, 1,000 rows", "stsb, dev of its own")


@dataclass
class Meter:
    """Seconds by the clock and by the processor of each part, and tokens that passed, in training and at looks."""

    clock: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    trained: int = 0
    looked: int = 0
    looking: bool = False

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose seconds are added up under `name`."""

        def inside(*given: Any, **named: Any) -> Any:
            before = (time.perf_counter(), time.process_time(), self.looking)
            self.looking = self.looking or name in ("measuring dev", "probes")
            try:
                return function(*given, **named)
            finally:
                self.looking = before[2]
                self.clock[name] = self.clock.get(name, 0.0) + time.perf_counter() - before[0]
                self.processor[name] = self.processor.get(name, 0.0) + time.process_time() - before[1]

        return inside

    def passed(self, module: torch.nn.Module, features: tuple[Any, ...]) -> None:
        """Count the tokens of a forward pass."""
        tokens = int(features[0]["attention_mask"].sum())
        if module.training:
            self.trained += tokens
        elif self.looking:
            self.looked += tokens

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Inside, everything is timed and counted."""
        parts = {
            (Probe, "__call__"): "probes",
            (Looking, "see"): "diagnosis",
            (Keeper, "keep"): "best state",
            (Survival, "_write"): "checkpoints",
            (flow, "look"): "measuring dev",
            (flow, "fit"): "training, all of it",
        }
        with ExitStack() as stack:
            for (owner, name), part in parts.items():
                stack.enter_context(patch.object(owner, name, self.timed(part, getattr(owner, name))))
            counting = self.timed_plan(flow.plan)
            stack.enter_context(patch.object(flow, "plan", counting))
            yield

    def timed_plan(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """The same plan, whose model is counted."""

        def planned(*given: Any) -> Any:
            made = make(*given)
            made.built.model[0].register_forward_pre_hook(self.passed, prepend=True)
            return made

        return planned


GUARD = ("probes", "diagnosis", "best state", "checkpoints")


def measured(settings: dict[str, Any], rows: tuple[Any, Any]) -> dict[str, Any]:
    """One run: seconds of all and of the parts, tokens, and their shares."""
    meter = Meter()
    gc.collect()
    train, dev = rows
    with tempfile.TemporaryDirectory() as folder, meter.attached():
        whole = meter.timed("the whole run", run)
        whole(load_recipe(set=settings), Path(folder) / "run", train=train, dev=dev)
    record: dict[str, Any] = {"tokens trained": meter.trained, "tokens looked at": meter.looked}
    if meter.looked:
        record["looking over trained"] = round(meter.looked / meter.trained, 4)
    for name, seconds in (("clock", meter.clock), ("processor", meter.processor)):
        record[name] = {part: round(value, 3) for part, value in seconds.items()}
        guard = sum(seconds.get(part, 0.0) for part in GUARD)
        record[name]["guard over the whole run"] = round(guard / seconds["the whole run"], 4)
        record[name]["guard over training"] = round(guard / seconds["training, all of it"], 4)
    return record


def compared(asked: dict[str, Any]) -> dict[str, Any]:
    """The same training rows with the guard, and without dev and checkpoints."""
    base = {"model.name": str(minilm_folder()), **SETTLED}
    sides = prepare(load_recipe(set={**base, **asked})).sides
    train, dev = sides.train.rows, sides.dev.rows if sides.dev else None
    plain = {name: value for name, value in asked.items() if name not in ("data.train", "data.dev", "data.limit")}
    columns = {"data.shape": sides.train.shape}
    settings = {**base, **plain, **columns, "data.leaks": "keep"}
    texts = [*sides.train.text_columns, *(name for name in ("score", "label") if name in train.column_names)]
    rows = (train.select_columns(texts), dev.select_columns(texts) if dev is not None else None)
    without = {**settings, "data.dev": "none", "train.save_every": None, "train.keep_checkpoints": None}
    without.pop("data.leaks")
    return {"with": measured(settings, rows), "without": measured(without, (rows[0], None))}


def planned(asked: dict[str, Any]) -> dict[str, Any]:
    """What a plan says of looking at dev."""
    made = plan(load_recipe(set={"model.name": str(minilm_folder()), **SETTLED, **asked}), None, None, Silent())
    recipe, looks = made.resolved.recipe, made.looks
    assert looks is not None
    assert isinstance(recipe.train.batch_size, int)
    return {
        "training rows": len(made.data.sides.train),
        "steps": made.course.steps,
        "eval_every": recipe.guard.eval_every,
        "looks": looks.number,
        "dev items measured": looks.items,
        "dev items": looks.of,
        "tokens of dev a look": looks.tokens,
        "probed rows of each side": probed_rows(made.course.batches * recipe.train.batch_size),
        "looking over trained": round(looks.share, 4),
        "within the budget": recipe.guard.budget is None or looks.share <= recipe.guard.budget,
    }


def keep(part: str, name: str, found: dict[str, Any]) -> None:
    """Add to what is written down."""
    record = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    record.setdefault(part, {})[name] = found
    record["what"] = "all-MiniLM-L6-v2 at default settings, see the head of benchmarks/guard.py"
    record["machine"] = hardware("cpu", torch.get_num_threads())
    record["versions"] = versions()
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main(names: list[str]) -> None:
    for name in names or CASES:
        found = planned(CASES[name])
        keep("planned", name, found)
        print(f"{name:<34}{found['looks']:3} looks at {found['dev items measured']:6,} of {found['dev items']:6,} items"
              f"{found['looking over trained']:8.1%} of the tokens trained", flush=True)  # fmt: skip
    for name in [name for name in names or RUNS if name in RUNS]:
        before = os.getloadavg()[0]
        found = compared(CASES[name]) | {"load of the machine": [round(before, 2), round(os.getloadavg()[0], 2)]}
        keep("run", name, found)
        told = found["with"]
        print(f"{name:<34}guard {told['processor']['guard over the whole run']:.1%} of the run's processor time, "
              f"looking {told['looking over trained']:.1%} of the tokens trained", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
