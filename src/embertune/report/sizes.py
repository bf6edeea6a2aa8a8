"""What models of several sizes reach: blocks taken out, shorter vectors, vectors cut off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from embertune.evaluate.resampling import bootstrap
from embertune.evaluate.scene import Scene
from embertune.evaluate.score import Scores
from embertune.evaluate.seen import SizePoint

_RESAMPLES = 2_000  # of an interval in a drawing


def size_points(
    scene: Scene, before: Sequence[Scores], after: Sequence[Scores], sizes: Mapping[str, Mapping[str, Any]], seed: int
) -> tuple[SizePoint, ...]:
    """The primary metric at each size that was measured, with the interval of the value alone.

    `sizes` has blocks and dimensions of `baseline` and `tuned`. Empty where the model has one size only.
    """
    if scene.shown is None or not (scene.lengths or sizes["baseline"] != sizes["tuned"]):
        return ()
    models = {"baseline": before} | ({} if after is before else {"tuned": after})
    return tuple(point for name, scores in models.items() for point in _points(name, scene, scores, sizes[name], seed))


def _points(
    model: str, scene: Scene, scores: Sequence[Scores], size: Mapping[str, Any], seed: int
) -> Iterator[SizePoint]:
    assert scene.shown is not None
    label = scene.shown.metric.removeprefix(f"{scene.shown.name}_")
    whole = next(one.name for one in scene.tests if one.name in _names(scene.shown.evalset.name))
    by_name = {one.name: one for one in scores}
    dimensions = {whole: size["dimensions"], **{f"{whole}-{length}": length for length in scene.lengths}}
    held = [by_name[name] for name in dimensions]
    drawn = bootstrap([one.statistic(f"{one.name}_{label}") for one in held], held[0].groups, _RESAMPLES, seed)
    for one, values in zip(held, drawn, strict=True):
        known = values[np.isfinite(values)]
        low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
        value = one.values[f"{one.name}_{label}"]
        held_in = (dimensions[one.name], size["blocks"], value, float(low), float(high), by_name[whole].seconds)
        yield SizePoint(model, *held_in)


def _names(name: str) -> tuple[str, str]:
    """A set's name, and that without the length in it."""
    return name, name.rpartition("-")[0]
