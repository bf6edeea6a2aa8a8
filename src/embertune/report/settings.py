"""Settings of a recipe as a report shows them: short names, and values on one line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: What stands where a trial or a candidate does not have a setting.
ABSENT = "–"


def spelled(value: Any) -> str:
    """A value as a recipe has it, on one line, numbers to three digits: `2.4e-5`, `null`, `{layers: 4}`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{spelled(key)}: {spelled(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(spelled, value)) + "]"
    return str(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return f"{value:g}"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{float(f'{value:.3g}'):.12g}"
    mantissa, _, power = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(power)}"


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Each dotted path by its last part, or whole where another ends so too; in their order, each once."""
    whole = list(dict.fromkeys(paths))
    ends = [path.rpartition(".")[2] for path in whole]
    return {path: end if ends.count(end) == 1 else path for path, end in zip(whole, ends, strict=True)}


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paths at which some of them differ, or that only some have."""
    paths = dict.fromkeys(path for one in settings for path in one)
    return [path for path in paths if len({cell(one, path) for one in settings}) > 1]


def cell(settings: Mapping[str, Any], path: str) -> str:
    """The value at a path, a dash where there is none."""
    return spelled(settings[path]) if path in settings else ABSENT


def in_a_line(settings: Mapping[str, Any]) -> str:
    """All of them by their short names: `learning_rate 2e-5, warmup 0.1`."""
    names = short_names(settings)
    return ", ".join(f"{names[path]} {spelled(value)}" for path, value in settings.items())
