"""What history.jsonl tells of the guard: every look with its diagnosis, remedies, layers thawed, steps skipped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Glance:
    """A look at dev. `value` is the metric that steers, losses are without dropout; None where not measured.

    `error` is the standard error of the difference of `value` from that of the best look before.
    """

    step: int
    epoch: float
    value: float | None
    best: bool
    train_loss: float | None = None
    dev_loss: float | None = None
    diagnosis: str = ""
    reason: str = ""
    error: float | None = None


@dataclass(frozen=True)
class Remedy:
    """A rung that was taken at `step`, from the state of step `back_to`: why, and what it changed.

    `result` is empty until it was judged, `value` the best of dev from then on.
    """

    step: int
    rung: str
    reason: str
    back_to: int
    text: str = ""
    result: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened at a step: layers thawed, negatives mined anew, a step skipped."""

    step: int
    kind: str
    text: str


@dataclass(frozen=True)
class Story:
    """All of it, by step. `events` are what needs no judgement; `lower` where less of the metric is better."""

    looks: tuple[Glance, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    events: tuple[Event, ...] = ()
    lower: bool = False

    @property
    def diagnosis(self) -> Glance | None:
        """The last look that has one."""
        return next((look for look in reversed(self.looks) if look.diagnosis), None)

    @property
    def skipped(self) -> int:
        """How many steps changed nothing."""
        return sum(event.kind == "skipped" for event in self.events)

    @property
    def helped(self) -> tuple[str, ...]:
        """The rungs after which, until the next one, dev was better than ever before."""
        ends = [*(remedy.step for remedy in self.remedies[1:]), math.inf]
        better = (
            self._best(-1, remedy.step) < self._best(remedy.step, end)
            for remedy, end in zip(self.remedies, ends, strict=False)
        )
        return tuple(remedy.rung for remedy, helps in zip(self.remedies, better, strict=True) if helps)

    @property
    def fell_at_once(self) -> bool:
        """Whether dev was worse at the first look in training than before it, and no better at the last."""
        heights = [self._height(look) for look in self.looks]
        return len(heights) > 1 and heights[-1] <= heights[1] < heights[0]

    def _best(self, after: float, until: float) -> float:
        return max((self._height(look) for look in self.looks if after < look.step <= until), default=-math.inf)

    def _height(self, look: Glance) -> float:
        if look.value is None or not math.isfinite(look.value):
            return -math.inf
        return -look.value if self.lower else look.value

    def shown(self, most: int, best_step: int) -> list[Glance]:
        """The looks, of more than `most` some: the first, the last, that of `best_step`, and others evenly between."""
        last = len(self.looks) - 1
        spread = {last * i // max(1, most - 1) for i in range(most)}
        return [look for place, look in enumerate(self.looks) if place in spread or look.step == best_step]

    def as_record(self) -> dict[str, Any]:
        """What metrics.json keeps of it."""
        last = self.diagnosis
        return {
            "diagnosis": {"name": last.diagnosis, "reason": last.reason} if last else None,
            "remedies": [vars(remedy) for remedy in self.remedies],
            "skipped_steps": self.skipped,
        }


def story(history: Records, metric: str | None) -> Story:
    """What the records of history.jsonl tell, `metric` being the dev metric that steered."""
    looks = {record["step"]: _seen(record, metric) for record in history if record.get("dev")}
    return Story(
        tuple(looks[step] for step in sorted(looks)),
        tuple(_remedies(history)),
        tuple(event for record in history for event in _events(record)),
        lower=metric == "loss",
    )


def _seen(record: Mapping[str, Any], metric: str | None) -> Glance:
    dev, signs = record["dev"], record.get("signs") or {}
    return Glance(
        record["step"],
        record.get("epoch") or 0.0,
        dev.get(metric or next(iter(dev))),
        bool(record.get("best")),
        signs.get("train_loss"),
        signs.get("dev_loss"),
        record.get("diagnosis") or "",
        record.get("reason") or "",
        signs.get("error"),
    )


def _remedies(history: Records) -> list[Remedy]:
    """Each with what it was judged to have done, which a later line says."""
    found: list[Remedy] = []
    for record in history:
        if rung := record.get("remedy"):
            found.append(Remedy(record["step"], rung, record["reason"], record["back_to"], record.get("text") or ""))
        elif rung := record.get("remedy_result"):
            waiting = (place for place, one in enumerate(found) if one.rung == rung and not one.result)
            for place in islice(waiting, 1):
                found[place] = replace(found[place], result=record.get("text") or "", value=record.get("value"))
    return found


def _events(record: Mapping[str, Any]) -> list[Event]:
    step = record.get("step", 0)
    if why := record.get("skipped"):
        return [Event(step, "skipped", f"step skipped: {why}")]
    if layers := record.get("thawed"):
        return [Event(step, "thawed", f"thawed: {', '.join(layers) if isinstance(layers, list) else layers}")]
    return [Event(step, "negatives", f"negatives {record['negatives']}")] if _mined_anew(record) else []


def _mined_anew(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("negatives"), str)
