"""A look at a run in training: what dev and the probes say, whether it is the best so far, and what it means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from embertune.recipe.guarding import GuardSection
from embertune.recipe.units import errors_in, parse_span
from embertune.training.diagnosis import Diagnosis, Scope, diagnose
from embertune.training.guard import Decision, EarlyStopping, Look
from embertune.training.probes import Probed
from embertune.training.signs import Signs
from embertune.training.snapshot import Snapshot
from embertune.watch import LookLine

FloatArray = npt.NDArray[np.float64]

#: The name under which the loss on dev rows is a metric like the others; it is better when it is lower.
LOSS = "loss"


@dataclass(frozen=True, eq=False)
class Dev:
    """What dev says of a state of the model: the value of every metric by its short name.

    `items` (parts, items) are what the steering metric is made of, item by item, where two looks can be compared by
    them.
    """

    values: Mapping[str, float]
    items: FloatArray | None = None


#: Measures the model as it stands on dev.
Score = Callable[[], Dev]
#: The `items` of two looks -> the standard error of the difference of their metric.
Error = Callable[[FloatArray, FloatArray], float]


@dataclass(frozen=True)
class Moment:
    """When a look is taken; `warming` while the rate still rises, `waiting` while a thaw is still to come."""

    step: int
    epoch: float
    warming: bool = False
    waiting: bool = False
    rate: float | None = None
    skipped: int = 0


@dataclass(frozen=True)
class Seen:
    """What a look came to."""

    look: Look
    decision: Decision
    diagnosis: Diagnosis | None
    record: Mapping[str, Any]
    line: LookLine


@dataclass(frozen=True, eq=False)
class _Kept:
    """What later looks are compared with: what the steering metric is made of, and the probes."""

    items: FloatArray | None = None
    train: FloatArray | None = None
    dev: FloatArray | None = None

    def state(self) -> dict[str, torch.Tensor]:
        return {
            name: torch.from_numpy(of) for name in ("items", "train", "dev") if (of := getattr(self, name)) is not None
        }

    @staticmethod
    def of(tensors: Mapping[str, torch.Tensor]) -> _Kept:
        return _Kept(**{name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()})


@dataclass
class _Steps:
    """What the steps since the last look were like: the sum of their losses, how many, the largest gradient."""

    total: float = 0.0
    count: int = 0
    norm: float | None = None


class Looking:
    """The looks at a run: it remembers the best one, and the last that counted as better."""

    def __init__(self, guard: GuardSection, steps: int, error: Error | None) -> None:
        self.guard, self.steps = guard, steps
        self.error = paired_error if guard.metric == LOSS else error
        self.stopping = EarlyStopping(parse_span(guard.patience) if guard.patience else None)
        self.looks: list[Look] = []
        self.signs: list[Signs] = []
        self.diagnosis: Diagnosis | None = None
        self._best, self._counted = _Kept(), _Kept()
        self._steps = _Steps()

    @property
    def latest(self) -> float | None:
        """The dev metric at the last look."""
        return self.signs[-1].value if self.signs else None

    @property
    def best(self) -> float | None:
        """The dev metric at the best look."""
        return self._shown(self.stopping.best.value) if self.stopping.best else None

    @property
    def best_dev(self) -> Dev | None:
        """What dev said at the best look, by the metric that steers."""
        metric, value = self.guard.metric, self.best
        return None if metric is None or value is None else Dev({metric: value}, self._best.items)

    def stepped(self, loss: float, norm: float) -> None:
        """A step is done, with that loss and norm of gradients; what is not finite is counted elsewhere."""
        steps = self._steps
        if math.isfinite(loss):
            steps.total, steps.count = steps.total + loss, steps.count + 1
        if math.isfinite(norm):
            steps.norm = max(norm, steps.norm or 0.0)

    def see(self, moment: Moment, dev: Dev, probed: Probed | None) -> Seen:
        """Take note of a look."""
        values, now = dict(dev.values), _Kept(dev.items)
        if probed is not None:
            now = _Kept(dev.items, *(losses if len(losses) else None for losses in (probed.train, probed.dev)))
        if self.guard.metric == LOSS:
            values[LOSS] = math.nan if now.dev is None else float(now.dev.mean())
            now = _Kept(None if now.dev is None else now.dev[None, :], now.train, now.dev)
        metric = self.guard.metric
        assert metric is not None
        value = values[metric]
        self.signs.append(self._signs(moment, value, now, probed))
        look = Look(moment.step, moment.epoch, self._shown(value), moment.warming)
        self.looks.append(look)
        decision = self.stopping.see(
            Look(moment.step, moment.epoch, look.value, moment.warming or moment.waiting), self._change(now)
        )
        if decision.best:
            self._best = now
        if decision.better:
            self._counted = now
        self._steps = _Steps()
        items = 0 if dev.items is None else dev.items.shape[1]
        self.diagnosis = diagnose(self.signs, Scope(metric, items, self.steps))
        return self._seen(moment, values, decision)

    def anew(self, epoch: float) -> None:
        """The run is back at its best look: what was seen after it is no part of the way that led here."""
        self.stopping.anew(epoch)
        best = self.stopping.best
        self.signs = [signs for signs in self.signs if best is None or signs.step <= best.step]

    def _shown(self, value: float) -> float:
        """Turns the metric into what is compared, where higher is better, and back."""
        return -value if self.guard.metric == LOSS else value

    def _change(self, now: _Kept) -> float:
        """By how much a look must be better to count."""
        least = self.guard.min_change
        if isinstance(least, str):
            assert least != "auto"
            error = self._error(self._counted.items, now.items)
            return 0.0 if error is None else errors_in(least) * error
        return least or 0.0

    def _error(self, before: FloatArray | None, now: FloatArray | None) -> float | None:
        if self.error is None or before is None or now is None:
            return None
        return _known(self.error(before, now))

    def _signs(self, moment: Moment, value: float, now: _Kept, probed: Probed | None) -> Signs:
        steps = self._steps
        return Signs(
            step=moment.step,
            epoch=moment.epoch,
            loss=steps.total / steps.count if steps.count else None,
            train_loss=_mean(now.train),
            dev_loss=_mean(now.dev),
            value=value,
            error=self._error(self._best.items, now.items),
            gradient_norm=steps.norm,
            rate=moment.rate,
            cosine=probed.cosine if probed else None,
            rank=probed.rank if probed else None,
            skipped=moment.skipped,
            train_error=_between(self._best.train, now.train),
            dev_loss_error=_between(self._best.dev, now.dev),
        )

    def _seen(self, moment: Moment, values: Mapping[str, float], decision: Decision) -> Seen:
        signs = self.signs[-1]
        name, reason = (self.diagnosis.name, self.diagnosis.reason) if self.diagnosis else ("", "")
        record = {
            "step": moment.step,
            "epoch": moment.epoch,
            "dev": dict(values),
            "best": decision.best,
            "stop": decision.reason,
            "signs": {name: value for name, value in asdict(signs).items() if name not in ("step", "epoch")},
            "diagnosis": name,
            "reason": reason,
        }
        assert signs.value is not None
        losses = (signs.train_loss, signs.dev_loss)
        line = LookLine(moment.step, moment.epoch, signs.value, decision.best, *losses, name, reason)
        return Seen(self.looks[-1], decision, self.diagnosis, record, line)

    def state(self) -> Snapshot:
        """What was seen, and what later looks are compared with."""
        kept = {"best": self._best, "counted": self._counted}
        tensors = {f"{name}/{of}": tensor for name, one in kept.items() for of, tensor in one.state().items()}
        facts = {
            "stopping": dict(self.stopping.state().facts),
            "looks": [asdict(look) for look in self.looks],
            "signs": [asdict(signs) for signs in self.signs],
            "diagnosis": asdict(self.diagnosis) if self.diagnosis else None,
            "steps": asdict(self._steps),
        }
        return Snapshot(tensors, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then."""
        facts = snapshot.facts
        self._best, self._counted = (_Kept.of(snapshot.part(name).tensors) for name in ("best", "counted"))
        self.stopping.restore(Snapshot(facts=facts["stopping"]))
        self.looks = [Look(**look) for look in facts["looks"]]
        self.signs = [Signs(**signs) for signs in facts["signs"]]
        self.diagnosis = Diagnosis(**facts["diagnosis"]) if facts["diagnosis"] else None
        self._steps = _Steps(**facts["steps"])


def paired_error(before: FloatArray, after: FloatArray) -> float:
    """The standard error of the mean difference of two looks, each (1, items); NaN for a single item."""
    differences = (after - before).ravel()
    return float(differences.std(ddof=1) / math.sqrt(len(differences))) if len(differences) > 1 else math.nan


def _between(before: FloatArray | None, after: FloatArray | None) -> float | None:
    return None if before is None or after is None else _known(paired_error(before, after))


def _mean(losses: FloatArray | None) -> float | None:
    return None if losses is None else float(losses.mean())


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
