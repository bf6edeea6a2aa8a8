"""Plots: what they say, that nobody's text breaks them, and that the same plot is drawn the same everywhere."""

from __future__ import annotations

import base64
import csv
import io
import math
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.report.plots import (
    DOTTED,
    FILLED,
    HATCHED,
    KINDS,
    MAIN,
    OTHER,
    SEVERAL,
    THIN,
    Axis,
    Bins,
    Line,
    Look,
    Mark,
    Plot,
    as_csv,
    csv_link,
    numbers_of,
)
from embertune.report.svg import draw, log_ticks
from tests.report import made

RISING = [(float(n), n / 10) for n in range(11)]
BINS = Bins("together", FILLED, (0.0, 0.5, 1.0), (1, 3))
ODD = {**made.HOSTILE, "maths": r"$x_2^{", "more": "$\\frac$ 100% $", "signs": "\ufffe\uffff漢字🙂", "under": "_hidden"}


def plot(text: str = "loss", name: str = "p", **changes: object) -> Plot:
    """A plot of a line with a band, whose texts are all `text`."""
    parts: dict[str, object] = {"lines": [Line(text, DOTTED, RISING, [(y - 0.1, y + 0.1) for _, y in RISING])]}
    marks = [Mark(3, "remedy", "1"), Mark(4, "thawed"), Mark(5, "skipped"), Mark(6, "best"), Mark(6, "negatives")]
    parts |= {"marks": marks, "notes": [(2.0, 0.2, text)], "ring": (6.0, 0.6), "level": 0.3}
    return Plot(name, text, text, Axis(text, (0, 10), "whole"), Axis(text), **(parts | changes))  # type: ignore[arg-type]  # any of its fields


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_no_text_is_read_as_markup_or_as_a_formula_and_none_draws_a_warning(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (drawing,) = draw([plot(text)])
    root = ElementTree.fromstring(drawing)
    assert {one.tag for one in root.iter()} <= {"svg", "g", "path", "text", "use", "defs", "clipPath", "rect"}
    assert not [name for one in root.iter() for name in one.attrib if name.startswith("on")]
    labels = [one.text or "" for one in root.iter("text")]
    assert labels.count(labels[-1]) == 3  # two axes and a note
    assert len(labels[-1]) <= 44
    assert len(root.get("aria-label", "")) <= 600
    assert "\u202e" not in drawing
    if "$" in text:
        assert text in labels


@settings(max_examples=8)
@given(st.text(max_size=60))
def test_any_text_can_stand_on_a_plot(text: str) -> None:
    ElementTree.fromstring(draw([plot(text)])[0])


def test_the_same_plots_give_the_same_bytes_and_no_two_share_a_name() -> None:
    both = [plot(name="a"), plot(name="b", bins=[BINS, Bins("apart", HATCHED, BINS.edges, (4, 1))], lines=[])]
    one, other = draw(both)
    assert draw(both) == [one, other]
    names = [set(re.findall(r' id="(\w+)"', drawing)) for drawing in (one, other)]
    assert all(names)
    assert not names[0] & names[1]
    for drawing, its in zip((one, other), names, strict=True):
        assert set(re.findall(r'(?:href="|url\()#(\w+)', drawing)) == its


def test_colours_are_those_of_the_page_and_every_one_is_defined() -> None:
    drawing = "".join(draw([plot(), plot(bins=[BINS], lines=[Line("x", look, RISING) for look in SEVERAL])]))
    assert not re.search(r"#[0-9a-f]{6}|#[0-9a-f]{3}\b", drawing)
    sheet = (Path(made.__file__).parents[2] / "src/embertune/report/colours.css").read_text(encoding="utf-8")
    used = set(re.findall(r"var\((--\w+)\)", drawing)) | {f"--{look.colour}" for look in KINDS.values()}
    light, dark = sheet.split("@media")
    assert all(f"{name}: #" in light and f"{name}: #" in dark for name in used)


def test_what_is_told_apart_by_colour_is_told_apart_by_its_dashes_too() -> None:
    assert len({(*look.dashes, look.width) for look in SEVERAL}) == len(SEVERAL)
    assert len({(look.dashes, look.width) for kind, look in KINDS.items() if kind != "skipped"}) == len(KINDS) - 1
    assert (DOTTED.dashes, DOTTED.marker) != (OTHER.dashes, OTHER.marker)
    assert FILLED.hatch != HATCHED.hatch


def test_a_line_has_a_gap_where_there_is_no_value_and_a_single_point_is_seen() -> None:
    gap = [(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, 1.0), (4.0, 2.0)]
    (drawing,) = draw([plot(lines=[Line("x", MAIN, gap)], marks=(), ring=None, level=None, notes=())])
    line = max(re.findall(r'd="([^"]*)"[^>]*--accent', drawing), key=len)
    assert (line.count("M"), line.count("L")) == (2, 2)
    (drawing,) = draw([plot(lines=[Line("x", MAIN, gap[:1])], marks=(), ring=None, level=None, notes=())])
    assert re.search(r"<use [^>]*--accent", drawing)


def test_the_numbers_of_a_plot_are_a_table() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(numbers_of(plot('=loss,\n"x"'))))))
    assert rows[0] == ["line", '\'=loss,\n"x"', '\'=loss,\n"x"', "low", "high"]
    assert rows[2] == ['\'=loss,\n"x"', "1", "0.1", "0", "0.2"]
    assert len(rows) == 12
    rows = list(csv.reader(io.StringIO(as_csv(numbers_of(plot(bins=[BINS], lines=[]))))))
    assert rows[1:] == [["together", "0", "0.5", "1", "25"], ["together", "0.5", "1", "3", "75"]]


def test_marks_are_told_apart_and_none_leaves_the_plot() -> None:
    marks = [Line("far", Look("accent", 0, marker="o"), [(5.0, -40.0), (6.0, 1.0)])]
    nothing = [Line("failed", Look("against", 0, marker="x"), [(3.0, math.nan)], at_foot=True)]
    bare = plot(marks=(), ring=None, level=None, notes=(), lines=[*marks, *nothing])
    bare = replace(bare, y=Axis("y", (0.0, 2.0)))
    (drawing,) = draw([bare])
    ups = [float(found) for found in re.findall(r'<use [^>]*y="([-\d.]+)"[^>]*stroke: var\(--a', drawing)]
    assert len(ups) == 3
    assert all(0 < up < 240 for up in ups)
    assert as_csv(numbers_of(bare)).splitlines()[1:] == ["far,5,-40,,", "far,6,1,,", "failed,3,,,"]


def test_names_stand_along_an_axis_and_in_the_numbers() -> None:
    bare = replace(plot(marks=()), x=Axis("x", (-1, 11), names={1.0: "linear", 2.0: "$co_{s}$ " + 30 * "x"}))
    labels = re.findall(r"<text [^>]*>([^<]*)", draw([bare])[0])
    assert "linear" in labels
    assert any(label.startswith("$co_{s}$ xx") and label.endswith("…") for label in labels)
    assert [row.split(",")[1] for row in as_csv(numbers_of(bare)).splitlines()[1:4]] == ["0", "linear", bare.x.names[2]]


@given(st.floats(1e-8, 1e5), st.floats(1.01, 1e6))
def test_a_logarithmic_axis_has_some_round_numbers_between_its_ends(low: float, times: float) -> None:
    found = log_ticks(low, low * times)
    assert 2 <= len(found) <= 6
    assert found == sorted(set(found))
    assert all(low <= value <= low * times for value in found)


def test_the_link_to_the_numbers_holds_them() -> None:
    kind, held = csv_link(numbers_of(plot("\ud800"))).split(",")
    assert kind == "data:text/csv;base64"
    assert base64.b64decode(held).decode() == as_csv(numbers_of(plot("?")))


def test_of_more_lines_than_can_be_told_apart_the_key_names_some() -> None:
    few = [Line(str(n), look, RISING) for n, look in enumerate(SEVERAL)]
    assert [label for label, _ in plot(lines=few).key] == ["0", "1", "2", "3", "4", "5"]
    assert [label for label, _ in plot(lines=[*few, Line("thin", THIN, RISING)]).key] == ["0", "1", "2", "3", "4", "5"]
    assert plot().key == []


def test_a_style_of_the_users_own_changes_no_report_and_is_left_as_it_was() -> None:
    import matplotlib

    plain = draw([plot()])
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 30, "text.usetex": True}):
        assert draw([plot()]) == plain
        assert matplotlib.rcParams["lines.linewidth"] == 9.0


def test_a_home_that_cannot_be_written_is_nothing_to_talk_about(tmp_path: Path) -> None:
    script = (
        "import sys, logging; logging.basicConfig()\n"
        "from embertune.report.svg import draw; from embertune.report.plots import Axis, Plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "print(draw([Plot('p', 't', 'a', Axis('x', (0, 1)), Axis('y', (0, 1)))])[0], end='')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    bare = Plot("p", "t", "a", Axis("x", (0, 1)), Axis("y", (0, 1)))
    (tmp_path / "home").write_text("a file, so that nothing can be written into it")
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("MPL", "XDG"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(made.__file__).parents[2],
        env=ours | {"HOME": str(tmp_path / "home"), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", str(draw([bare])[0]))
