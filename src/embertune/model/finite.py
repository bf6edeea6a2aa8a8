"""Weights that are no numbers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def broken(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """How many numbers are NaN or infinite, of every tensor that has some."""
    counted = ((name, int((~tensor.detach().isfinite()).sum())) for name, tensor in weights.items())
    return {name: count for name, count in counted if count}
