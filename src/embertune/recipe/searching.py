"""The section `search`: between what `embertune search` varies which settings, and on how many rows a trial trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field

from embertune.recipe.mixing import Share
from embertune.recipe.section import Section, leaf

Kind = Literal["log", "uniform", "whole", "choice"]
#: What may stand at a setting of `search.space`.
SPECS = "write {log: [low, high]}, {uniform: [low, high]}, {whole: [low, high]}, or a list of choices"
#: Up to so many rows a trial takes all; of more it takes a tenth, and no fewer than these.
ALL_ROWS, TENTH = 500, 0.1


@dataclass(frozen=True)
class Reach:
    """What a setting may become: numbers from `low` to `high` (of both ends), or one of `choices`."""

    kind: Kind
    low: float = 0
    high: float = 0
    choices: tuple[Any, ...] = ()

    def ends(self) -> tuple[Any, ...]:
        """The choices, or the two ends as a trial would have them."""
        if self.kind == "choice":
            return self.choices
        return (int(self.low), int(self.high)) if self.kind == "whole" else (float(self.low), float(self.high))


def parse_spec(spec: Any) -> Reach:
    """What stands at a setting of `search.space`; `ValueError` says what is wrong with it."""
    if isinstance(spec, list | tuple):
        return _choices(spec)
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise ValueError(f"found {spec!r}")
    (kind, ends), *_ = spec.items()
    if kind not in ("log", "uniform", "whole"):
        raise ValueError(f"found {kind!r}")
    numbers = ends if isinstance(ends, list | tuple) else ()
    if len(numbers) != 2 or not all(type(one) in (int, float) for one in numbers):
        raise ValueError(f"found {kind}: {ends!r}, which is not two numbers")
    low, high = numbers
    if not low < high:
        raise ValueError(f"found {kind}: [{low}, {high}], which is empty")
    if kind == "log" and low <= 0:
        raise ValueError(f"found log: [{low}, {high}], and a logarithm begins above 0")
    if kind == "whole" and not all(isinstance(one, int) for one in numbers):
        raise ValueError(f"found whole: [{low}, {high}], which are not whole numbers")
    return Reach(cast(Kind, kind), low, high)


def _choices(spec: list[Any] | tuple[Any, ...]) -> Reach:
    if len(spec) < 2:
        raise ValueError(f"found {list(spec)!r}, which leaves nothing to choose")
    return Reach("choice", choices=tuple(spec))


def _named(space: Mapping[str, Any]) -> Mapping[str, Any]:
    if not space:
        raise ValueError("names no setting")
    return space


class SearchSection(Section):
    """What `embertune search` varies; null for a plain run, which refuses the section."""

    space: Literal["auto"] | Annotated[Mapping[str, Any], AfterValidator(_named)] = leaf(
        "auto",
        "the settings that are varied, and between what; auto takes the ready space, sized to data and model",
        "auto, or a mapping of settings such as {train.learning_rate: {log: [1e-6, 1e-4]}, train.batch_size: [16, 64]}",
    )
    rows: Literal["auto"] | Share | Annotated[int, Field(ge=2)] = leaf(
        "auto",
        "the training rows of a trial, whole groups by hash, the same in all; auto takes a tenth, at least 500",
        "auto, a share such as 0.3, or a whole number of rows",
    )


def rows_of_trial(search: SearchSection | None, rows: int) -> tuple[int | None, str]:
    """How many of the training `rows` a trial takes, None for all, and why: twenty on a tenth are two runs on all."""
    asked = search.rows if search is not None else "auto"
    if asked == "auto":
        if rows <= ALL_ROWS:
            return None, f"{rows:,} rows: all, as fewer say little about a recipe"
        tenth = round(TENTH * rows)
        if tenth >= ALL_ROWS:
            return (
                tenth,
                f"a tenth of {rows:,} rows: twenty trials cost two full runs, fewer where they are ended early",
            )
        return ALL_ROWS, f"{rows:,} rows: {ALL_ROWS:,} of them, as fewer say little about a recipe"
    number = max(2, round(asked * rows)) if isinstance(asked, float) else asked
    if number >= rows:
        return None, f"search.rows: {asked}, and there are {rows:,}: all"
    return number, f"search.rows: {asked}"
