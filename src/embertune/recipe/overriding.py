"""Leaves set by their dotted paths in a recipe as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def overridden(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `raw` with the leaves at the dotted paths in `changes` set, in their order."""
    copy: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in raw.items()}
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = copy
        for parent in parents:
            inner = place.get(parent)
            place[parent] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[parent]
        place[last] = value
    return copy
