"""Rows about seconds of a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from embertune.engine.pack import pack
from table.machine import precisions
from table.models import minilm, mpnet_in
from table.row import Options
from table.sides import Work, ours, plain, side
from table.timing import Side, once, step_summary, turns

#: Makes the two sides of a row, the slow one first, for a piece of work.
Sides = Callable[[Work], Mapping[str, Side]]

TRIPLETS_BATCH, PAIRS_BATCH = 128, 64
#: The batch where products in bfloat16 are slower than in float32: a step of the usual one would take many minutes.
SLOW_BATCH = 16


def trainers(work: Work) -> dict[str, Side]:
    """The plain trainer and embertune."""
    return {"plain": side(plain, work), "embertune": side(ours, work)}


def own_defaults(work: Work) -> dict[str, Side]:
    """The plain trainer in its default precision, and embertune in the one it chooses."""
    return {"plain": side(plain, work), "embertune": side(ours, replace(work, precision="auto"))}


def with_pack(work: Work) -> dict[str, Side]:
    """The plain trainer without and with `pack`."""
    return {"plain": side(plain, work), "packed": side(plain, work, prepared=pack)}


def nli(options: Options, *, sides: Sides = trainers, precision: str = "float32") -> dict[str, Any]:
    """Triplets of short texts."""
    batch = options.batch or (TRIPLETS_BATCH if precision in precisions() else SLOW_BATCH)
    steps = options.steps + 1
    work = Work(minilm, options.texts.triplets(batch * (steps + 1)), batch, steps, precision)
    return compare(work, sides, options.rounds)


def pairs(options: Options) -> dict[str, Any]:
    """Questions and paragraphs."""
    batch = options.batch or PAIRS_BATCH
    steps = options.steps + 1
    work = Work(minilm, options.texts.pairs(3 * batch * (steps + 1)), batch, steps)
    return compare(work, trainers, options.rounds)


def mpnet(options: Options) -> dict[str, Any]:
    """The triplets, through a backbone that has no attention interface."""
    batch = options.batch or TRIPLETS_BATCH
    steps = options.steps + 1
    rows = options.texts.triplets(batch * (steps + 1))
    return compare(Work(mpnet_in(options.folder / "mpnet"), rows, batch, steps), trainers, options.rounds)


def compare(work: Work, sides: Sides, rounds: int) -> dict[str, Any]:
    """Losses without dropout, which warms both sides up, and then the time of steps with it."""
    agreement = losses(work, sides)
    made = sides(work)
    slow, fast = made
    return {
        "settings": {"batch size": work.batch_size, "precision": work.precision, "timed steps": work.steps - 1},
        **step_summary(turns(made, rounds), slow, fast),
        "without dropout": agreement,
    }


def losses(work: Work, sides: Sides) -> dict[str, Any]:
    """Two steps without dropout: the losses of both sides, which must agree to four decimals in float32.

    In bfloat16 they do not: the plain trainer computes the loss itself in it, embertune only the backbone.
    """
    still = sides(replace(work, dropout=False, steps=2))
    found = {name: [round(loss, 6) for loss in once(one).losses] for name, one in still.items()}
    first, second = found.values()
    apart = max(abs(a - b) for a, b in zip(first, second, strict=True))
    print(f"  losses without dropout: {found}", flush=True)
    return {
        "losses of two steps": found,
        "greatest difference": round(apart, 6),
        "equal to four decimals": apart < 5e-5,
    }


nli_bfloat16 = partial(nli, precision="bfloat16")
nli_defaults = partial(nli, sides=own_defaults)
drop_in = partial(nli, sides=with_pack)
drop_in_bfloat16 = partial(nli, sides=with_pack, precision="bfloat16")
