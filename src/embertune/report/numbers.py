"""How numbers are written in every report: the same digits, signs and units everywhere."""

from __future__ import annotations

import math

MINUS, NOTHING = "−", "–"


def number(value: float) -> str:
    """Four decimals, as the papers have them; a dash where the metric is undefined."""
    return f"{value:.4f}".replace("-", MINUS) if math.isfinite(value) else NOTHING


def signed(value: float) -> str:
    """Four decimals with their sign, but none at a change that rounds to zero."""
    if not math.isfinite(value):
        return NOTHING
    return number(0.0) if round(value, 4) == 0 else f"{value:+.4f}".replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """`[+0.0012, +0.0160]`; a dash where it is undefined."""
    return f"[{signed(low)}, {signed(high)}]" if math.isfinite(low) and math.isfinite(high) else NOTHING


def p_value(value: float) -> str:
    """Three decimals, and never a zero: resampling cannot show one."""
    if not math.isfinite(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def percent(share: float) -> str:
    """`12.3 %`; what is there is never shown as none of it, nor as all where something is missing."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else f"{share:.1%}".replace("%", " %")


def duration(seconds: float) -> str:
    """Seconds as people say them: `0.4 s`, `48 s`, `3 min 20 s`, `2 h 5 min`."""
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"
