"""What the signs of a run mean: one name, and the reason in plain words. Pure functions of what was seen so far.

Rules are tried in order, the first that holds decides. Differences are judged in their own standard errors; where a
threshold is not a matter of statistics it was measured (docs/lab.md, prove/overfitting.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from embertune.training.signs import Signs

Name = Literal[
    "improving", "plateau", "overfitting", "diverging", "collapsing", "underfitting", "noisy dev", "leak suspected"
]

#: Standard errors by which dev must have fallen below its best: at one look, or at each of two in a row.
FALLEN, FALLEN_TWICE = 3.0, 1.5
#: Standard errors beyond which a difference is no chance: the usual 5 %, two-sided.
BEYOND = 1.96
#: A loss so many times that of the model as it came has exploded.
EXPLODED = 1.5
#: Steps that were skipped since the look before, because something was not finite, and are no accident any more.
SKIPPED = 3
#: Embeddings lie on one spot: mean cosine above this, and this share of what it was away from one is left.
ON_ONE_SPOT, LEFT = 0.95, 0.5
#: Looks without a better one that make a plateau.
FLAT = 3
#: Passes over the rows after which dev rows that are no harder than training rows are odd; the share of its own fall
#: by which the dev loss must stay behind the train loss, and how far that must have fallen.
PASSES, BEHIND, FALL = 3.0, 0.05, 0.5


@dataclass(frozen=True)
class Diagnosis:
    """What a run suffers from, or that it does well; the reason in one sentence with its numbers."""

    name: Name
    reason: str


@dataclass(frozen=True)
class Scope:
    """What the signs are about: the dev metric and over how many items, and how many steps the run has.

    A metric named `loss` is better when it is lower.
    """

    metric: str
    items: int
    steps: int


def diagnose(signs: Sequence[Signs], scope: Scope) -> Diagnosis | None:
    """The diagnosis after the last of the looks so far; None after the first, which has nothing to be compared with."""
    if len(signs) < 2:
        return None
    seen = _Seen(signs, scope)
    found = next(found for rule in _RULES if (found := rule(seen)) is not None)
    return Diagnosis(found.name, found.reason + _disagreement(seen))


class _Seen:
    """The looks so far, and what is often asked of them."""

    def __init__(self, signs: Sequence[Signs], scope: Scope) -> None:
        self.signs, self.scope = signs, scope
        self.start, self.now = signs[0], signs[-1]
        self.best = max(signs[:-1], key=self.height)

    def height(self, look: Signs) -> float:
        """The dev metric, higher is better; what is no number is worst."""
        if look.value is None or math.isnan(look.value):
            return -math.inf
        return -look.value if self.scope.metric == "loss" else look.value

    def above_best(self, look: Signs) -> float:
        """By how many standard errors a look is above the best one before it; 0 where that is not known."""
        before = self.signs[: self.signs.index(look)]
        if not before or not look.error:
            return 0.0
        gained = self.height(look) - max(map(self.height, before))
        return gained / look.error if math.isfinite(gained) else 0.0

    def moved(self, before: Signs) -> str:
        """The dev metric from an earlier look to this one, in words."""
        if before.value == self.now.value:
            return f"{self.scope.metric} is {_number(self.now.value)}, as at step {before.step:,}"
        return f"{self.scope.metric} from {_number(before.value)} (step {before.step:,}) to {_number(self.now.value)}"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"


def _disagreement(seen: _Seen) -> str:
    """Points out that the dev loss says the opposite of the dev metric, both compared with the best look before."""
    now, best = seen.now, seen.best
    if seen.scope.metric == "loss" or now.dev_loss is None or best.dev_loss is None or not now.dev_loss_error:
        return ""
    metric, loss = seen.above_best(now), (best.dev_loss - now.dev_loss) / now.dev_loss_error
    if min(abs(metric), abs(loss)) < BEYOND or metric * loss > 0:
        return ""
    moved = f"{best.dev_loss:.4g} to {now.dev_loss:.4g}"
    return f"; the loss on dev rows says otherwise: it {'fell' if loss > 0 else 'rose'} from {moved}"


def _diverging(seen: _Seen) -> Diagnosis | None:
    now, start = seen.now, seen.start
    for what, value in (("the training loss", now.loss), ("the loss on training rows", now.train_loss)):
        if value is not None and not math.isfinite(value):
            return Diagnosis("diverging", f"{what} is no finite number any more")
    skipped = now.skipped - seen.signs[-2].skipped
    if skipped >= SKIPPED:
        return Diagnosis("diverging", f"{skipped} steps since the last look had a loss or gradient that is not finite")
    if start.train_loss is None or now.train_loss is None:
        return None
    if now.train_loss > EXPLODED * start.train_loss + (now.train_error or 0.0) * BEYOND:
        reason = f"the loss on training rows rose from {start.train_loss:.4g}, before training, to {now.train_loss:.4g}"
        return Diagnosis("diverging", reason)
    return None


def _collapsing(seen: _Seen) -> Diagnosis | None:
    now, start = seen.now, seen.start
    if now.cosine is None or start.cosine is None or now.cosine < ON_ONE_SPOT:
        return None
    if 1 - now.cosine > LEFT * (1 - start.cosine):
        return None
    rank = f", effective rank {start.rank:.0f} became {now.rank:.0f}" if now.rank and start.rank else ""
    reason = f"embeddings of different texts move to one spot: mean cosine {start.cosine:.2f} became {now.cosine:.3f}"
    return Diagnosis("collapsing", reason + rank)


def _overfitting(seen: _Seen) -> Diagnosis | None:
    now, best = seen.now, seen.best
    fallen = -seen.above_best(now)
    again = len(seen.signs) > 2 and -seen.above_best(seen.signs[-2]) >= FALLEN_TWICE
    if fallen < FALLEN and not (fallen >= FALLEN_TWICE and again):
        return None
    if now.train_loss is None or best.train_loss is None or now.train_loss >= best.train_loss:
        return None
    learnt = f"the loss on training rows still fell from {best.train_loss:.4g} to {now.train_loss:.4g}"
    reason = f"{seen.moved(best)} is a fall of {fallen:.1f} standard errors, while {learnt}"
    return Diagnosis("overfitting", reason)


def _leak(seen: _Seen) -> Diagnosis | None:
    now, start = seen.now, seen.start
    learnt, of_dev = _fall(start.train_loss, now.train_loss), _fall(start.dev_loss, now.dev_loss)
    if now.epoch < PASSES or learnt is None or of_dev is None or of_dev < (1 - BEHIND) * learnt:
        return None
    assert start.train_loss is not None
    if learnt < FALL * start.train_loss or not _risen(seen):
        return None
    reason = (
        f"after {now.epoch:.1f} passes the loss on dev rows fell as far as on training rows ({start.dev_loss:.4g} to "
        f"{now.dev_loss:.4g}, and {start.train_loss:.4g} to {now.train_loss:.4g}), as if dev had been trained on"
    )
    return Diagnosis("leak suspected", reason)


def _risen(seen: _Seen) -> bool:
    """Whether the dev metric is above its start by more than chance: dev rows that were trained on are answered."""
    gained = seen.height(seen.now) - seen.height(seen.start)
    return gained > BEYOND * (seen.now.error or 0.0)


def _fall(before: float | None, now: float | None) -> float | None:
    return before - now if before is not None and now is not None else None


def _noisy(seen: _Seen) -> Diagnosis | None:
    if len(seen.signs) <= FLAT or not seen.now.error or seen.scope.items < 1:
        return None
    if any(abs(seen.above_best(look)) >= BEYOND for look in seen.signs[1:]):
        return None
    width = BEYOND * seen.now.error
    heights = [seen.height(look) for look in seen.signs]
    if max(heights) - min(heights) < width / 3:
        return None
    reason = (
        f"no look differs from the best by more than chance: with {seen.scope.items:,} dev items a difference in "
        f"{seen.scope.metric} is known to ±{width:.2g}; about {9 * seen.scope.items:,} would make it ±{width / 3:.2g}"
    )
    return Diagnosis("noisy dev", reason)


def _underfitting(seen: _Seen) -> Diagnosis | None:
    now = seen.now
    if now.step < seen.scope.steps or len(seen.signs) <= FLAT:
        return None
    before = seen.signs[-3]
    gained = seen.height(now) - seen.height(before)
    if seen.height(now) <= seen.height(seen.best) or not now.error or gained < BEYOND * now.error:
        return None
    return Diagnosis("underfitting", f"{seen.moved(before)}: still rising when training ended")


def _improving(seen: _Seen) -> Diagnosis | None:
    since = [look for look in seen.signs[-FLAT:] if seen.above_best(look) > 1.0]
    if not since and len(seen.signs) > FLAT:
        return None
    if since and seen.height(seen.now) > seen.height(seen.best):
        return Diagnosis("improving", seen.moved(seen.best))
    if since:
        return Diagnosis("improving", f"{seen.moved(seen.best)}, which chance may make")
    return Diagnosis("improving", f"{seen.moved(seen.start)}; too early to say more")


def _plateau(seen: _Seen) -> Diagnosis:
    best = max(seen.signs, key=seen.height)
    reason = f"the last {FLAT} looks are not better than the best ({_number(best.value)} at step {best.step:,})"
    return Diagnosis("plateau", f"{reason} by more than chance")


_RULES: tuple[Callable[[_Seen], Diagnosis | None], ...] = (
    _diverging,
    _collapsing,
    _overfitting,
    _leak,
    _underfitting,
    _noisy,
    _improving,
    _plateau,
)
