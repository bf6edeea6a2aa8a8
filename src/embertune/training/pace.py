"""How fast training goes."""

from __future__ import annotations

import time


class Pace:
    """Texts per second and time left, from the steps since the last evaluation; evaluations are not counted."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.seconds_per_step = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin counting anew, after something that is not a training step."""
        self.last = time.perf_counter()

    def after(self, step: int, texts: int) -> tuple[float, float]:
        """Texts per second, smoothed, and seconds left in training steps."""
        now = time.perf_counter()
        took, self.last = now - self.last, now
        old = self.seconds_per_step
        self.seconds_per_step = took if old == 0.0 else 0.9 * old + 0.1 * took
        return texts / max(self.seconds_per_step, 1e-9), self.seconds_per_step * (self.steps - step)
