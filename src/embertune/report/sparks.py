"""Curves in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: From low to high; the second for consoles that can write no others.
BARS, PLAIN = "▁▂▃▄▅▆▇█", "_.-~=+*#"
#: A value that is not finite.
GAP = "x"


def sparkline(values: Sequence[float], width: int, bars: str = BARS) -> str:
    """Up to `width` bars, lowest to highest value; of more values, some in between are left out."""
    if len(values) > width:
        values = [values[(len(values) - 1) * i // max(1, width - 1)] for i in range(width)]
    finite = [value / 2 for value in values if math.isfinite(value)]  # halves: no difference of them overflows
    low, span = min(finite, default=0.0), (max(finite, default=0.0) - min(finite, default=0.0)) or 1.0
    return "".join(
        bars[round((value / 2 - low) / span * (len(bars) - 1))] if math.isfinite(value) else GAP for value in values
    )
