"""A run in training: each phase one call of the host's loop, with looks at dev between steps."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.data.prepared import TARGET_COLUMN, Prepared
from embertune.engine.precision import applied
from embertune.engine.tokens import TokenStore
from embertune.errors import Problem, RecipeError
from embertune.recipe import Recipe
from embertune.recipe.check import loss_options
from embertune.recipe.optimizers import optimizer_options
from embertune.recipe.positives import sampler_of
from embertune.recipe.units import parse_span
from embertune.rundir import finite
from embertune.training.balanced import weights_of
from embertune.training.caching import PrefixCache
from embertune.training.checkpoint import Checkpoints
from embertune.training.chunked import ChunkedLoss
from embertune.training.course import Course, Phase, stream_of
from embertune.training.finite import refuse, trouble
from embertune.training.keeper import Keeper
from embertune.training.layering import Layering
from embertune.training.looking import Dev, Error, Looking, Moment, Score
from embertune.training.losses import build_loss, head_parameters, nested
from embertune.training.masked import Encode, Numbered, masked_part, masking_of
from embertune.training.optimizer import loss_scaler, optimizer_of
from embertune.training.pace import Pace
from embertune.training.patient import Patient
from embertune.training.probes import Probe, probe_batches
from embertune.training.regime import first_regime
from embertune.training.renewal import Renewal
from embertune.training.reporting import Tell
from embertune.training.schedule import rate_factor, schedule_of, stalls_of
from embertune.training.snapshot import Moments, Part, Scale, Snapshot, Weights, together
from embertune.training.survival import Survival
from embertune.training.trainer import Adapter, HostTrainer, Plan, arguments, collator, release
from embertune.training.treatment import Treatment
from embertune.watch import Progress, Watcher


@dataclass(frozen=True)
class Surroundings:
    """What training is handed from outside: how to measure, where to write, whom to tell, which prompts to use.

    `base` is what dev says of the model as it comes, `dev` has its rows, and `error` compares two looks. `loss` builds
    a loss of the user's own; `tokens` has the texts.
    `encode` embeds with the weights that the model has at the time of the call, and `renew` gives the rows negatives
    mined with them. `rates` takes the place of the schedule (the step of the run to the factor of the highest rate),
    and `enough`, asked with the loss of each step, ends training. `augment` gives rows and changed copies of them, with
    such a share of the words changed.
    """

    score: Score | None
    history: Path
    watch: Watcher
    prompts: Mapping[str, str]
    base: Dev = field(default_factory=lambda: Dev({}))
    loss: Callable[[SentenceTransformer], nn.Module] | None = None
    tokens: TokenStore | None = None
    encode: Encode | None = None
    renew: Callable[[Prepared], Prepared] | None = None
    prefix: PrefixCache | None = None
    rates: Callable[[int], float] | None = None
    enough: Callable[[float], bool] | None = None
    tell: Tell | None = None
    augment: Callable[[Prepared, float], Prepared] | None = None
    checkpoints: Checkpoints | None = None
    dev: Prepared | None = None
    error: Error | None = None


#: The plain values of a session that change while it goes on.
_COUNTS = ("done", "stopped", "lowered", "masked", "negatives")


class Session:
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
        self.keeper = Keeper(averaging=isinstance(recipe.train.keep_general, tuple))
        self.looking = Looking(recipe.guard, course.steps, around.error)
        self.stopped = ""
        self.done = 0
        self.lowered = 0  # how often dev has stopped improving, for a schedule on plateaus
        self.grad_norm = 0.0
        self.rates: dict[str, float] = {}
        self.masked = self.negatives = 0
        self.loss = self._loss()
        self.layers = Layering(model, head_parameters(self.loss, model), recipe.train, course)
        refuse(self.layers.parameters, "before training", "start from another model")
        settings = recipe.train
        options = optimizer_options(settings.optimizer, settings.optimizer_options)
        self.optimizer = optimizer_of(settings.optimizer, self.layers.groups, options)
        self.scaler = loss_scaler(recipe.train.precision, model.device)
        every = recipe.guard.eval_every
        self.every = parse_span(every).in_steps(course.per_epoch) if every else 0
        highest = max(group.learning_rate for group in self.layers.groups)
        self.schedule = schedule_of(settings, course.steps, course.per_epoch, highest)
        self.pace = Pace(course.steps)
        self.probe = self._probe()
        self.learning = self._learning()
        self.treatment = Treatment(recipe.guard, first_regime(model, recipe), Patient(self))
        self.trouble = ""
        self.renewal = Renewal(self)
        self.survival = Survival(self, around.checkpoints)
        self.parts = self._parts()

    def _learning(self) -> dict[str, Part]:
        """What steps change."""
        parts: dict[str, Part] = {
            "weights": Weights(self.model, self.loss),
            "optimizer": Moments(self.optimizer, self.layers.parameters),
            "scale": Scale(self.scaler),
        }
        return parts if self.layers.average is None else {**parts, "average": self.layers.average}

    def _parts(self) -> dict[str, Part]:
        """Everything that has a state."""
        parts: dict[str, Part] = {**self.learning, "layers": self.layers, "treatment": self.treatment}
        parts |= {"looking": self.looking, "best": self.keeper, "rows": self.renewal, "run": self}
        return parts if self.around.prefix is None else {**parts, "prefix": self.around.prefix}

    def snapshot(self) -> Snapshot:
        """All that decides how training goes on from here; its tensors are in use."""
        return together(self.parts)

    def learned(self) -> Snapshot:
        """What the steps have changed: weights, optimizer, average, scale; the tensors are in use."""
        return together(self.learning)

    def put_back(self, snapshot: Snapshot) -> None:
        """What was learnt at `snapshot`, in place of what is there; counts, looks and decisions stay."""
        for name, part in self.learning.items():
            part.restore(snapshot.part(name))

    def resume(self, snapshot: Snapshot) -> None:
        """Everything as it was at `snapshot`."""
        for name, part in self.parts.items():
            part.restore(snapshot.part(name))

    def state(self) -> Snapshot:
        """What the run has done and seen."""
        facts = {name: getattr(self, name) for name in _COUNTS}
        return Snapshot(facts=facts)

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then."""
        for name in _COUNTS:
            setattr(self, name, snapshot.facts[name])

    def _loss(self) -> nn.Module:
        if self.around.loss is not None:
            return self.around.loss(self.model)
        settings = self.recipe.train
        assert settings.loss != "auto"
        masking = masking_of(self.train, self.recipe, self.around.encode)
        more = (masking, weights_of(self.train, self.recipe))
        loss = build_loss(settings.loss, self.model, loss_options(settings), self.recipe.training_seed, *more)
        loss = nested(loss, self.model, settings.matryoshka)
        assert settings.chunk != "auto"
        return loss if settings.chunk is None else ChunkedLoss(loss, self.model, settings.chunk)

    def _probe(self) -> Probe | None:
        """What a look sees beside dev; None where there are no looks."""
        around, settings, dev = self.around, self.recipe.train, self.around.dev
        if around.score is None:
            return None
        if around.loss is not None and dev is not None and dev.text_columns != self.train.text_columns:
            dev = None  # a loss of one's own wants its rows whole
        pairs = sampler_of(settings, self.train.shape) == "class_pairs"
        made = collator(self.model, dict(around.prompts), pairs, around.tokens)
        batches = probe_batches(self.train, dev, self.course.batches, self.recipe, made)
        return Probe(self.model, self.loss, self.recipe, *batches)

    def run(self, phase: Phase) -> None:
        """What is left to do of a phase of the course, in as many parts as dev makes of it."""
        if self.done >= phase.last or self.survival.interrupted:
            return
        self._treat()
        if phase.renew and not self.stopped and self.done == phase.first:
            self.renewal.renew()
        phase = dataclasses.replace(phase, first=self.done, renew=False)
        while self.done < phase.last and not self.stopped:
            if new := self.layers.begin(phase):
                self.write({"step": self.done, "epoch": self.course.epoch(self.done), "thawed": new})
            turns = (self.layers.thaws, self.lowered)
            with self.layers.held(), self._prefix(phase):
                self._train(phase)
            self.survival.between()
            same = (self.layers.thaws, self.lowered) == turns and self.treatment.due is None
            if same or self.survival.interrupted:
                return
            self._treat()
            phase = dataclasses.replace(phase, first=self.done, renew=False)

    def _treat(self) -> None:
        """Do what was found to be due, between two phases."""
        if self.treatment.due is not None and not self.stopped and self.done < self.course.steps:
            self.stopped = self.treatment.act(self.done, self.done * self.course.accumulate)

    def _prefix(self, phase: Phase) -> AbstractContextManager[None]:
        """Inside, states of frozen layers are read from the cache, where there is one."""
        if self.around.prefix is None:
            return nullcontext()
        return self.around.prefix.during(phase, self.layers.planned.prefix, self.train, self.pace.restart)

    def _train(self, phase: Phase) -> None:
        """One call of the host's loop, with the same layers all the way."""
        regime = self.treatment.regime
        recipe = regime.recipe(self.recipe)
        settings, steps = recipe.train, (phase.first, phase.last)
        sampler = sampler_of(settings, self.train.shape)
        stream = stream_of(self.train, recipe, self.course, steps, regime.origin)
        plan = Plan(
            stream,
            self.optimizer,
            lambda row, step: self._factor(row, step + phase.first),
            collator(self.model, dict(self.around.prompts), sampler == "class_pairs", self.around.tokens),
            self.model,
            self.scaler,
        )
        target = [TARGET_COLUMN[self.train.shape]] if self.train.shape in TARGET_COLUMN else []
        rows = self.train.rows.select_columns([*self.train.text_columns, *target])
        with tempfile.TemporaryDirectory() as folder:
            self.trainer = HostTrainer(
                plan,
                model=self.model,
                args=host_arguments(recipe, folder, phase.first),
                train_dataset=Numbered(rows) if masked_part(self.loss) and not target else rows,
                loss=self.loss,
                callbacks=[Adapter(self.survival.step_begins, self._clip, lambda step: self._after(step, phase))],
            )
            assert settings.precision != "auto"
            with applied(self.model, settings.precision), self.survival.heard():
                self.trainer.train()
        release(self.model)

    def _factor(self, row: str, step: int) -> float:
        """The share of its highest rate that a row of layers has at a step of the run."""
        asked = self.around.rates
        share = asked(step) if asked else rate_factor(self.schedule, step, self.lowered)
        return share * self.treatment.regime.rate * self.layers.factor(row, step)

    def _clip(self) -> None:
        """Clip all trained parameters together; the norm before clipping and the rates of the step are logged."""
        self.rates = self.layers.rates(self.optimizer)
        self.scaler.unscale_(self.trainer.optimizer)
        parameters = [p for p in self.layers.clipped if p.grad is not None]
        limit = self.recipe.train.gradient_clip or math.inf
        self.grad_norm = float(nn.utils.clip_grad_norm_(parameters, limit))
        self.scaler.update()
        norm = 0.0 if self._scales_down() else self.grad_norm
        self.trouble = trouble(float(torch.stack(self.trainer.step_losses).mean()), norm)
        if self.trouble or not math.isfinite(self.grad_norm):
            self.trainer.optimizer.zero_grad()  # the optimizer passes over parameters without a gradient

    def _after(self, step: int, phase: Phase) -> bool:
        """So many steps of the phase are done: write the last down, look at dev where it is time; whether to stop."""
        step += phase.first
        pace = self._speed(step)
        losses = self.trainer.step_losses
        loss = float(torch.stack(losses).mean())
        losses.clear()
        self.done = step
        epoch = self.course.epoch(step)
        record = {"step": step, "epoch": epoch, "loss": loss, "gradient_norm": self.grad_norm, "rates": self.rates}
        if self.trouble:
            record["skipped"] = self.trouble
        else:
            self.layers.stepped()
        self.write(record | self._masked())
        self.stopped = self.treatment.stepped(self.trouble)
        self.looking.stepped(loss, self.grad_norm)
        if self.every and (step % self.every == 0 or step == self.course.steps):
            self.look(step)
        self.around.watch.step(self._progress(step, epoch, loss, pace))
        if self.around.enough is not None and self.around.enough(loss):
            self.stopped = "asked to"
        stalled = self.layers.stalled(self.looking.looks)
        ends = self._lower() or stalled or bool(self.stopped) or self.treatment.due is not None
        return ends or self.survival.within(step, phase.last)

    def _lower(self) -> bool:
        """Whether dev has stopped improving, so that a lower rate is due: the phase ends, and the next one has it."""
        found = stalls_of(self.schedule, self.looking.looks)
        before, after = (rate_factor(self.schedule, self.done, count) for count in (self.lowered, found))
        self.lowered = found
        if falls := after < before:
            self.looking.stopping.lowered(self.looking.looks[-1])
        return falls

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
        """Look at dev, where there is one, with the weights that would be saved."""
        if self.around.score is None or self.probe is None:
            return
        with self.layers.averaged():
            dev = self.around.score() if step else self.around.base
            seen = self.looking.see(self._moment(step), dev, self.probe())
            if seen.decision.best:
                self.keeper.keep(self.model, trained=step > 0)
        if seen.decision.best and self.treatment.goes_back:
            self.keeper.learn(self.learned())
        overfits = self.treatment.hears(seen.diagnosis, seen.look.value)
        if step < self.course.steps and self.treatment.due is None:
            self.stopped = self.stopped or overfits or seen.decision.reason
        self.write({**seen.record, "stop": self.stopped})
        self.around.watch.look(seen.line)
        self.pace.restart()

    def _moment(self, step: int) -> Moment:
        warming = step < self.schedule.rising or self.layers.warming(step)
        rate = max(self.rates.values(), default=None)
        skipped = self.treatment.skips.total
        return Moment(step, self.course.epoch(step), warming, self.layers.waiting(step), rate, skipped)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line to the history."""
        self.history.write(json.dumps(finite(record), allow_nan=False) + "\n")
        self.history.flush()
        if self.around.tell is not None:
            self.around.tell(record)

    def _speed(self, step: int) -> tuple[float, float]:
        """Texts per second and seconds left; asked before dev is measured, which is not training."""
        size = self.treatment.regime.batch
        return self.pace.after(step, size * self.course.accumulate * _texts_per_row(self.train))

    def _progress(self, step: int, epoch: float, loss: float, pace: tuple[float, float]) -> Progress:
        speed, left = pace
        return Progress(
            step,
            self.course.steps,
            epoch,
            loss,
            speed,
            left,
            self.recipe.guard.metric,
            self.looking.best,
            self.looking.latest,
        )


def host_arguments(recipe: Recipe, folder: str, first: int = 0) -> Any:
    """The host's arguments of a phase from step `first`; `RecipeError` for what it refuses in `train.extra`."""
    settings = recipe.train
    assert isinstance(settings.batch_size, int)
    try:
        return arguments(
            folder=folder,
            seed=recipe.training_seed + first,  # every phase has dropout of its own
            batch_size=settings.batch_size,
            accumulate=settings.accumulate,
            extra=dict(settings.extra),
        )
    except (TypeError, ValueError, ImportError) as error:
        raise RecipeError(Problem("train.extra", f"the trainer refuses it: {error}", "mend or remove it")) from None


def _texts_per_row(train: Prepared) -> int:
    return 2 if train.shape == "classes" else len(train.text_columns)
