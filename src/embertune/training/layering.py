"""Which layers are trained at which rate while a run goes on: rows, groups, thaws and their ramps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.model.freezing import Frozen, held
from embertune.model.layers import find_layers
from embertune.recipe import Recipe
from embertune.recipe.check import loss_options
from embertune.recipe.losses import LOSSES
from embertune.recipe.sections import TrainSection
from embertune.training.average import Average
from embertune.training.course import Course, Phase
from embertune.training.guard import Look
from embertune.training.losses import build_loss, head_parameters
from embertune.training.optimizer import Group, groups
from embertune.training.rates import Row, rows_of
from embertune.training.snapshot import Snapshot
from embertune.training.stall import stalls
from embertune.training.thaw import ramp, thawed, thaws
from embertune.watch import FROZEN, TRAINED, LayerLine


def foresee(model: SentenceTransformer, recipe: Recipe, course: Course) -> tuple[LayerLine, ...]:
    """The table of layers as training will begin with it; RecipeError where rates are given to what is not there."""
    name = recipe.train.loss
    assert name != "auto"
    heads: Mapping[str, nn.Parameter] = {}
    if LOSSES[name].fixed_length:
        heads = head_parameters(build_loss(name, model, loss_options(recipe.train), recipe.training_seed), model)
    return Layering(model, heads, recipe.train, course).lines()


class Layering:
    """The layers of a model in training. `groups` are the same for the whole run, frozen layers included."""

    def __init__(
        self, model: SentenceTransformer, heads: Mapping[str, nn.Parameter], settings: TrainSection, course: Course
    ) -> None:
        self.model, self.course, self.section = model, course, settings.unfreeze
        self.table = find_layers(model)
        self.rows = rows_of(self.table, heads, settings, course.last_frozen(settings.unfreeze))
        self.parameters = {**dict(model.named_parameters()), **heads}
        self.groups: list[Group] = groups(self.parameters, self.rows, settings.weight_decay)
        own = {id(p) for group in self.groups for p in group.parameters}
        order = sorted(self.parameters.items(), key=lambda item: (item[0] in heads, item[1].ndim <= 1))
        self.clipped = [p for _, p in order if id(p) in own]  # a sum in an order that does not hang on rates
        self.frozen = self.planned = course.phases[0].frozen
        self.deeper = 0  # so many blocks are frozen by a remedy, whatever was planned
        self.deeper_from = 0  # the step after which they are
        self.thawed_at: dict[str, int] = {}
        self.thaws = 0  # of those that dev decides over
        self.average = None if settings.average is None else Average(settings.average)

    def lines(self, *, done: bool = False) -> tuple[LayerLine, ...]:
        """The table of layers, from below; with `done`, as it has become."""
        return tuple(LayerLine(r.name, self._count(r), r.rate, self._state(r, done)) for r in self.rows)

    def _count(self, row: Row) -> int:
        return sum(self.parameters[name].numel() for name in row.parameters)

    def _state(self, row: Row, done: bool) -> str:
        """From when a row is trained."""

        def rests(frozen: Frozen) -> bool:
            return set(row.parameters) <= frozen.names(self.table)

        phases = self.course.phases
        if done and self.deeper_from and rests(self.frozen) and not rests(self.planned):
            return f"until step {self.deeper_from:,}"
        if not rests(phases[0].frozen):
            return TRAINED
        known = {phase.first for phase in phases if not rests(phase.frozen)}
        since = self.thawed_at.get(row.name) if done else min(known, default=None)
        if since is not None:
            return f"from step {since + 1:,}"
        return FROZEN if done or rests(self.course.last_frozen(self.section)) else "once dev stalls"

    def begin(self, phase: Phase) -> list[str]:
        """The rows that are thawed with the phase, from now on part of the training."""
        left = thawed(phase.frozen, self.section, self.thaws) if self.section and self._by_dev else phase.frozen
        self.planned = left
        if self.deeper > left.blocks:
            self.deeper_from = self.deeper_from or phase.first
            left = Frozen(self.deeper, embeddings=True, patterns=left.patterns)
        before, after = self.frozen.names(self.table), left.names(self.table)
        new = [row.name for row in self.rows if set(row.parameters) & before and not set(row.parameters) & after]
        self.frozen = left
        self.thawed_at |= dict.fromkeys(new, phase.first)
        if self.average is not None:
            named = self.model.named_parameters()
            self.average.join({name: p for name, p in named if p.requires_grad and name not in after})
        return new

    def stepped(self) -> None:
        """A step is done."""
        if self.average is not None:
            self.average.update(self.parameters)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the model has the average of its weights, where one is kept."""
        return nullcontext() if self.average is None else self.average.worn(self.parameters)

    def settle(self) -> None:
        """Leave the model with the average of its weights, where one is kept."""
        if self.average is not None:
            self.average.settle(self.parameters)

    def held(self) -> AbstractContextManager[None]:
        """Inside, what is frozen at the moment is not trained."""
        return held(self.model, self.frozen.names(self.table))

    def factor(self, row: str, step: int) -> float:
        """The share of its rate that a row has at `step` because it was thawed not long ago."""
        since = self.thawed_at.get(row)
        return 1.0 if since is None else ramp(step, since, self.course.ramp)

    def rates(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """The rate of every row that is trained at the moment, the highest first."""
        names = self.frozen.names(self.table)
        resting = {row.name for row in self.rows if set(row.parameters) <= names}
        return {g["row"]: g["lr"] for g in optimizer.param_groups if g["row"] not in resting}

    def warming(self, step: int) -> bool:
        """Whether the rate of something thawed still rises."""
        return any(step < since + self.course.ramp for since in self.thawed_at.values())

    def waiting(self, step: int) -> bool:
        """Whether a thaw is still to come after `step`: until then, dev says nothing about the end of training."""
        if self.section is None:
            return False
        if self._by_dev:
            return self.thaws < thaws(self.course.phases[0].frozen, self.section)
        return any(phase.first >= step and phase.frozen != self.frozen for phase in self.course.phases)

    def stalled(self, looks: Iterable[Look]) -> bool:
        """Whether dev has stopped improving since the last thaw, so that the next is due; takes note of it."""
        if self.section is None or self.section.stall is None or not self.waiting(0):
            return False
        due = stalls(looks, self.section.stall) > self.thaws
        self.thaws += due
        return due

    def state(self) -> Snapshot:
        """What is frozen, and when what was thawed."""
        return Snapshot(
            facts={
                "frozen": {**asdict(self.frozen), "patterns": list(self.frozen.patterns)},
                "thawed_at": dict(self.thawed_at),
                "thaws": self.thaws,
                "deeper_from": self.deeper_from,
            }
        )

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then."""
        frozen = snapshot.facts["frozen"]
        self.frozen = Frozen(frozen["blocks"], frozen["embeddings"], tuple(frozen["patterns"]))
        self.thawed_at, self.thaws = dict(snapshot.facts["thawed_at"]), snapshot.facts["thaws"]
        self.deeper_from = snapshot.facts["deeper_from"]

    @property
    def _by_dev(self) -> bool:
        return self.section is not None and self.section.stall is not None
