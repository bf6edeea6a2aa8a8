"""The curve of a learning-rate range test: a drawing that needs nothing else, and lines of text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from embertune.report.scale import Scale, spanning

if TYPE_CHECKING:
    from embertune.training.ranging import Found

#: The drawing in its own units: left, right, top and bottom of the curve in it, and its whole width and height.
_LEFT, _RIGHT, _TOP, _BOTTOM, _WIDTH, _HEIGHT = 64, 736, 72, 372, 760, 420
#: A character of braille has two columns of four dots; their bits, from the top.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))

_STYLE = """
svg { color-scheme: light dark; background: #fcfbf9; font: 13px system-ui, sans-serif; }
text { fill: #626873; } .title { fill: #1c1f24; font-weight: 600; font-size: 15px; }
path { fill: none; stroke-linejoin: round; } .grid { stroke: #e2dfd9; } .raw { stroke: #626873; opacity: 0.4; }
.smooth { stroke: #1b5eb8; stroke-width: 2.5; }
.rate { stroke: #b0480f; stroke-dasharray: 5 4; } .told { fill: #b0480f; }
@media (prefers-color-scheme: dark) {
  svg { background: #14161a; } text { fill: #99a0ac; } .title { fill: #e5e6e9; } .grid { stroke: #2d3139; }
  .raw { stroke: #99a0ac; } .smooth { stroke: #7fb2ff; } .rate { stroke: #f79a63; } .told { fill: #f79a63; }
}
"""


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
    """The loss of every step, its average, and the rate that is proposed, if any."""
    axes = axes_of(found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>Learning-rate range test: {_told(found)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="30">Loss while the learning rate grows</text>',
        *_grid(axes),
        f'<text x="{_RIGHT}" y="{_BOTTOM + 42}" text-anchor="end">learning rate</text>',
        _path("raw", axes, [(point.rate, point.loss) for point in found.points]),
        _path("smooth", axes, [(point.rate, point.smooth) for point in found.settled]),
        *_mark(axes, found.rate),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _told(found: Found) -> str:
    return "no rate is proposed" if found.rate is None else f"{found.rate:.1e} is proposed"


def _mark(axes: Axes, rate: float | None) -> Iterator[str]:
    if rate is not None:
        x = _x(axes, rate)
        yield f'<path class="rate" d="M{x:.1f} {_TOP}V{_BOTTOM}"/>'
        yield f'<text class="told" x="{x:.1f}" y="{_TOP - 8}" text-anchor="middle">{rate:.1e}</text>'


def _grid(axes: Axes) -> Iterator[str]:
    for tick in axes.up.ticks(5):
        y = _BOTTOM - tick.at / 100 * (_BOTTOM - _TOP)
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick.label}</text>'
    for rate, label in axes.decades():
        yield f'<text x="{_x(axes, rate):.1f}" y="{_BOTTOM + 24}" text-anchor="middle">{label}</text>'


def _path(kind: str, axes: Axes, places: Sequence[tuple[float, float]]) -> str:
    at = (f"{_x(axes, rate):.1f} {_BOTTOM - axes.y(loss) * (_BOTTOM - _TOP):.1f}" for rate, loss in places)
    return f'<path class="{kind}" d="M{"L".join(at)}"/>'


def _x(axes: Axes, rate: float) -> float:
    return _LEFT + axes.x(rate) * (_RIGHT - _LEFT)


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
