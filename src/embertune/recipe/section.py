"""What all sections of a recipe are made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen section: unknown keys are refused, numbers are not made from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)


def leaf(default: Any, means: str, expects: str) -> Any:
    """A field with what the recipe reference and the error messages say about it."""
    return Field(default, description=means, json_schema_extra={"expects": expects})
