"""Which model is saved: decided on dev, and on what the model could do before, ahead of any look at test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A state that could be saved.

    `name` is base, tuned (the best state in training), average (of those that were the best at their time) or
    interpolated(share), with that share of the base. `dev` is what it reaches there, higher being better, `error` the
    standard error of its difference to the best candidate. `kept` is by how much it does better than the best candidate
    at what the model could do before, `kept_error` the standard error of that; None where it was not measured.
    """

    name: str
    dev: float
    error: float | None = None
    kept: float | None = None
    kept_error: float | None = None


@dataclass(frozen=True)
class Choice:
    """The model that is saved, and why in plain words; `candidates` are those it was chosen from."""

    chosen: str
    reason: str
    candidates: tuple[Candidate, ...] = ()


def interpolated(share: float) -> str:
    """The name of the state with this share of the base."""
    return f"interpolated({share:g})"


def choose(best_step: int, steps: int, dev_metric: str | None, *, smaller: bool = False) -> Choice:
    """Among base and best state: the base where no look at dev beat it (`best_step` 0); the last state without dev.

    Where the trained model is `smaller` than the base, the choice is among states of the smaller one only.
    """
    if dev_metric is None:
        return Choice("tuned", f"no dev rows: the state after the last of {steps} steps")
    if smaller and best_step == 0:
        return Choice("tuned", f"no evaluation during training beat the smaller model's {dev_metric} at its start")
    if best_step == 0:
        return Choice("base", f"no evaluation during training beat the untouched model's {dev_metric} on dev")
    return Choice("tuned", f"best {dev_metric} on dev, at step {best_step} of {steps}")


def best_on_dev(candidates: Sequence[Candidate]) -> Candidate:
    """The first of those that reach most on dev."""
    return max(candidates, key=lambda one: one.dev)


def within_noise(candidates: Sequence[Candidate], best: Candidate) -> list[Candidate]:
    """The trained states other than `best` that dev cannot tell from it: one standard error below it at most.

    (Breiman et al. 1984, Classification and regression trees, section 3.4.3: the 1 SE rule.)
    """
    found = [one for one in candidates if one.name not in ("base", best.name)]
    return [one for one in found if one.error is not None and best.dev - one.dev <= one.error]


def keeping_most(candidates: Sequence[Candidate]) -> Candidate | None:
    """The one that keeps most, where that is more than the best on dev does by over a standard error."""
    able = [one for one in candidates if one.kept is not None and one.kept > (one.kept_error or 0.0)]
    return max(able, key=lambda one: one.kept or 0.0, default=None)


#: Names of candidates -> by how much each keeps more than the first, and the standard error of that; None where the
#: first has lost nothing that could be won back.
Keeping = Callable[[Sequence[str]], Sequence[tuple[float, float]] | None]


def choose_among(candidates: Sequence[Candidate], metric: str, first: Choice, keeping: Keeping) -> Choice:
    """Among all candidates: the best on dev; of those that dev cannot tell from it, the one that keeps most.

    `first` is what `choose` says. `keeping` is asked once, about the best and those within its noise.
    """
    best = best_on_dev(candidates)
    near = within_noise(candidates, best)
    asked = keeping([best.name, *(one.name for one in near)]) if near else None
    found = {one.name: told for one, told in zip(near, asked or (), strict=False)}
    told = tuple(_told(one, found.get(one.name)) for one in candidates)
    winner = keeping_most(told)
    if winner is not None:
        error = "" if winner.error is None else f", {winner.error:.4f} being one standard error"
        what = f"keeps more of what the model could do ({winner.kept:+.4f})"
        reason = (
            f"{what}, at {winner.dev - best.dev:+.4f} of {metric} on dev{error}, against the best there, {best.name}"
        )
        return Choice(winner.name, reason, told)
    reason = first.reason if best.name == first.chosen else f"best {metric} on dev of {len(candidates)} states"
    return Choice(best.name, reason, told)


def _told(one: Candidate, kept: tuple[float, float] | None) -> Candidate:
    if kept is None or not all(map(math.isfinite, kept)):
        return one
    return Candidate(one.name, one.dev, one.error, *kept)
