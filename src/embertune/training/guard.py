"""When training has gone far enough: a pure decision from numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from embertune.recipe.units import Span


@dataclass(frozen=True)
class Look:
    """One evaluation: at `step` (epoch `epoch`), the dev metric is `value`; higher is better, NaN is worst."""

    step: int
    epoch: float
    value: float


@dataclass(frozen=True)
class Decision:
    """What follows from a look: is it the best so far, and should training stop (`reason` says why, else empty)."""

    best: bool
    stop: bool
    reason: str = ""


class EarlyStopping:
    """Stops when dev has not improved for `patience` (Prechelt 1998, Early Stopping - But When?, section 2).

    `patience` counts evaluations or epochs since the best look; None never stops. The first look, before training, is a
    best to beat.
    """

    def __init__(self, patience: Span | None) -> None:
        self.patience = patience
        self.best: Look | None = None
        self.looks = 0
        self._looks_at_best = 0

    def see(self, look: Look) -> Decision:
        """Take note of an evaluation."""
        self.looks += 1
        if self.best is None or look.value > self.best.value or (math.isnan(self.best.value) > math.isnan(look.value)):
            self.best, self._looks_at_best = look, self.looks
            return Decision(best=True, stop=False)
        if self.patience is None:
            return Decision(best=False, stop=False)
        waited = look.epoch - self.best.epoch if self.patience.unit == "epochs" else self.looks - self._looks_at_best
        if waited < self.patience.count:
            return Decision(best=False, stop=False)
        reason = (
            f"no improvement on dev for {self.patience.count:g} {self.patience.unit}; best at step {self.best.step}"
        )
        return Decision(best=False, stop=True, reason=reason)
