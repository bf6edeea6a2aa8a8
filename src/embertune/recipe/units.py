"""Settings with a unit: `3 evaluations`, `3 epochs`, `500 steps`, `0.25 epoch`, `1 standard error`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

Unit = Literal["steps", "epochs", "evaluations"]
_SPELLINGS: dict[str, Unit] = {
    "step": "steps",
    "steps": "steps",
    "epoch": "epochs",
    "epochs": "epochs",
    "evaluation": "evaluations",
    "evaluations": "evaluations",
}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s+([a-z]+)\s*")


@dataclass(frozen=True)
class Span:
    """A stretch of training: `count` of `unit`. Steps and evaluations are whole numbers, epochs may be fractions."""

    count: float
    unit: Unit

    def in_steps(self, steps_per_epoch: float) -> int:
        """The stretch in optimizer steps, at least one; not defined for evaluations."""
        if self.unit == "evaluations":
            raise ValueError("evaluations have no fixed length in steps")
        return max(1, round(self.count * steps_per_epoch if self.unit == "epochs" else self.count))


def parse_span(text: str) -> Span:
    """`'0.25 epoch'` as a `Span`; `ValueError` with the right spelling for anything else."""
    match = _PATTERN.fullmatch(text)
    unit = _SPELLINGS.get(match.group(2)) if match else None
    if match is None or unit is None:
        raise ValueError("needs a number and a unit, such as '500 steps', '0.25 epoch' or '3 evaluations'")
    count = float(match.group(1))
    if count <= 0:
        raise ValueError("must be above zero")
    if unit != "epochs" and count != int(count):
        raise ValueError(f"{unit} come in whole numbers")
    return Span(count, unit)


_ERRORS = re.compile(r"\s*(\d+(?:\.\d+)?)\s+standard errors?\s*")


def errors_in(text: str) -> float:
    """How many standard errors `'1 standard error'` is; `ValueError` with the right spelling for anything else."""
    match = _ERRORS.fullmatch(text)
    if match is None:
        raise ValueError("is neither a number nor so many standard errors, such as '1 standard error'")
    return float(match.group(1))


def _check_errors(text: str) -> str:
    if text != "auto":
        errors_in(text)
    return text


def span_text(units: tuple[str, ...], *, auto: bool = False) -> Any:
    """A validator: text that counts in one of `units`, or is `auto` where that may stand."""

    def check(text: str) -> str:
        if auto and text == "auto":
            return text
        if parse_span(text).unit not in units:
            raise ValueError(f"counts in {' or '.join(units)}")
        return text

    return AfterValidator(check)


EveryText = Annotated[str, span_text(("steps", "epochs"), auto=True)]
StretchText = Annotated[str, span_text(("steps", "epochs"))]
PatienceText = Annotated[str, span_text(("evaluations", "epochs"))]
ErrorsText = Annotated[str, AfterValidator(_check_errors)]
