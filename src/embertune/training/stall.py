"""When dev has stopped improving for a while: what a lower rate and a thaw both wait for."""

from __future__ import annotations

import math
from collections.abc import Iterable

from embertune.training.guard import Look


def stalls(looks: Iterable[Look], patience: int) -> int:
    """How often `patience` looks in a row were no better than the best before them; each stall counts anew from zero.

    As torch's ReduceLROnPlateau counts, with a threshold of zero. A look that is no better while the rate still rises
    counts as none.
    """
    best, waited, found = -math.inf, 0, 0
    for look in looks:
        if look.value > best:
            best, waited = look.value, 0
        else:
            waited = 0 if look.warming else waited + 1
        if waited >= patience:
            found, waited = found + 1, 0
    return found
