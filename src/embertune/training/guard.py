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
    """What follows from a look: is it the best so far, and should training stop (`reason` says why, else empty).

    `better` says that patience begins anew.
    """

    best: bool
    stop: bool
    reason: str = ""
    better: bool = False


class EarlyStopping:
    """Stops when dev has not improved for `patience` (Prechelt 1998, Early Stopping - But When?, section 2).

    `patience` counts evaluations or epochs since a look that was better than the last such look by more than a least
    change, or since the warm-up or the first lower rate after it (`lowered`) where that came later; None never stops.
    So small gains count once they add up. The best look is the highest, by however little. The first one, before
    training, is there to be beaten.
    """

    def __init__(self, patience: Span | None) -> None:
        self.patience = patience
        self.best: Look | None = None
        self.better: Look | None = None  # the last one that counted as better
        self.looks = 0
        self._since = (0, 0.0)  # looks and epochs from which patience counts
        self._lowered = False  # whether the rate was lowered since the last better look

    def see(self, look: Look, change: float = 0.0) -> Decision:
        """Take note of an evaluation; more than `change` above the last better one it is better."""
        self.looks += 1
        best, better = _above(look, self.best, 0.0), _above(look, self.better, change)
        if best:
            self.best = look
        if better:
            self.better, self._since, self._lowered = look, (self.looks, look.epoch), False
            return Decision(best, stop=False, better=True)
        if look.warming:
            self._since = (self.looks, look.epoch)
        if self.patience is None or self._waited(look, self.patience.unit) < self.patience.count:
            return Decision(best, stop=False)
        assert self.best is not None
        beyond = f" beyond {change:.2g}" if change else ""
        waited = f"{self.patience.count:g} {self.patience.unit}"
        reason = f"no improvement on dev{beyond} for {waited}; best at step {self.best.step}"
        return Decision(best, stop=True, reason=reason)

    def lowered(self, look: Look) -> None:
        """After `look` the rate is lower, because dev stalls: that has all of `patience` to show what it brings.

        Only the first one since the last better look has: if every lower rate began anew, training would never stop.
        """
        if not self._lowered:
            self._since, self._lowered = (self.looks, look.epoch), True

    def anew(self, epoch: float) -> None:
        """The run is back at its best look, in other circumstances: they have all of `patience`."""
        self._since, self._lowered = (self.looks, epoch), False

    def state(self) -> Snapshot:
        """What was seen."""
        best, better = (asdict(look) if look else None for look in (self.best, self.better))
        facts = {"looks": self.looks, "since": list(self._since), "lowered": self._lowered}
        return Snapshot(facts={"best": best, "better": better, **facts})

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then."""
        facts = snapshot.facts
        self.best, self.better = (Look(**facts[name]) if facts[name] else None for name in ("best", "better"))
        self.looks, self._lowered = facts["looks"], facts["lowered"]
        self._since = (facts["since"][0], facts["since"][1])

    def _waited(self, look: Look, unit: Unit) -> float:
        looks, epoch = self._since
        return look.epoch - epoch if unit == "epochs" else self.looks - looks


def _above(look: Look, other: Look | None, change: float) -> bool:
    """Whether a look is more than `change` above another; any is above none, any number above what is no number."""
    if other is None or math.isnan(other.value):
        return other is None or not math.isnan(look.value)
    return look.value > other.value + change
