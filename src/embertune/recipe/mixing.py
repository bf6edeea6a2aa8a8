"""`train.keep_general`: how much of the model as it was is mixed into the one that is saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from embertune.errors import Problem
from embertune.recipe.section import AS_TUPLE

#: A share of the weights of the model as it came; the rest is that of the trained one.
Share = Annotated[float, Field(gt=0, lt=1)]
KeepGeneral = Literal["auto"] | Share | Annotated[tuple[Share, ...], AS_TUPLE, Field(min_length=1, max_length=3)] | None

#: The shares that `auto` tries, with base, best state and average six candidates; and that where looks are dear.
TRIED, ONE = (0.25, 0.5, 0.75), (0.5,)
_LEAF = "train.keep_general"


def looks_of_choice(keep: KeepGeneral) -> int:
    """How many states are looked at on dev, at most, once training is over: mixtures, and the average beside them."""
    return 1 + len(keep) if isinstance(keep, tuple) else 0


def problems_of_mixing(keep: KeepGeneral, *, dev: bool, smaller: bool, metric: str | None) -> Iterator[Problem]:
    """What rules it out: a model of another size than the one that came, and nothing that could choose a share."""
    if keep in (None, "auto"):
        return
    if smaller:
        found = f"found {_said(keep)}, and the model is made smaller: weights of two sizes cannot be mixed"
        yield Problem(_LEAF, found, "leave it out, or leave out model.layers and model.dimensions")
    if isinstance(keep, tuple) and not dev:
        yield Problem(_LEAF, f"found {_said(keep)} without dev rows to choose by", "write one share, or give data.dev")
    if isinstance(keep, tuple) and metric == "loss":
        found = f"found {_said(keep)} with guard.metric: loss, which is measured in training alone"
        yield Problem(_LEAF, found, "write one share, or another guard.metric")


def _said(keep: KeepGeneral) -> str:
    return str(list(keep)) if isinstance(keep, tuple) else str(keep)
