"""How a run goes: its phases, steps and passes, all known before the first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from embertune.data.prepared import Note, Prepared
from embertune.errors import RecipeError, TrainingError
from embertune.model.freezing import NOTHING, Frozen
from embertune.recipe import Recipe
from embertune.recipe.freezing import ThawSection
from embertune.recipe.positives import sampler_of
from embertune.recipe.schedules import problems_of_warmup
from embertune.training.balanced import batches_of, told
from embertune.training.batches import Batches, Stream
from embertune.training.renewal import as_planned, boundaries
from embertune.training.thaw import ramp_steps, thaw_steps, thawed, thaws


@dataclass(frozen=True)
class Phase:
    """A stretch of training with fixed rates, layers and batches: steps `first` to `last` (exclusive) of the run.

    With `renew` it begins with new negatives. Where dev decides over thaws, `frozen` is what is so before the first.
    """

    first: int
    last: int
    renew: bool = False
    frozen: Frozen = NOTHING

    @property
    def frozen_blocks(self) -> int:
        """How many blocks from below give the same for the same text during the phase; 0 if the embeddings train."""
        return self.frozen.prefix


@dataclass(frozen=True)
class Course:
    """How a run goes, all known before the first step. Batches are counted before accumulation, steps after it.

    `batches_of_epochs` has every pass that is begun, whole; `notes` tell of rows that stay out of the first one. Over
    `ramp` steps the rate of what was thawed rises.
    """

    phases: tuple[Phase, ...]
    steps: int
    batches: int
    batches_of_epochs: tuple[int, ...]
    accumulate: int
    notes: tuple[Note, ...] = ()
    ramp: int = 0

    @property
    def per_epoch(self) -> float:
        """Steps of the first pass, which stands for all where something is given in epochs."""
        return self.batches_of_epochs[0] / self.accumulate

    def step_after(self, epochs: float) -> int:
        """The step that ends so many passes: the one in which their last batch is."""
        whole = int(epochs)
        batches = sum(self.batches_of_epochs[:whole])
        if whole < len(self.batches_of_epochs):
            batches += max(1, round(self.batches_of_epochs[whole] * (epochs - whole))) if epochs > whole else 0
        elif epochs > len(self.batches_of_epochs):
            batches = self.batches + self.accumulate  # beyond the end
        return -(-batches // self.accumulate)

    def last_frozen(self, thaw: ThawSection | None) -> Frozen:
        """What is frozen at the end, after all thaws that can come."""
        last = self.phases[-1].frozen
        return thawed(last, thaw, thaws(last, thaw)) if thaw and thaw.stall is not None else last

    def epoch(self, step: int) -> float:
        """Passes over the rows after `step` steps."""
        left = min(step * self.accumulate, self.batches)
        for done, batches in enumerate(self.batches_of_epochs):
            if left <= batches:
                return done + left / batches
            left -= batches
        return float(len(self.batches_of_epochs))


def plan_course(train: Prepared, recipe: Recipe, frozen: Frozen = NOTHING) -> Course:
    """Lay out the run: how many batches and steps, in which phases; `frozen` is what is so in the first."""
    settings = recipe.train
    assert isinstance(settings.batch_size, int)
    sampler = sampler_of(recipe.train, train.shape)
    plan = batches_of(train, recipe, sampler)
    first = plan(recipe.training_seed, 0)
    if not first:
        raise TrainingError("train", "no batch of two rows can be made", "give more rows, or rows with different texts")
    lengths, batches = _lengths(plan, recipe, len(first))
    steps = -(-batches // settings.accumulate)
    notes = told(train, recipe, sampler, first)
    every = recipe.data.negatives.every if recipe.data.negatives else None
    starts = boundaries(every, lengths, batches, settings.accumulate) if every else ()
    course = Course((), steps, batches, lengths, settings.accumulate, notes)
    course = _in_phases(course, starts, frozen, settings.unfreeze)
    if problems := list(problems_of_warmup(settings.warmup, steps, course.per_epoch)):
        raise RecipeError(problems)
    return course


def stream_of(train: Prepared, recipe: Recipe, course: Course, steps: tuple[int, int], origin: int = 0) -> Stream:
    """The batches of the first of `steps` to the last (exclusive), in the passes over the rows that they belong to.

    From batch `origin` on, passes are counted anew, and their orders are others than those before.
    """
    plan = batches_of(train, recipe, sampler_of(recipe.train, train.shape))

    def own(seed: int, epoch: int) -> Batches:
        return plan(seed, origin + epoch)  # no pass before had so high a number

    passes = own if origin else as_planned(plan, course.batches_of_epochs)
    first, last = (min(course.batches, step * course.accumulate) for step in steps)
    return Stream(passes, recipe.training_seed, last - origin, first - origin)


def _in_phases(course: Course, renewals: Sequence[int], frozen: Frozen, thaw: ThawSection | None) -> Course:
    """The course with its phases: each ends where negatives are mined anew, or something is thawed."""
    steps = course.steps
    at = thaw_steps(frozen, thaw, course.step_after, steps) if thaw else ()
    phases = []
    for first, last in pairwise((0, *sorted({*renewals, *at}), steps)):
        left = thawed(frozen, thaw, sum(step <= first for step in at)) if thaw else frozen
        phases.append(Phase(first, last, first in renewals, left))
    ramp = ramp_steps(thaw, course.per_epoch, steps) if thaw else 0
    return replace(course, phases=tuple(phases), ramp=ramp)


def _lengths(plan: Callable[[int, int], Batches], recipe: Recipe, first: int) -> tuple[tuple[int, ...], int]:
    """The batches of every pass that is begun (the first has `first`), and how many are trained on altogether."""
    settings, lengths = recipe.train, [first]
    if settings.max_steps is not None:
        batches = settings.max_steps * settings.accumulate
        while sum(lengths) < batches:
            lengths.append(len(plan(recipe.training_seed, len(lengths))))
        return tuple(lengths), batches
    assert isinstance(settings.epochs, int | float)
    whole = int(settings.epochs)
    lengths += [len(plan(recipe.training_seed, epoch)) for epoch in range(1, math.ceil(settings.epochs))]
    batches = sum(lengths[:whole])
    if settings.epochs > whole:
        batches += max(1, round(lengths[whole] * (settings.epochs - whole)))
    return tuple(lengths), batches
