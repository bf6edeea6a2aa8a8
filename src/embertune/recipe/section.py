"""What all sections of a recipe are made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A frozen section: unknown keys are refused, numbers are not made from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


#: For leaves of several values: a list as the tuple that a frozen section holds.
AS_TUPLE = BeforeValidator(_listed)


def leaf(default: Any, means: str, expects: str) -> Any:
    """A field with what the recipe reference and the error messages say about it."""
    return Field(default, description=means, json_schema_extra={"expects": expects})
