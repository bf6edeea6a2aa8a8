"""What a measurement decided, as the manifest of a run folder keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from embertune.recipe.distance import BY_DISTANCE

#: Leaves whose `auto` only a measurement on the model and the machine can decide, in the order of decision.
MEASURED = ("train.precision", "train.chunk", "train.prefix_cache", *BY_DISTANCE)


@dataclass(frozen=True)
class Measured:
    """The value that a measurement gave a setting, why in plain words, the figures it rests on, and the machine.

    The names of `figures` carry their units, such as `bfloat16_gflops`.
    """

    value: str | int | float | None
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)
    machine: str = ""


def as_record(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Plain values for JSON, by dotted path."""
    return {path: asdict(found) for path, found in measured.items()}


def from_record(record: Any) -> dict[str, Measured]:
    """What `as_record` wrote; `ValueError` for anything else."""
    try:
        return {str(path): Measured(**found) for path, found in record.items()}
    except (AttributeError, TypeError):
        raise ValueError("not a record of measured settings") from None
