"""The leaves of the rate's way: `train.schedule`, its options, `warmup` and `floor`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from embertune.errors import Problem
from embertune.recipe.options import Option, filled
from embertune.recipe.section import Section, leaf
from embertune.recipe.units import parse_span

ScheduleName = Literal["linear", "cosine", "constant", "cosine_with_restarts", "one_cycle", "plateau"]
WHERE = "train.schedule_options"


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule as the recipe sees it. `falls` tells that it can have a floor, `on_dev` that dev decides over it."""

    means: str
    source: str
    options: Mapping[str, Option]
    falls: bool = True
    on_dev: bool = False


_PATIENCE = Option("1 evaluation", "evaluations without a better one after which the rate falls")

SCHEDULES: dict[ScheduleName, ScheduleRow] = {
    "linear": ScheduleRow("a straight line down", "Devlin et al. 2019, arXiv:1810.04805, appendix A.2", {}),
    "cosine": ScheduleRow(
        "half a wave: long near the highest rate, long near the lowest",
        "Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, one cycle",
        {},
    ),
    "constant": ScheduleRow("the highest rate to the end", "", {}, falls=False),
    "cosine_with_restarts": ScheduleRow(
        "half a wave several times over, each from the highest rate",
        "Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5",
        {"cycles": Option(3, "how many times the rate falls", usual=(2, 10))},
    ),
    "one_cycle": ScheduleRow(
        "a wave up over the warm-up, a wave down to almost nothing",
        "Smith & Topin 2018, arXiv:1708.07120, section 3, as torch's OneCycleLR has it",
        {"div_factor": Option(25.0, "the highest rate over that of the first step", usual=(3, 100))},
    ),
    "plateau": ScheduleRow(
        "the highest rate, lowered each time dev has stopped improving",
        "as torch's ReduceLROnPlateau, with a threshold of zero",
        {
            "factor": Option(0.5, "what the rate is multiplied by each time", usual=(0.1, 0.9)),
            "patience": _PATIENCE,
        },
        on_dev=True,
    ),
}
assert set(SCHEDULES) == set(get_args(ScheduleName))


def _evaluations(text: str) -> str:
    if parse_span(text).unit != "evaluations":
        raise ValueError("counts in evaluations")
    return text


class ScheduleOptions(Section):
    """Settings of the schedule; each takes only its own."""

    cycles: Annotated[int, Field(ge=2)] | None = leaf(
        None, "how many times the rate falls", "a whole number of at least 2"
    )
    div_factor: Annotated[float, Field(gt=1)] | None = leaf(
        None, "the highest rate over that of the first step", "a number above 1"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] | None = leaf(
        None, "what the rate is multiplied by each time dev stalls", "a number between 0 and 1"
    )
    patience: Annotated[str, AfterValidator(_evaluations)] | None = leaf(
        None, "evaluations without a better one after which the rate falls", "a number of them, such as '2 evaluations'"
    )


def schedule_options(name: ScheduleName, given: ScheduleOptions | None) -> dict[str, Any]:
    """All options of the schedule, the table's defaults filled in."""
    return filled(SCHEDULES[name].options, given)


def warmup_steps(warmup: float | str, steps: int, per_epoch: float) -> int:
    """The steps over which the rate rises: a share of all `steps`, rounded up, or so many steps or epochs.

    A share always leaves the last step at the highest rate.
    """
    if isinstance(warmup, str):
        return parse_span(warmup).in_steps(per_epoch)
    return max(0, min(math.ceil(steps * warmup), steps - 1))


def problems_of_warmup(warmup: float | str, steps: int, per_epoch: float) -> Iterator[Problem]:
    """A warm-up that would never end."""
    rising = warmup_steps(warmup, steps, per_epoch)
    if rising >= steps:
        found = f"found {warmup!r}, which is {rising:,} steps, and the run has {steps:,}"
        fits = f"{steps // 10} steps" if steps >= 10 else "0.1"
        yield Problem("train.warmup", found, f"write less, such as {fits}, or train for longer")
