"""The highest rate of a run, what cannot stand beside it, and what is worth knowing about accumulated batches."""

from __future__ import annotations

from collections.abc import Iterator

from embertune.errors import Problem
from embertune.recipe.losses import LOSSES
from embertune.recipe.optimizers import problems_of_optimizer, reasons_of_decay
from embertune.recipe.options import problems_of_options
from embertune.recipe.schedules import SCHEDULES, WHERE, schedule_options
from embertune.recipe.sections import Recipe, TrainSection
from embertune.recipe.units import parse_span

GOYAL = "Goyal et al. 2017, arXiv:1706.02677, section 2.1"


def scale_of(train: TrainSection) -> float:
    """What every rate is multiplied by: the rows of a step over `scale_rate` (Goyal et al. 2017), 1 without it."""
    if train.scale_rate is None:
        return 1.0
    assert isinstance(train.batch_size, int)
    return train.batch_size * train.accumulate / train.scale_rate


def highest_rate(train: TrainSection) -> float | None:
    """`learning_rate` as it is scaled; None while it, or the batch it is scaled by, is `auto`."""
    if not isinstance(train.learning_rate, float) or (train.scale_rate and not isinstance(train.batch_size, int)):
        return None
    return train.learning_rate * scale_of(train)


def problems_of_rate(recipe: Recipe) -> Iterator[Problem]:
    """What cannot stand together in optimizer, schedule, warm-up and floor."""
    train = recipe.train
    yield from problems_of_optimizer(train.optimizer, train.optimizer_options, train.learning_rate)
    yield from problems_of_options(WHERE, train.schedule, SCHEDULES[train.schedule].options, train.schedule_options)
    if train.schedule == "one_cycle" and train.warmup == 0:
        yield Problem("train.warmup", "found 0, and one_cycle rises over the warm-up", "write a share such as 0.3")
    yield from _problems_of_floor(train)
    if SCHEDULES[train.schedule].on_dev:
        yield from _problems_of_plateau(recipe)


def _problems_of_floor(train: TrainSection) -> Iterator[Problem]:
    highest = highest_rate(train)
    if train.floor is None:
        return
    if not SCHEDULES[train.schedule].falls:
        yield Problem("train.floor", f"has no effect on {train.schedule}", "leave it out, or write linear or cosine")
    elif highest is not None and train.floor >= highest:
        found = f"found {train.floor:g}, and the highest rate is {highest:g}"
        yield Problem("train.floor", found, f"write less, such as {highest / 20:.1g}")


def _problems_of_plateau(recipe: Recipe) -> Iterator[Problem]:
    if recipe.data.dev == "none" or recipe.guard.eval_every is None:
        remedy = "give data.dev, or write linear or cosine"
        yield Problem("train.schedule", f"found {recipe.train.schedule} without dev rows to decide it", remedy)
        return
    waits = parse_span(plateau_patience(recipe.train))
    stops = parse_span(recipe.guard.patience) if recipe.guard.patience else None
    if stops is not None and stops.unit == "evaluations" and waits.count >= stops.count:
        found = f"found {plateau_patience(recipe.train)!r}, and training stops after {recipe.guard.patience!r}"
        remedy = f"write guard.patience: {2 * waits.count + 1:g} evaluations, or less here"
        yield Problem(f"{WHERE}.patience", found, remedy)


def plateau_patience(train: TrainSection) -> str:
    """How long dev may fail to improve before the rate falls."""
    return str(schedule_options("plateau", train.schedule_options)["patience"])


def reasons_of_rate(train: TrainSection) -> dict[str, str]:
    """What is to be known of rate and decay, by dotted path, as comments in the resolved recipe."""
    reasons = reasons_of_decay(train.optimizer, train.weight_decay)
    highest = highest_rate(train)
    if train.scale_rate is not None and highest is not None:
        rows = f"{train.batch_size}" + (f" x {train.accumulate}" if train.accumulate > 1 else "")
        told = f"the highest rate is {highest:g}: {rows} rows a step over {train.scale_rate} ({GOYAL})"
        reasons["train.scale_rate"] = told
    return reasons


def notes_on_accumulation(train: TrainSection, most: int | None = None) -> Iterator[str]:
    """That accumulated batches are no larger batch to a loss that compares the rows of a batch with each other.

    `most` rows at most can stand in a batch (None: any number).
    """
    if train.accumulate == 1 or train.loss == "auto" or LOSSES[train.loss].by_row:
        return
    assert isinstance(train.batch_size, int)
    rows = train.batch_size * train.accumulate
    remedy = f"; write train.batch_size: {rows}, which train.chunk fits in memory" if rows <= (most or rows) else ""
    yield (
        f"train.accumulate: {train.accumulate} batches of {train.batch_size} are no batch of {rows} to {train.loss}, "
        f"which compares a row with those of its own batch only{remedy}"
    )
