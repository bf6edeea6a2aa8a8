"""How the learning rate moves: pure functions of the step, parity-tested with the field's own schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from embertune.recipe.schedules import ScheduleName, schedule_options, warmup_steps
from embertune.recipe.sections import TrainSection
from embertune.recipe.units import parse_span
from embertune.training.guard import Look
from embertune.training.stall import stalls


@dataclass(frozen=True)
class Schedule:
    """The way of the rate over `steps` steps, the first `rising` of them warm-up.

    `floor` is the share of the highest rate to which it falls, None for the schedule's own end; `options` are those of
    the recipe's table, all of them.
    """

    name: ScheduleName
    steps: int
    rising: int
    floor: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def schedule_of(train: TrainSection, steps: int, per_epoch: float, highest: float) -> Schedule:
    """The schedule of a resolved recipe, where `highest` is the highest rate that any layer reaches.

    The floor is a share of it, so that every layer falls to the same share of its own rate.
    """
    rising = warmup_steps(train.warmup, steps, per_epoch)
    floor = None if train.floor is None else train.floor / highest
    return Schedule(train.schedule, steps, rising, floor, schedule_options(train.schedule, train.schedule_options))


def rate_factor(schedule: Schedule, step: int, stalls: int = 0) -> float:
    """The factor of the highest rate at `step` (0-based; at `steps` the run is over), a number from 0 to 1.

    `stalls` is how often dev has stopped improving, which a plateau alone looks at.
    """
    if schedule.name == "one_cycle":
        return _one_cycle(schedule, step)
    if step < schedule.rising:
        return step / schedule.rising
    if schedule.name == "plateau":
        return max(schedule.floor or 0.0, float(schedule.options["factor"]) ** stalls)
    done = min(1.0, (step - schedule.rising) / max(1, schedule.steps - schedule.rising))
    return _between(schedule.floor or 0.0, 1.0, _FALLS[schedule.name](done, schedule.options))


def stalls_of(schedule: Schedule, looks: Iterable[Look]) -> int:
    """How often dev has stopped improving, as a plateau counts it; 0 for every other schedule."""
    if schedule.name != "plateau":
        return 0
    return stalls(looks, int(parse_span(schedule.options["patience"]).count))


def _linear(done: float, _: Mapping[str, Any]) -> float:
    return 1.0 - done


def _cosine(done: float, _: Mapping[str, Any]) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))


def _restarts(done: float, options: Mapping[str, Any]) -> float:
    return 0.0 if done >= 1.0 else _cosine(options["cycles"] * done % 1.0, options)


def _constant(_done: float, _: Mapping[str, Any]) -> float:
    return 1.0


#: From the share of the steps after warm-up that is done to what is left of the rate above its floor.
_FALLS: Mapping[str, Callable[[float, Mapping[str, Any]], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _restarts,
    "constant": _constant,
}

#: The first rate of one cycle over its last, where no floor is given: torch's `final_div_factor`.
_LAST = 1e4


def _one_cycle(schedule: Schedule, step: int) -> float:
    """Half a wave up, half a wave down; the highest rate is that of the last step of the warm-up, as in torch."""
    first = 1.0 / schedule.options["div_factor"]
    last = first / _LAST if schedule.floor is None else schedule.floor
    top, end = max(0, schedule.rising - 1), schedule.steps - 1
    if step < top:
        return _between(first, 1.0, 1.0 - _cosine(step / top, {}))
    return _between(last, 1.0, _cosine(min(1.0, (step - top) / max(1, end - top)), {}))


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
