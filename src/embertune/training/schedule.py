"""How the learning rate moves: pure functions of the step, parity-tested with the field's own schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

#: A schedule maps (step after warm-up, steps after warm-up) to a factor in [0, 1] of the highest rate.
Decay = Callable[[int, int], float]


def _linear(step: int, steps: int) -> float:
    return max(0.0, (steps - step) / max(1, steps))


def _cosine(step: int, steps: int) -> float:
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, steps)))))


def _constant(_step: int, _steps: int) -> float:
    return 1.0


#: linear: Devlin et al. 2019, appendix A.2; cosine: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, one cycle.
SCHEDULES: Mapping[str, Decay] = {"linear": _linear, "cosine": _cosine, "constant": _constant}


def warmup_steps(steps: int, warmup: float) -> int:
    """The steps over which the rate rises; `warmup` is a share of all steps, rounded up."""
    return math.ceil(steps * warmup)


def rate_factor(name: str, step: int, steps: int, warmup: float) -> float:
    """The factor of the highest rate at `step` of `steps` (0-based; at `steps` the run is over)."""
    rising = warmup_steps(steps, warmup)
    if step < rising:
        return step / max(1, rising)
    return SCHEDULES[name](step - rising, steps - rising)
