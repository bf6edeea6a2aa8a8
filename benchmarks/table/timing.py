"""Seconds of training steps: how both sides are watched, take turns, and are summed up."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from embertune.engine.machine import synchronize
from embertune.watch import Progress, Silent


@dataclass(frozen=True)
class Took:
    """What one side did: seconds of every step but the first, the loss of every step, seconds of all of it.

    The first step is not counted because it cannot be told from what comes before it; a single one of the host's is.
    """

    steps: tuple[float, ...]
    losses: tuple[float, ...]
    whole: float


class Steps(Silent):
    """Notes when every step ends and what its loss was; a run of embertune takes it as its watcher."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.first: float | None = None
        self.ends: list[float] = []
        self.losses: list[float] = []

    def step(self, progress: Progress) -> None:
        """A step of embertune."""
        self.ended(progress.loss)

    def began(self) -> None:
        """A step of the host's trainer begins; its texts are tokenised already."""
        self.first = self.first or time.perf_counter()

    def ended(self, loss: float) -> None:
        """A step of either side is done."""
        synchronize(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.ends.append(time.perf_counter())
        self.losses.append(loss)

    def took(self) -> Took:
        """All of it, to be asked when the side has come back."""
        if len(self.ends) == 1 and self.first is not None:
            self.ends.insert(0, self.first)
        gaps = tuple(later - sooner for sooner, later in zip(self.ends, self.ends[1:], strict=False))
        return Took(gaps, tuple(self.losses), time.perf_counter() - self.started)


#: Does its side of a row's work and is watched.
Side = Callable[[Steps], None]


def once(side: Side) -> Took:
    """One turn of one side."""
    gc.collect()
    watch = Steps()
    side(watch)
    took = watch.took()
    gc.collect()
    return took


def turns(sides: Mapping[str, Side], rounds: int) -> dict[str, list[Took]]:
    """A B A B: every side once a round."""
    took: dict[str, list[Took]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            took[name].append(once(side))
            steps = took[name][-1].steps
            each = f"{median(steps):8.2f} s a step" if steps else f"{took[name][-1].whole:8.1f} s"
            print(f"  round {number + 1}  {name:<22}{each}", flush=True)
    return took


def ratios(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> dict[str, Any]:
    """How many times faster `fast` is: the ratio of the medians, and round by round."""
    rounds = [round(a / b, 3) for a, b in zip(seconds[slow], seconds[fast], strict=True)]
    return {"times faster": round(median(seconds[slow]) / median(seconds[fast]), 3), "by round": rounds}


def step_summary(took: Mapping[str, Sequence[Took]], slow: str, fast: str) -> dict[str, Any]:
    """Seconds a step (the median of each round), their ratio, and the loss at the last step of each side."""
    seconds = {name: [round(median(one.steps), 4) for one in runs] for name, runs in took.items()}
    return {
        "seconds a step": seconds,
        "median": {name: median(values) for name, values in seconds.items()},
        **ratios(seconds, slow, fast),
        "loss at the last step": {name: [round(one.losses[-1], 5) for one in runs] for name, runs in took.items()},
    }
