"""The table of layers as every report tells it: one sentence, or a row for each where they differ."""

from __future__ import annotations

from collections.abc import Sequence

from embertune.report.numbers import percent
from embertune.watch import FROZEN, TRAINED, LayerLine


def alike(lines: Sequence[LayerLine]) -> bool:
    """Whether all layers are trained at one rate from the beginning, so that a table would say nothing."""
    return all(line.state == TRAINED for line in lines) and len({line.rate for line in lines}) <= 1


def summary(lines: Sequence[LayerLine]) -> str:
    """`10,646,784 of 22,713,216 parameters are trained (46.9 %), at up to 2e-05`."""
    whole = sum(line.parameters for line in lines)
    trained = sum(line.parameters for line in lines if line.state != FROZEN)
    top = rate(max((line.rate for line in lines if line.state != FROZEN), default=0.0))
    if alike(lines):
        return f"all {whole:,} parameters are trained, at up to {top}"
    return f"{trained:,} of {whole:,} parameters are trained ({percent(trained / (whole or 1))}), at up to {top}"


def rate(value: float) -> str:
    """`2e-05`, `1.3e-05`."""
    return f"{value:.2g}"


def when(line: LayerLine) -> str:
    """The rate of a layer and since when, or that it is frozen."""
    if line.state == FROZEN:
        return FROZEN
    return rate(line.rate) + ("" if line.state == TRAINED else f", {line.state}")


def shares(lines: Sequence[LayerLine]) -> list[float]:
    """The rate of each layer over the highest of them, from 0 to 1; 0 where it is frozen."""
    top = max((line.rate for line in lines if line.state != FROZEN), default=0.0) or 1.0
    return [0.0 if line.state == FROZEN else line.rate / top for line in lines]
