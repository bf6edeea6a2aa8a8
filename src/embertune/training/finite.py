"""Numbers that are none: a model that has them is refused, a step that would bring them is told."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from embertune.errors import TrainingError
from embertune.model.finite import broken


def refuse(weights: Mapping[str, Tensor], when: str, remedy: str) -> None:
    """TrainingError where a weight is not finite; `when` says at which moment, such as `before training`."""
    if bad := broken(weights):
        name = next(iter(bad))
        more = f", and {len(bad) - 1} more like it" if len(bad) > 1 else ""
        found = f"{bad[name]:,} of {weights[name].numel():,} numbers of {name} are not finite {when}{more}"
        raise TrainingError("the model", found, remedy)


def trouble(loss: float, norm: float) -> str:
    """Why a step must not be taken, given its loss and the norm of its gradients; empty where it may."""
    if not math.isfinite(loss):
        return f"loss is {loss}"
    return "" if math.isfinite(norm) else f"gradient norm is {norm}"
