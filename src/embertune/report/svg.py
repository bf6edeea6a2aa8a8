"""Plots drawn by matplotlib, as SVG that takes its colours from the page.

While matplotlib draws, colours are placeholders; then they become names of the page's own, so that one drawing serves
light, dark and paper. Letters stay text. matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup, escape

from embertune.report.plots import KINDS, LEVEL, Axis, Bins, Line, Look, Mark, Plot
from embertune.report.shown import shortened, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The size of a plot in its own units, in which letters are `_LETTERS` high; a page scales it to its column.
WIDTH, HEIGHT, _LETTERS = 400, 240, 11.5
#: What is seen of it, and with room around it.
_VIEW, _WITH_ROOM = f"0 0 {WIDTH} {HEIGHT}", f"-16 -14 {WIDTH + 32} {HEIGHT + 26}"
#: Where the axes stand: left, bottom, width and height, as shares.
_BOX = (0.115, 0.16, 0.86, 0.7)
#: Characters that all names along an axis have together.
_ALONG = 60
#: Characters of a label within a plot, and of what is said of it; whole names stand beside it.
_LABEL, _ABOUT = 44, 600
#: The colours of the page, as style.css names them.
_THEME = ("paper", "ink", "soft", "line", "accent", "against", "third", "fourth")
_HOLDER = {name: f"#a{place}b{place}c{place}" for place, name in enumerate(_THEME)}
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": _HOLDER["soft"],
    "font.size": _LETTERS,
    "path.simplify": False,
    "lines.scale_dashes": False,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 1.1,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": _HOLDER["line"],
    "axes.labelcolor": _HOLDER["soft"],
    "axes.labelsize": _LETTERS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _HOLDER["line"],
    "grid.linewidth": 1.0,
    "xtick.labelcolor": _HOLDER["soft"],
    "ytick.labelcolor": _HOLDER["soft"],
    "xtick.color": _HOLDER["line"],
    "xtick.major.size": 4,
    "ytick.major.size": 0,
}
_SVG = "http://www.w3.org/2000/svg"
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
#: What XML cannot hold, beyond what `visible` writes out.
_NEVER = re.compile("[\ufffe\uffff]")
_USED = re.compile(r"url\(#(\w+)\)")
_COLOURS = re.compile("|".join(_HOLDER.values()))
_FONT = re.compile(r"font: (?:bold )?(?P<size>[\d.]+px) [^;]+|font-family: [^;]+;? ?")
_LONG_NUMBER = re.compile(r"\d+\.\d{3,}")


def draw(plots: Sequence[Plot]) -> list[Markup]:
    """Each plot as an element of a page that has the colours; the same plots give the same bytes."""
    if not plots:
        return []
    with _quietly():
        return [_drawn(plot) for plot in plots]


def as_file(plot: Plot) -> str:
    """A plot as an SVG file of its own, for light and dark screens."""
    colours = (files("embertune.report") / "colours.css").read_text(encoding="utf-8")
    style = f"{colours}svg {{ background: var(--paper); font-family: system-ui, sans-serif; }}"
    (drawing,) = draw([plot])
    told = f"<title>{escape(_clean(plot.about))}</title><style>{style}</style>"
    element, rest = drawing.removeprefix("<svg ").replace(_VIEW, _WITH_ROOM).split(">", 1)
    return f'<svg xmlns="{_SVG}" width="{2 * WIDTH}" height="{2 * HEIGHT}" {element}>{told}{rest}\n'


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside, matplotlib has our style and nobody else's, and warns of no folder and of no letter."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)  # where no home can be written, it says where else its list of fonts is
    try:
        import matplotlib.style

        with warnings.catch_warnings(), matplotlib.style.context(["default", _STYLE]):
            warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # a browser has other fonts
            yield
    finally:
        logger.setLevel(level)


def _drawn(plot: Plot) -> Markup:
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
    figure.text(0, 1, _label(plot.y.label), va="top")
    _fill(figure.add_axes(_BOX), plot)
    written = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": plot.name}):  # what is named in one drawing is named so in no other
        figure.savefig(written, format="svg", metadata=_NO_METADATA)
    return _themed(written.getvalue(), plot.about)


def _fill(axes: Axes, plot: Plot) -> None:
    """Draw all that is on a plot, what lies below first."""
    axes.set_xlabel(_label(plot.x.label), loc="right", labelpad=2)
    if plot.x.numbers == "log":
        axes.set_xscale("log")
    if plot.y.ends is not None:
        axes.set_ylim(*plot.y.ends)
    if plot.level is not None:
        axes.axhline(plot.level, **_stroke(LEVEL))
    _marks(axes, plot.marks)
    for bins in plot.bins:
        _bins(axes, bins)
    for line in plot.lines:
        _line(axes, line)
    if plot.ring is not None:
        inner, outer = _HOLDER["paper"], _HOLDER["accent"]
        axes.plot(*plot.ring, "o", ms=11, mfc=inner, mec=outer, mew=2.5, clip_on=False)
    for x, y, text in plot.notes:
        axes.annotate(_label(text), (x, y), (0, 8), textcoords="offset points", ha="center")
    _axis(axes.xaxis, plot.x, axes.set_xlim)
    _axis(axes.yaxis, plot.y, axes.set_ylim)


def _axis(axis: Any, wanted: Axis, between: Callable[[float, float], Any]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

    if wanted.ends is not None:
        between(*wanted.ends)
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=wanted.numbers == "whole"))
    if wanted.numbers == "whole":
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    elif wanted.numbers == "rate":
        axis.set_major_formatter(FuncFormatter(lambda value, _: _rate(value)))
    elif wanted.numbers == "log":
        _named(axis, {value: _power(value) for value in log_ticks(*axis.get_view_interval())})
    else:
        plain = ScalarFormatter(useOffset=False)
        plain.set_scientific(False)
        axis.set_major_formatter(plain)
    if wanted.names:
        _named(axis, {place: _clean(name) for place, name in wanted.names.items()})


def _named(axis: Any, names: Mapping[float, str]) -> None:
    from matplotlib.ticker import NullLocator

    axis.set_ticks(list(names), [shortened(name, max(3, _ALONG // len(names))) for name in names.values()])
    axis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> list[float]:
    """Some round numbers between two positive ends, evenly spread over their logarithms."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), range(1, 10), [n / 10 for n in range(10, 100)]):
        found = [digit * 10.0**power for power in powers for digit in digits]
        found = [value for value in found if low <= value <= high]
        if len(found) > 2:
            return found[:: math.ceil(len(found) / 6)]
    return [low, high]


def _power(value: float) -> str:
    """`1e-5`, `0.02`, `5,000`."""
    return f"{float(f'{value:.3g}'):,g}" if 1e-3 <= value < 1e6 else _rate(value)


def _rate(value: float) -> str:
    """`2e-5`, `1.5e-5`, `0`."""
    if value == 0:
        return "0"
    mantissa, _, power = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(power)}"


def _marks(axes: Axes, marks: Sequence[Mark]) -> None:
    """Lines over the whole height; what may happen at every step is short."""
    from matplotlib.collections import LineCollection

    at = axes.get_xaxis_transform()
    for kind, look in KINDS.items():
        top = 0.06 if kind == "skipped" else 1.0
        lines = [[(mark.x, 0.0), (mark.x, top)] for mark in marks if mark.kind == kind]
        if lines:
            axes.add_collection(LineCollection(lines, transform=at, **_stroke(look)), autolim=False)
    for mark in marks:
        if mark.sign:
            colour = _HOLDER[KINDS[mark.kind].colour]
            axes.text(mark.x, 1.015, mark.sign, transform=at, ha="center", color=colour, weight="bold")


def _line(axes: Axes, line: Line) -> None:
    across, up = [x for x, _ in line.points], [y for _, y in line.points]
    low, high = [low for low, _ in line.spread], [high for _, high in line.spread]
    marker = line.look.marker or ("o" if len(up) == 1 else None)
    style = {**_stroke(line.look), "marker": marker, "markersize": 5.5}
    if marker == "x":
        style["markeredgewidth"] = 2.0
    if line.at_foot:
        axes.plot(across, [0.03] * len(across), transform=axes.get_xaxis_transform(), clip_on=False, **style)
        return
    if not line.look.width:  # marks beyond the axis stand on its edge
        bottom, top = axes.get_ylim() if not axes.get_autoscaley_on() else (-math.inf, math.inf)
        up = [min(top, max(bottom, y)) for y in up]
    if line.bars:
        reach = [[y - end for y, end in zip(up, low, strict=True)], [end - y for y, end in zip(up, high, strict=True)]]
        axes.errorbar(across, up, reach, capsize=4, clip_on=False, elinewidth=line.look.width or 1.25, **style)
        return
    if line.spread:
        axes.fill_between(across, low, high, color=style["color"], alpha=0.16, linewidth=0)
    axes.plot(across, up, clip_on=not marker, **style)


def _bins(axes: Axes, bins: Bins) -> None:
    look, percents = bins.look, bins.percents()
    colour = _HOLDER[look.colour]
    if look.hatch.strip():
        axes.stairs(percents, bins.edges, hatch=look.hatch, edgecolor=colour, linewidth=0)
    else:
        axes.stairs(percents, bins.edges, fill=True, facecolor=colour, alpha=0.3)
    axes.stairs(percents, bins.edges, color=colour, linewidth=look.width)


def _stroke(look: Look) -> dict[str, Any]:
    dashes = (0, look.dashes) if look.dashes else "solid"
    return {"color": _HOLDER[look.colour], "linewidth": look.width, "linestyle": dashes}


def _label(text: str) -> str:
    return shortened(_clean(" ".join(text.split())), _LABEL)


def _clean(text: str) -> str:
    return _NEVER.sub("\ufffd", visible(text))


def _themed(written: str, about: str) -> Markup:
    """A drawing as an element of a page, without what a page has no use for: dates, names, fonts, style sheets."""
    root = ElementTree.fromstring(written)
    used = {found for one in root.iter() for value in one.attrib.values() for found in _USED.findall(value)}
    used |= {value[1:] for one in root.iter() for name, value in one.items() if name.endswith("href")}
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
        one.tail = None
        one.text = one.text if one.tag == "text" else None
        for style in [child for child in one if child.tag.endswith("}style")]:
            one.remove(style)
        kept = ((name, value) for name, value in one.items() if name != "id" or value in used)
        one.attrib = {name.rpartition("}")[2]: _own(value) for name, value in kept}
    root.attrib = {"class": "plot", "viewBox": _VIEW, "role": "img"}
    root.set("aria-label", shortened(_clean(about), _ABOUT))
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # escaped by the writer of XML


_NAMES = {holder: name for name, holder in _HOLDER.items()}


def _own(value: str) -> str:
    """An attribute with the page's colours and font, and numbers no finer than a screen."""
    value = _COLOURS.sub(lambda found: f"var(--{_NAMES[found[0]]})", value.replace("\n", " "))
    value = _FONT.sub(lambda found: f"font-size: {found['size']}" if found["size"] else "", value)
    return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
