"""Options of the rows of a table (losses, optimizers, schedules): each row takes only its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from embertune.errors import Problem


@dataclass(frozen=True)
class Option:
    """A setting of a row: its default, the values it may have and where its published range ends."""

    default: Any
    means: str
    usual: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()


def filled(options: Mapping[str, Option], given: BaseModel | None) -> dict[str, Any]:
    """The options of a row, the table's defaults where nothing is given."""
    written = _written(given)
    return {name: written.get(name, option.default) for name, option in options.items()}


def problems_of_options(
    where: str, row: str, options: Mapping[str, Option], given: BaseModel | None
) -> Iterator[Problem]:
    """Options at the path `where` that have no effect on the row, or values that it does not take."""
    written = _written(given)
    if given is not None and not written:
        yield Problem(where, "names no option", "leave it out")
    for name, value in written.items():
        path = f"{where}.{name}"
        if name not in options:
            takes = ", ".join(options) or "no options"
            yield Problem(path, f"has no effect on {row}", f"leave it out; {row} takes {takes}")
        elif options[name].choices and value not in options[name].choices:
            yield Problem(path, f"found {value!r}", f"{row} takes {', '.join(options[name].choices)}")


def unusual_options(where: str, options: Mapping[str, Option], given: BaseModel | None, source: str) -> Iterator[str]:
    """A note for each number outside its published range."""
    for name, value in _written(given).items():
        usual = options[name].usual
        if usual and not usual[0] <= float(value) <= usual[1]:
            yield f"{where}.{name}: {value} is unusual; {usual[0]:g} to {usual[1]:g} is published ({source})"


def _written(given: BaseModel | None) -> dict[str, Any]:
    """Every leaf that is not null."""
    names = type(given).model_fields if given is not None else ()
    return {name: value for name in names if (value := getattr(given, name)) is not None}
