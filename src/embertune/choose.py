"""Which model is saved: decided on dev alone, before test is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Chosen = Literal["base", "tuned"]


@dataclass(frozen=True)
class Choice:
    """The model that is saved, and why in plain words."""

    chosen: Chosen
    reason: str


def choose(best_step: int, steps: int, dev_metric: str | None, *, smaller: bool = False) -> Choice:
    """The base where no evaluation on dev beat it (`best_step` 0), else the best state; the last one without dev.

    Where the trained model is `smaller` than the base, the choice is among states of the smaller one only.
    """
    if dev_metric is None:
        return Choice("tuned", f"no dev rows: the state after the last of {steps} steps")
    if smaller and best_step == 0:
        return Choice("tuned", f"no evaluation during training beat the smaller model's {dev_metric} at its start")
    if best_step == 0:
        return Choice("base", f"no evaluation during training beat the untouched model's {dev_metric} on dev")
    return Choice("tuned", f"best {dev_metric} on dev, at step {best_step} of {steps}")
