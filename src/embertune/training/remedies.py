"""What is done where training overfits: the next rung of the ladder, and the regime that it makes. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from embertune.recipe.remedying import Rung, RungName
from embertune.training.regime import Regime

#: By how much dropout rises at a time, and by how much weight decay is multiplied.
DROPOUT_STEP, DECAY_FACTOR = 0.1, 10.0


@dataclass(frozen=True)
class Means:
    """What decides whether a rung can be taken.

    The model has `blocks`, of which the lowest `frozen` are not trained. `thawing`, `rows` and `passes` say why layers
    may not be frozen, rows not be joined by others, and no pass be begun before its time; '' where nothing is in the
    way.
    """

    blocks: int
    frozen: int = 0
    thawing: str = ""
    rows: str = ""
    passes: str = ""


@dataclass(frozen=True)
class Change:
    """A rung that can be taken: the regime it makes, and what that is in words."""

    regime: Regime
    text: str

    def from_batch(self, before: Regime, origin: int) -> Change:
        """The same; other rows or batches than before begin a pass of their own at batch `origin`."""
        same = (before.augmented, before.batch) == (self.regime.augmented, self.regime.batch)
        return self if same else replace(self, regime=replace(self.regime, origin=origin))


@dataclass(frozen=True)
class Taken:
    """A rung that was chosen out of the ladder: its place there, and why those before it were passed over."""

    place: int
    rung: Rung
    change: Change
    passed: tuple[str, ...] = ()


def halved(regime: Regime) -> Change:
    """Half the rate, without a limit: where steps are not finite."""
    half = replace(regime, rate=regime.rate / 2)
    return Change(half, f"every rate is {half.rate:g} of what the recipe gives")


def next_rung(ladder: Sequence[Rung], after: int, regime: Regime, means: Means) -> Taken | None:
    """The first rung behind the place `after` (-1: none was taken yet) that changes something, round and round.

    None where every rung is at its limit, or cannot be taken.
    """
    passed = list[str]()
    for turn in range(1, len(ladder) + 1):
        place = (after + turn) % len(ladder)
        rung = ladder[place]
        found = _RUNGS[rung.name](regime, rung.limit, means)
        if isinstance(found, Change):
            return Taken(place, rung, found, tuple(passed))
        passed.append(f"{rung.name}: {found}")
    return None


def _rate(regime: Regime, limit: float, _: Means) -> Change | str:
    if regime.rate <= limit:
        return f"it is {regime.rate:g} of what it was already"
    rate = max(limit, regime.rate / 2)
    return Change(replace(regime, rate=rate), f"every rate is {rate:g} of what the recipe gives")


def _dropout(regime: Regime, limit: float, _: Means) -> Change | str:
    if not regime.dropout:
        return "the model has none"
    raised = {kind: max(rate, min(limit, round(rate + DROPOUT_STEP, 6))) for kind, rate in regime.dropout.items()}
    if raised == regime.dropout:
        return f"it is {max(raised.values()):g} already"
    text = " and ".join(f"{kind} {raised[kind]:g}" for kind in raised)
    return Change(replace(regime, dropout=raised), f"dropout is {text}")


def _weight_decay(regime: Regime, limit: float, _: Means) -> Change | str:
    decay = min(limit, round(regime.weight_decay * DECAY_FACTOR, 12))
    if not regime.weight_decay or decay <= regime.weight_decay:
        return f"it is {regime.weight_decay:g}"
    return Change(replace(regime, weight_decay=decay), f"weight decay is {decay:g}")


def _freeze(regime: Regime, limit: float, means: Means) -> Change | str:
    blocks = int(limit * means.blocks)
    if means.thawing:
        return means.thawing
    if blocks <= max(means.frozen, regime.frozen_blocks):
        return f"{max(means.frozen, regime.frozen_blocks)} of {means.blocks} blocks are frozen"
    text = f"the embeddings and {blocks} of {means.blocks} blocks are no longer trained"
    return Change(replace(regime, frozen_blocks=blocks), text)


def _augment(regime: Regime, limit: float, means: Means) -> Change | str:
    if regime.augmented or means.rows:
        return means.rows or "the rows have changed copies already"
    text = f"a copy of every row joined them, with {limit:.0%} of its words left out or swapped"
    return Change(replace(regime, augmented=limit), text)


def _batch_size(regime: Regime, limit: float, means: Means) -> Change | str:
    batch = max(int(limit), regime.batch // 2)
    if means.passes or batch >= regime.batch:
        return means.passes or f"a batch has {regime.batch} rows"
    return Change(replace(regime, batch=batch), f"a batch has {batch} rows")


_RUNGS: Mapping[RungName, Callable[[Regime, float, Means], Change | str]] = {
    "rate": _rate,
    "dropout": _dropout,
    "weight_decay": _weight_decay,
    "freeze": _freeze,
    "augment": _augment,
    "batch_size": _batch_size,
}


@dataclass(frozen=True)
class Remedy:
    """One that was taken after `step`: why, what it changed, and back to which step.

    `best` is the best value of dev when it was taken, `later` the best of the looks until the next one; None where
    there was none. Higher is better, a loss is below zero.
    """

    step: int
    rung: str
    reason: str
    text: str
    back_to: int
    best: float | None
    later: float | None = None

    @property
    def result(self) -> str:
        """Whether dev became better than its best afterwards, in words."""
        if self.later is None or self.best is None:
            return "dev was not looked at any more"
        best, later = (f"{abs(value):.4g}" for value in (self.best, self.later))
        if self.later > self.best:
            return f"dev became better, {later} after {best}"
        return f"dev did not become better than {best} ({later} at most)"
