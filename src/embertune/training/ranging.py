"""The learning-rate range test (Smith 2017, arXiv:1506.01186, section 3.3): train while the rate grows, watch the loss.

Losses, batches, packing and precision are those of the run it is made for; the weights come back as they were.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from sentence_transformers import SentenceTransformer

from embertune.data.prepared import Prepared
from embertune.errors import TrainingError
from embertune.recipe import Recipe
from embertune.recipe.load import replace as with_leaves
from embertune.recipe.optimizers import OPTIMIZERS
from embertune.recipe.scaling import highest_rate
from embertune.training.course import plan_course
from embertune.training.keeper import Keeper
from embertune.training.session import Session, Surroundings

#: Steps of the test where the run has as many, and the fewest. It has no more than the run: rows that are met more
#: often are learnt by heart, and the rate that does that best is no rate to train with.
STEPS, LEAST_STEPS = 100, 30
#: The share of the average that each loss makes.
FRESH = 0.1
#: Beyond so many times its lowest, the averaged loss has exploded.
EXPLODED = 4.0
#: Steps until the average stands on enough losses to be compared.
SETTLED = 10
#: By how much the average must fall below the first third of the losses, in standard deviations of these losses.
CLEAR = 0.75
SMITH = "Smith 2017, arXiv:1506.01186, section 3.3"
#: What a run must be like to be a range test: no changes on the way but that of the rate.
_STEADY = {
    "train.epochs": None,
    "train.schedule": "constant",
    "train.schedule_options": None,
    "train.warmup": 0.0,
    "train.floor": None,
    "train.unfreeze": None,
    "train.average": None,
}


@dataclass(frozen=True)
class Point:
    """A step of the test: its rate, its loss, and the average of the losses until then."""

    rate: float
    loss: float
    smooth: float


@dataclass(frozen=True)
class Found:
    """What a range test found: its steps, and the highest rate that is proposed, or None, and why."""

    points: tuple[Point, ...]
    rate: float | None
    reason: str

    @property
    def settled(self) -> tuple[Point, ...]:
        """The steps from which on the average stands on enough losses."""
        return self.points[SETTLED:]


def rates_of(steps: int, low: float, high: float) -> list[float]:
    """Rates from `low` to `high`, each the same multiple of the one before."""
    return [low * (high / low) ** (step / max(1, steps - 1)) for step in range(steps)]


def smoothed(losses: Sequence[float], fresh: float = FRESH) -> list[float]:
    """The exponential average of the losses, free of the zero it begins with (Kingma & Ba 2015, section 3)."""
    sums = accumulate(losses, lambda old, loss: (1 - fresh) * old + fresh * loss, initial=0.0)
    return [total / (1 - (1 - fresh) ** count) for count, total in enumerate(sums) if count]


def points_of(rates: Iterable[float], losses: Sequence[float]) -> list[Point]:
    """The test as far as the losses go."""
    return [Point(*point) for point in zip(rates, losses, smoothed(losses), strict=False)]


def exploded(losses: Sequence[float]) -> bool:
    """Whether nothing is to be learned from higher rates."""
    smooth = smoothed(losses)[SETTLED:]
    return bool(smooth) and smooth[-1] > EXPLODED * min(smooth)


def proposed(points: Sequence[Point]) -> Found:
    """The rate to take, none where no rate lowered the loss by more than chance does.

    `TrainingError` where the loss was not finite from almost the first step on.
    """
    settled = points[SETTLED:]
    if not settled:
        found = f"the loss was not finite from step {len(points) + 1} on, at a rate of {points[-1].rate:.0e}"
        raise TrainingError(
            "--find-rate", found, "look at the rows and at train.gradient_clip, or write a rate yourself"
        )
    lowest = min(settled, key=lambda point: point.smooth)
    first = [point.loss for point in points[: len(points) // 3]]  # while the rate does next to nothing
    if lowest in points[: len(first)] or np.mean(first) - lowest.smooth < CLEAR * np.std(first):
        low, high = points[0].rate, points[-1].rate
        told = f"no rate from {low:.0e} to {high:.0e} clearly lowered the loss in a range test of {len(points)} steps"
        return Found(tuple(points), None, told)
    rate = float(f"{lowest.rate / 10:.1e}")
    reason = (
        f"a tenth of the rate at which the averaged loss was lowest ({lowest.rate:.1e}) in a range test of "
        f"{len(points)} steps ({SMITH})"
    )
    return Found(tuple(points), rate, reason)


def _same_rows(recipe: Recipe) -> dict[str, None]:
    """What keeps negatives from being mined anew on the way."""
    return {"data.negatives.every": None} if recipe.data.negatives else {}


def range_test(model: SentenceTransformer, train: Prepared, recipe: Recipe, around: Surroundings) -> list[Point]:
    """Train `model` while the rate grows, until the loss explodes, and give it its weights back.

    A loss that is not finite ends the test as well; `TrainingError` where the very first is none, for a model whose
    weights are not finite, and for a run of too few steps.
    """
    low, high = OPTIMIZERS[recipe.train.optimizer].tried
    steps = min(STEPS, plan_course(train, recipe).steps)
    if steps < LEAST_STEPS:
        found = f"the run has {steps} steps, and a range test on no more passes than that needs {LEAST_STEPS}"
        raise TrainingError("--find-rate", found, "leave it out, or lower train.batch_size")
    rates, losses = rates_of(steps, low, high), list[float]()
    steady = with_leaves(recipe, {**_STEADY, **_same_rows(recipe), "train.max_steps": steps})
    highest = highest_rate(steady.train)
    assert highest is not None

    def enough(loss: float) -> bool:
        if not math.isfinite(loss):
            return True
        losses.append(loss)
        return exploded(losses)

    kept = Keeper()
    kept.keep(model)
    alone = replace(around, score=None, rates=lambda step: rates[min(step, steps - 1)] / highest, enough=enough)
    course = plan_course(train, steady)
    session = Session(model, train, steady, course, alone, io.StringIO())
    try:
        for phase in course.phases:
            session.run(phase)
    finally:
        kept.give(model)
        model.eval()
    if not losses:
        raise TrainingError("--find-rate", "the very first loss is not finite", "look at the rows, or at the model")
    return points_of(rates, losses)
