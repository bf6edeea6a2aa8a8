"""When training has gone far enough: a pure decision from numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from embertune.recipe.units import Span, Unit
from embertune.training.snapshot import Snapshot


@dataclass(frozen=True)
class Look:
    """One evaluation: at `step` (epoch `epoch`), the dev metric is `value`; higher is better, NaN is worst.

    `warming` while the rate still rises: then a look that is no better says nothing yet.
    """

    step: int
    epoch: float
    value: float
    warming: bool = False


@dataclass(frozen=True)
class Decision:
    """What follows from a look: is it the best so far, and should training stop (`reason` says why, else empty)."""

    best: bool
    stop: bool
    reason: str = ""


class EarlyStopping:
    """Stops when dev has not improved for `patience` (Prechelt 1998, Early Stopping - But When?, section 2).

    `patience` counts evaluations or epochs since the best look, or since the warm-up or the first lower rate after it
    (`lowered`) where that came later; None never stops. The first look, before training, is a best to beat.
    """

    def __init__(self, patience: Span | None) -> None:
        self.patience = patience
        self.best: Look | None = None
        self.looks = 0
        self._since = (0, 0.0)  # looks and epochs from which patience counts
        self._lowered = False  # whether the rate was lowered since the best look

    def see(self, look: Look) -> Decision:
        """Take note of an evaluation."""
        self.looks += 1
        if self.best is None or look.value > self.best.value or (math.isnan(self.best.value) > math.isnan(look.value)):
            self.best, self._since, self._lowered = look, (self.looks, look.epoch), False
            return Decision(best=True, stop=False)
        if look.warming:
            self._since = (self.looks, look.epoch)
        if self.patience is None or self._waited(look, self.patience.unit) < self.patience.count:
            return Decision(best=False, stop=False)
        reason = (
            f"no improvement on dev for {self.patience.count:g} {self.patience.unit}; best at step {self.best.step}"
        )
        return Decision(best=False, stop=True, reason=reason)

    def lowered(self, look: Look) -> None:
        """After `look` the rate is lower, because dev stalls: that has all of `patience` to show what it brings.

        Only the first one since the best look has: if every lower rate began anew, training would never stop.
        """
        if not self._lowered:
            self._since, self._lowered = (self.looks, look.epoch), True

    def state(self) -> Snapshot:
        """What was seen."""
        best = asdict(self.best) if self.best else None
        return Snapshot(facts={"best": best, "looks": self.looks, "since": list(self._since), "lowered": self._lowered})

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then."""
        facts = snapshot.facts
        self.best = Look(**facts["best"]) if facts["best"] else None
        self.looks, self._lowered = facts["looks"], facts["lowered"]
        self._since = (facts["since"][0], facts["since"][1])

    def _waited(self, look: Look, unit: Unit) -> float:
        looks, epoch = self._since
        return look.epoch - epoch if unit == "epochs" else self.looks - looks
