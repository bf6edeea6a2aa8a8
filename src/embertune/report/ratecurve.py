"""The curve of a learning-rate range test: a drawing that needs nothing else, and lines of text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from embertune.report.plots import MAIN, THIN, Axis, Line, Mark, Plot
from embertune.report.scale import Scale, spanning
from embertune.report.svg import as_file

if TYPE_CHECKING:
    from embertune.training.ranging import Found

#: A character of braille has two columns of four dots; their bits, from the top.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


@dataclass(frozen=True)
class Axes:
    """Where rates and losses stand, from 0 to 1; rates by their logarithm, what has exploded on the upper edge."""

    across: Scale
    up: Scale

    def x(self, rate: float) -> float:
        """0 for the lowest rate, 1 for the highest."""
        return self.across.at(math.log10(rate)) / 100

    def y(self, loss: float) -> float:
        """0 at the bottom, 1 at the top."""
        return self.up.at(loss) / 100

    def decades(self) -> Iterator[tuple[float, str]]:
        """The powers of ten, and how they are written."""
        for power in range(math.ceil(self.across.low), math.floor(self.across.high) + 1):
            yield 10.0**power, f"1e{power}"


def axes_of(found: Found) -> Axes:
    """The axes of a test; as far above its start as the curve falls below it, and no further."""
    smooth = [point.smooth for point in found.settled]
    ceiling = 2 * smooth[0] - min(smooth)
    return Axes(
        spanning(math.log10(point.rate) for point in (found.points[0], found.points[-1])),
        spanning((min(loss, ceiling) for loss in (*smooth, ceiling)), margin=0.08),
    )


def to_svg(found: Found) -> str:
    """The loss of every step, its average, and the rate that is proposed, if any; what has exploded is cut off."""
    axes = axes_of(found)
    lines = [
        Line("each step", THIN, [(point.rate, point.loss) for point in found.points]),
        Line("average", MAIN, [(point.rate, point.smooth) for point in found.settled]),
    ]
    told = "no rate is proposed" if found.rate is None else f"{found.rate:.1e} is proposed"
    marks = [] if found.rate is None else [Mark(found.rate, "remedy", f"{found.rate:.1e}")]
    title = "Learning-rate range test"
    x = Axis("learning rate", (10**axes.across.low, 10**axes.across.high), "log")
    y = Axis("loss while the learning rate grows", (axes.up.low, axes.up.high))
    return as_file(Plot("rate", title, f"{title}: {told}", x, y, lines, marks=marks))


def to_lines(found: Found, width: int = 60, height: int = 12) -> list[str]:
    """The averaged loss in braille, `width` by `height` characters, with the rate proposed, if any, marked below it."""
    axes = axes_of(found)
    grid = [[0] * width for _ in range(height)]
    dots = [(axes.x(point.rate) * (2 * width - 1), axes.y(point.smooth) * (4 * height - 1)) for point in found.settled]
    for x, y in _joined(dots):
        grid[height - 1 - y // 4][x // 2] |= _DOTS[x % 2][3 - y % 4]
    labels = {height - 1 - min(height - 1, int(tick.at / 100 * height)): tick.label for tick in axes.up.ticks(3)}
    lines = [
        f"{labels.get(row, ''):>6} {'┤' if row in labels else '│'}" + "".join(chr(0x2800 + cell) for cell in cells)
        for row, cells in enumerate(grid)
    ]
    below = [(axes.x(rate), label) for rate, label in axes.decades()]
    lines += [f"{'':>6} └" + "─" * width, f"{'':>8}" + _placed(below, width)]
    if found.rate is None:
        return lines
    return [*lines, f"{'':>8}" + _placed([(axes.x(found.rate), f"▲ {found.rate:.1e}")], width, first=True)]


def _joined(dots: Sequence[tuple[float, float]]) -> Iterator[tuple[int, int]]:
    """Every dot of the lines from one to the next."""
    for (x, y), (to_x, to_y) in pairwise(dots):
        count = max(1, math.ceil(max(abs(to_x - x), abs(to_y - y))))
        for step in range(count + 1):
            share = step / count
            yield round(x + share * (to_x - x)), round(y + share * (to_y - y))


def _placed(labels: Sequence[tuple[float, str]], width: int, *, first: bool = False) -> str:
    """Labels under their places, from 0 to 1; centred there, or with their first sign there."""
    line = [" "] * (width + 12)
    for place, label in labels:
        begin = round(place * (width - 1)) - (0 if first else len(label) // 2)
        line[max(0, begin) : max(0, begin) + len(label)] = label
    return "".join(line).rstrip()
