"""The leaves `guard.on_overfit` and `guard.remedies`: what is done where training overfits, rung by rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from embertune.recipe.near import did_you_mean
from embertune.recipe.section import AS_TUPLE

OnOverfit = Literal["stop", "regularise", "warn"]
RungName = Literal["rate", "dropout", "weight_decay", "freeze", "augment", "batch_size"]


@dataclass(frozen=True)
class RungRow:
    """A remedy: what it does, the limit beyond which it does nothing more, and what that may be (`least` to `most`)."""

    means: str
    limit: float
    least: float
    most: float
    source: str


RUNGS: Mapping[RungName, RungRow] = {
    "rate": RungRow(
        "every rate is halved, down to this share of what it was",
        0.125,
        0.001,
        0.5,
        "Howard & Ruder 2018, arXiv:1801.06146, section 3.2: smaller steps forget less of what was learnt before",
    ),
    "dropout": RungRow(
        "dropout of every kind rises by 0.1, up to this rate",
        0.3,
        0.05,
        0.9,
        "Srivastava et al. 2014, Dropout, section 7.3",
    ),
    "weight_decay": RungRow(
        "weight decay is ten times what it was, up to this",
        0.1,
        0.0001,
        1.0,
        "Loshchilov & Hutter 2019, arXiv:1711.05101",
    ),
    "freeze": RungRow(
        "the embeddings and this share of the blocks, from below, are no longer trained",
        0.5,
        0.05,
        0.95,
        "Lee et al. 2019, arXiv:1911.03090",
    ),
    "augment": RungRow(
        "a changed copy of every training row joins them, with this share of its words left out or swapped",
        0.1,
        0.01,
        0.5,
        "Wei & Zou 2019, arXiv:1901.11196: 0.05 to 0.1",
    ),
    "batch_size": RungRow(
        "half the rows in a batch, down to this number",
        8,
        4,
        4096,
        "Keskar et al. 2017, arXiv:1609.04836",
    ),
}


@dataclass(frozen=True)
class Rung:
    """A remedy that a recipe names, with its limit."""

    name: RungName
    limit: float

    def __str__(self) -> str:
        return f"{self.name} {self.limit:g}"


def parse_rung(text: str) -> Rung:
    """`'dropout 0.3'` as a `Rung`; a bare name has the limit of the table. `ValueError` for anything else."""
    name, _, number = text.strip().partition(" ")
    named = next((one for one in RUNGS if one == name), None)
    if named is None:
        raise ValueError(f"names the remedy {name!r}; {did_you_mean(name, list(RUNGS), f'there are {_all()}')}")
    row = RUNGS[named]
    try:
        limit = float(number) if number else row.limit
    except ValueError:
        raise ValueError(f"gives {name} the limit {number.strip()!r}, which is no number") from None
    if not row.least <= limit <= row.most:
        raise ValueError(f"gives {name} the limit {limit:g}; it is from {row.least:g} to {row.most:g}")
    if named == "batch_size" and limit != int(limit):
        raise ValueError(f"gives {name} the limit {limit:g}; rows come in whole numbers")
    return Rung(named, limit)


def _all() -> str:
    return ", ".join(get_args(RungName))


def _with_limits(texts: tuple[str, ...]) -> tuple[str, ...]:
    rungs = [parse_rung(text) for text in texts]
    names = [rung.name for rung in rungs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"names {twice} twice")
    return tuple(map(str, rungs))


#: Rungs with their limits, in the order in which they are taken.
Remedies = Annotated[tuple[str, ...], AS_TUPLE, Field(min_length=1), AfterValidator(_with_limits)]


def with_remedies(guard: Any) -> Any:
    """The section as it is given; where it is to regularise and names no remedies, with all of them."""
    if isinstance(guard, Mapping) and guard.get("on_overfit") == "regularise" and guard.get("remedies") is None:
        return {**guard, "remedies": tuple(RUNGS)}
    return guard


def ladder_of(remedies: Sequence[str] | None) -> tuple[Rung, ...]:
    """The rungs that a checked recipe names."""
    return tuple(map(parse_rung, remedies or ()))
