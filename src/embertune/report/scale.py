"""Values onto the length of an axis, in percent, and round numbers to write along it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

#: Percent of an axis to two digits: finer than any screen.
_DIGITS = 2


@dataclass(frozen=True)
class Tick:
    """A round number and where it stands, in percent of the axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value stands, from 0 to 100; values beyond the ends stand on them."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), _DIGITS)

    def ticks(self, about: int, sign: bool = False) -> tuple[Tick, ...]:
        """Around `about` round numbers within the axis; with `sign`, positive ones have a plus."""
        step = _round_step((self.high - self.low) / about)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return tuple(Tick(self.at(n * step), _label(n * step, digits, sign)) for n in range(first, last + 1))


def spanning(values: Iterable[float], margin: float = 0.0) -> Scale:
    """The scale over all finite values, wider by `margin` of its length at both ends; never of no length."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    room = (high - low) * margin
    if high - low < 1e-9 * max(1.0, abs(high)):
        room = max(abs(high) * 0.05, 0.01)
    return Scale(low - room, high + room)


def _round_step(raw: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= raw * (1 - 1e-9))


def _label(value: float, digits: int, sign: bool) -> str:
    if abs(value) < 1e-12:
        return "0"
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.replace("-", "−")
