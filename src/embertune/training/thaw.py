"""Gradual unfreezing as a pure plan: what is still frozen after so many thaws, and the steps before which they come."""

from __future__ import annotations

from collections.abc import Callable

from embertune.errors import Problem, RecipeError
from embertune.model.freezing import Frozen
from embertune.recipe.freezing import UNFREEZE, ThawSection
from embertune.recipe.units import parse_span


def thaws(frozen: Frozen, section: ThawSection) -> int:
    """How many thaws there can be: from the top of the frozen layers down to `until`, then the embeddings if asked."""
    return -(-(frozen.blocks - section.until) // section.layers) + section.embeddings


def thawed(frozen: Frozen, section: ThawSection, times: int) -> Frozen:
    """What of `frozen` is left after `times` thaws; the same again once all are done. Patterns stay."""
    times = min(times, thaws(frozen, section))
    embeddings = frozen.embeddings and not (section.embeddings and times == thaws(frozen, section))
    return Frozen(max(section.until, frozen.blocks - times * section.layers), embeddings, frozen.patterns)


def thaw_steps(frozen: Frozen, section: ThawSection, step_at: Callable[[float], int], steps: int) -> tuple[int, ...]:
    """The steps before which a thaw comes, of a run of `steps`; none of those that hang on dev.

    `step_at` gives the step at which so many passes are done. Raises RecipeError where the first would come too late.
    """
    if section.until >= frozen.blocks:
        found = f"found {section.until}, and {frozen.blocks} layers are frozen: none would be thawed"
        raise RecipeError(Problem(f"{UNFREEZE}.until", found, f"write less than {frozen.blocks}"))
    if section.every == "plateau":
        return ()
    span, made = parse_span(section.every), list[int]()
    for turn in range(1, thaws(frozen, section) + 1):
        at = step_at(turn * span.count) if span.unit == "epochs" else int(turn * span.count)
        made.append(max(at, made[-1] + 1 if made else 1))
    if made[0] >= steps:
        found = f"found {section.every}, and training ends after {steps:,} steps: nothing would be thawed"
        raise RecipeError(Problem(f"{UNFREEZE}.every", found, "write less, train longer, or leave train.unfreeze out"))
    return tuple(step for step in made if step < steps)


def ramp_steps(section: ThawSection, steps_per_epoch: float, steps: int) -> int:
    """Over how many steps the rate of what was thawed rises."""
    ramp = parse_span(section.warmup).in_steps(steps_per_epoch)
    if ramp >= steps:
        found = f"found {section.warmup}, which is {ramp:,} steps, and the run has {steps:,}"
        raise RecipeError(Problem(f"{UNFREEZE}.warmup", found, "write less"))
    return ramp


def ramp(step: int, since: int, length: int) -> float:
    """The share of its rate that a layer thawed before step `since` has at `step`; a line from 0 to 1."""
    return min(1.0, (step - since) / length)
