"""How a run goes: its phases, steps and passes, all known before the first step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from embertune.data.prepared import Note, Prepared
from embertune.errors import TrainingError
from embertune.recipe import Recipe
from embertune.recipe.positives import sampler_of
from embertune.training.balanced import batches_of, told
from embertune.training.batches import Batches
from embertune.training.renewal import boundaries


@dataclass(frozen=True)
class Phase:
    """A stretch of training with fixed rates, layers and batches: steps `first` to `last` (exclusive) of the run.

    With `renew` it begins with new negatives.
    """

    first: int
    last: int
    renew: bool = False


@dataclass(frozen=True)
class Course:
    """How a run goes, all known before the first step. Batches are counted before accumulation, steps after it.

    `batches_of_epochs` has every pass that is begun, whole; `notes` tell of rows that stay out of the first one.
    """

    phases: tuple[Phase, ...]
    steps: int
    batches: int
    batches_of_epochs: tuple[int, ...]
    accumulate: int
    notes: tuple[Note, ...] = ()

    def epoch(self, step: int) -> float:
        """Passes over the rows after `step` steps."""
        left = min(step * self.accumulate, self.batches)
        for done, batches in enumerate(self.batches_of_epochs):
            if left <= batches:
                return done + left / batches
            left -= batches
        return float(len(self.batches_of_epochs))


def plan_course(train: Prepared, recipe: Recipe) -> Course:
    """Lay out the run: how many batches and steps, in which phases."""
    settings = recipe.train
    assert isinstance(settings.batch_size, int)
    sampler = sampler_of(recipe.train, train.shape)
    plan = batches_of(train, recipe, sampler)
    first = plan(recipe.seed, 0)
    if not first:
        raise TrainingError("train", "no batch of two rows can be made", "give more rows, or rows with different texts")
    lengths, batches = _lengths(plan, recipe, len(first))
    steps = -(-batches // settings.accumulate)
    notes = told(train, recipe, sampler, first)
    every = recipe.data.negatives.every if recipe.data.negatives else None
    starts = boundaries(every, lengths, batches, settings.accumulate) if every else ()
    ends = pairwise((0, *starts, steps))
    phases = tuple(Phase(first, last, renew=first > 0) for first, last in ends)
    return Course(phases, steps, batches, lengths, settings.accumulate, notes)


def _lengths(plan: Callable[[int, int], Batches], recipe: Recipe, first: int) -> tuple[tuple[int, ...], int]:
    """The batches of every pass that is begun (the first has `first`), and how many are trained on altogether."""
    settings, lengths = recipe.train, [first]
    if settings.max_steps is not None:
        batches = settings.max_steps * settings.accumulate
        while sum(lengths) < batches:
            lengths.append(len(plan(recipe.seed, len(lengths))))
        return tuple(lengths), batches
    assert isinstance(settings.epochs, int | float)
    whole = int(settings.epochs)
    lengths += [len(plan(recipe.seed, epoch)) for epoch in range(1, math.ceil(settings.epochs))]
    batches = sum(lengths[:whole])
    if settings.epochs > whole:
        batches += max(1, round(lengths[whole] * (settings.epochs - whole)))
    return tuple(lengths), batches
