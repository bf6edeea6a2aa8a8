"""Training: phases, each one call of the host's loop, with evaluations between steps and the best state kept."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from embertune.data.prepared import TARGET_COLUMN, Note, Prepared
from embertune.engine.precision import applied
from embertune.engine.tokens import TokenStore
from embertune.errors import Problem, RecipeError, TrainingError
from embertune.recipe import Recipe
from embertune.recipe.check import loss_options
from embertune.recipe.losses import Sampler
from embertune.recipe.positives import sampler_of
from embertune.recipe.units import parse_span
from embertune.rundir import finite
from embertune.training.balanced import batches_of, told, weights_of
from embertune.training.batches import Batches, Stream
from embertune.training.chunked import ChunkedLoss
from embertune.training.guard import EarlyStopping, Look
from embertune.training.losses import build_loss, head_parameters
from embertune.training.masked import Encode, Numbered, masked_note, masked_part, masking_of
from embertune.training.optimizer import Group, groups, loss_scaler
from embertune.training.pace import Pace
from embertune.training.renewal import as_planned, boundaries
from embertune.training.schedule import rate_factor, warmup_steps
from embertune.training.trainer import Adapter, HostTrainer, Plan, arguments, collator, plain, release
from embertune.watch import Progress, Watcher

#: Measures the model as it stands on dev: metric name to value.
Score = Callable[[], Mapping[str, float]]


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


@dataclass(frozen=True)
class Fit:
    """What training gives back. The model passed in holds the best state on dev, or the last one without dev.

    `best_step` is 0 where nothing beat the model as it came; `notes` tell of what was masked.
    """

    steps: int
    best_step: int
    stopped: str
    seconds: float
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What training is handed from outside: how to measure, where to write, whom to tell, which prompts to use.

    `base` are the dev values of the model as it comes; `loss` builds a loss of the user's own; `tokens` has the texts.
    `encode` embeds with the weights that the model has at the time of the call, and `renew` gives the rows negatives
    mined with them.
    """

    score: Score | None
    history: Path
    watch: Watcher
    prompts: Mapping[str, str]
    base: Mapping[str, float] = field(default_factory=dict)
    loss: Callable[[SentenceTransformer], nn.Module] | None = None
    tokens: TokenStore | None = None
    encode: Encode | None = None
    renew: Callable[[Prepared], Prepared] | None = None


def plan_course(train: Prepared, recipe: Recipe) -> Course:
    """Lay out the run: how many batches and steps, in which phases."""
    settings = recipe.train
    assert isinstance(settings.batch_size, int)
    sampler = _sampler(train, recipe)
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


def _sampler(train: Prepared, recipe: Recipe) -> Sampler:
    return sampler_of(recipe.train, train.shape)


def fit(
    model: SentenceTransformer, train: Prepared, recipe: Recipe, around: Surroundings, course: Course | None = None
) -> Fit:
    """Train `model` in place by the resolved `recipe`, and leave it in its best state on dev.

    `course` is what `plan_course` says, where it was asked already. Raises `TrainingError` when a loss is not finite.
    Dropout and order depend on `recipe.seed` alone.
    """
    course = course or plan_course(train, recipe)
    with around.history.open("w", encoding="utf-8") as history:
        session = _Session(model, train, recipe, course, around, history)
        session.look(0)
        started = time.perf_counter()
        for phase in course.phases:
            session.run(phase)
        seconds = time.perf_counter() - started
    best = session.stopping.best
    session.keeper.restore(model)
    model.eval()
    notes = masked_note(session.masked, session.negatives)
    return Fit(session.done, best.step if best else session.done, session.stopped, seconds, notes)


class _Keeper:
    """Holds a copy of the best weights in memory."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] | None = None

    def keep(self, model: nn.Module) -> None:
        if self.state is None:
            self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            return
        for name, tensor in model.state_dict().items():
            self.state[name].copy_(tensor)

    def restore(self, model: nn.Module) -> None:
        if self.state is not None:
            model.load_state_dict(self.state, strict=True)


class _Session:
    """The moving parts of a run in training: what has been done, seen and kept."""

    def __init__(
        self,
        model: SentenceTransformer,
        train: Prepared,
        recipe: Recipe,
        course: Course,
        around: Surroundings,
        history: TextIO,
    ) -> None:
        self.model, self.train, self.recipe, self.course, self.around = model, train, recipe, course, around
        self.history = history
        self.keeper = _Keeper()
        patience = recipe.guard.patience
        self.stopping = EarlyStopping(parse_span(patience) if patience else None)
        self.latest: float | None = None
        self.stopped = ""
        self.done = 0
        self.grad_norm = 0.0
        self.rates: dict[str, float] = {}
        self.masked = self.negatives = 0
        self.loss = self._loss()
        self.groups = self._groups()
        self.optimizer: torch.optim.Optimizer | None = None
        self.scaler = loss_scaler(recipe.train.precision, model.device)
        every = recipe.guard.eval_every
        per_epoch = course.batches_of_epochs[0] / course.accumulate
        self.every = parse_span(every).in_steps(per_epoch) if every else 0
        self.pace = Pace(course.steps)

    def _loss(self) -> nn.Module:
        if self.around.loss is not None:
            return self.around.loss(self.model)
        settings = self.recipe.train
        assert settings.loss != "auto"
        masking = masking_of(self.train, self.recipe, self.around.encode)
        more = (masking, weights_of(self.train, self.recipe))
        loss = build_loss(settings.loss, self.model, loss_options(settings), self.recipe.seed, *more)
        assert settings.chunk != "auto"
        return loss if settings.chunk is None else ChunkedLoss(loss, self.model, settings.chunk)

    def _groups(self) -> list[Group]:
        settings = self.recipe.train
        assert isinstance(settings.learning_rate, float)
        heads = head_parameters(self.loss, self.model)
        return groups(self.model, heads, settings.learning_rate, settings.weight_decay)

    def run(self, phase: Phase) -> None:
        """One phase: one call of the host's loop."""
        if self.stopped:
            return
        if phase.renew:
            self._renew()
        settings, course = self.recipe.train, self.course
        assert isinstance(settings.batch_size, int)
        sampler = _sampler(self.train, self.recipe)
        batches = batches_of(self.train, self.recipe, sampler)
        batches = as_planned(batches, course.batches_of_epochs)
        last = min(course.batches, phase.last * course.accumulate)
        stream = Stream(batches, self.recipe.seed, last, phase.first * course.accumulate)
        plan = Plan(
            stream,
            self.groups,
            lambda step: rate_factor(settings.schedule, step + phase.first, course.steps, settings.warmup),
            collator(self.model, dict(self.around.prompts), sampler == "class_pairs", self.around.tokens),
            self.model,
            self.scaler,
            self.optimizer,
        )
        target = [TARGET_COLUMN[self.train.shape]] if self.train.shape in TARGET_COLUMN else []
        rows = self.train.rows.select_columns([*self.train.text_columns, *target])
        with tempfile.TemporaryDirectory() as folder:
            self.trainer = HostTrainer(
                plan,
                model=self.model,
                args=host_arguments(self.recipe, folder, phase.first),
                train_dataset=Numbered(rows) if masked_part(self.loss) and not target else rows,
                loss=self.loss,
                callbacks=[Adapter(self._clip, lambda step: self._after(phase.first + step))],
            )
            assert settings.precision != "auto"
            with applied(self.model, settings.precision):
                self.trainer.train()
        release(self.model)
        self.optimizer = plain(self.trainer.optimizer)

    def _renew(self) -> None:
        """New negatives for the same rows, with the weights of this moment."""
        assert self.around.renew is not None
        self.train = self.around.renew(self.train)
        if (part := masked_part(self.loss)) is not None and part.masking is not None:
            part.masking = masking_of(self.train, self.recipe, self.around.encode)
        self._write({"step": self.done, "epoch": self.course.epoch(self.done), "negatives": "mined anew"})
        self.pace.restart()

    def _clip(self) -> None:
        """Clip all trained parameters together; the norm before clipping and the rates of the step are logged."""
        self.rates = {g["name"]: g["lr"] for g in self.trainer.optimizer.param_groups}
        self.scaler.unscale_(self.trainer.optimizer)
        parameters = [p for group in self.groups for p in group.parameters if p.grad is not None]
        limit = self.recipe.train.gradient_clip or math.inf
        self.grad_norm = float(nn.utils.clip_grad_norm_(parameters, limit))
        self.scaler.update()
        if self.scaler.is_enabled() and not math.isfinite(self.grad_norm):
            self.trainer.optimizer.zero_grad()  # the optimizer passes over parameters without a gradient

    def _after(self, step: int) -> bool:
        """A step is done: write it down, look at dev where it is time, and say whether to stop."""
        pace = self._speed(step)
        losses = self.trainer.step_losses
        loss = float(torch.stack(losses).mean())
        losses.clear()
        self.done = step
        epoch = self.course.epoch(step)
        record = {"step": step, "epoch": epoch, "loss": loss, "gradient_norm": self.grad_norm, "rates": self.rates}
        self._write(record | self._masked())
        if not (math.isfinite(loss) and (math.isfinite(self.grad_norm) or self._scales_down())):
            found = f"the loss is {loss}, the norm of its gradient {self.grad_norm}"
            remedy = "lower train.learning_rate, or start from a model whose weights are finite"
            raise TrainingError(f"training step {step}", found, remedy)
        if self.every and (step % self.every == 0 or step == self.course.steps):
            self.look(step)
        self.around.watch.step(self._progress(step, epoch, loss, pace))
        return bool(self.stopped)

    def _masked(self) -> dict[str, int]:
        """What the loss masked in this step, for its record."""
        if (masked := masked_part(self.loss)) is None:
            return {}
        found, negatives = masked.counted()
        self.masked, self.negatives = self.masked + found, self.negatives + negatives
        return {"masked": found, "negatives": negatives}

    def _scales_down(self) -> bool:
        """Whether gradients that are not finite are float16's, and a smaller scale may bring them into range."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1.0

    def look(self, step: int) -> None:
        """Measure dev, keep the state if it is the best, and note whether patience has run out."""
        if self.around.score is None:
            return
        values = self.around.score() if step else self.around.base
        metric = self.recipe.guard.metric
        assert metric is not None
        epoch = self.course.epoch(step)
        warming = step < warmup_steps(self.course.steps, self.recipe.train.warmup)
        decision = self.stopping.see(Look(step, epoch, values[metric], warming))
        self.latest = values[metric]
        if decision.best:
            self.keeper.keep(self.model)
        if decision.stop and step < self.course.steps:
            self.stopped = decision.reason
        self._write({"step": step, "epoch": epoch, "dev": dict(values), "best": decision.best, "stop": decision.reason})
        self.pace.restart()

    def _write(self, record: Mapping[str, Any]) -> None:
        self.history.write(json.dumps(finite(record), allow_nan=False) + "\n")
        self.history.flush()

    def _speed(self, step: int) -> tuple[float, float]:
        """Texts per second and seconds left; asked before dev is measured, which is not training."""
        size = self.recipe.train.batch_size
        assert isinstance(size, int)
        return self.pace.after(step, size * self.course.accumulate * _texts_per_row(self.train))

    def _progress(self, step: int, epoch: float, loss: float, pace: tuple[float, float]) -> Progress:
        speed, left = pace
        best = self.stopping.best
        return Progress(
            step,
            self.course.steps,
            epoch,
            loss,
            speed,
            left,
            self.recipe.guard.metric,
            best.value if best else None,
            self.latest,
        )


def host_arguments(recipe: Recipe, folder: str, first: int = 0) -> Any:
    """The host's arguments of a phase from step `first`; `RecipeError` for what it refuses in `train.extra`."""
    settings = recipe.train
    assert isinstance(settings.batch_size, int)
    try:
        return arguments(
            folder=folder,
            seed=recipe.seed + first,  # every phase has dropout of its own
            batch_size=settings.batch_size,
            accumulate=settings.accumulate,
            extra=dict(settings.extra),
        )
    except (TypeError, ValueError, ImportError) as error:
        raise RecipeError(Problem("train.extra", f"the trainer refuses it: {error}", "mend or remove it")) from None


def _texts_per_row(train: Prepared) -> int:
    return 2 if train.shape == "classes" else len(train.text_columns)
