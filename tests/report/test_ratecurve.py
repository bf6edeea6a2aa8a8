"""The curve of a range test, drawn and in text."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from embertune.report.ratecurve import to_lines, to_svg
from embertune.training.ranging import Found, points_of, rates_of

RATES = rates_of(60, 1e-7, 1e-2)
SVG = "{http://www.w3.org/2000/svg}"
#: Falls from 0.5 to 0.3 at the middle, 3e-5, and explodes at the end.
LOSSES = [0.5 - 0.2 * (1 - abs(step - 30) / 30) for step in range(59)] + [90.0]
FOUND = Found(tuple(points_of(RATES, LOSSES)), 3.2e-6, "because")


def test_the_drawing_is_an_image_of_its_own_with_both_curves_and_the_rate() -> None:
    drawing = ElementTree.fromstring(to_svg(FOUND))
    raw, smooth = heights_of("soft"), heights_of("accent")
    assert (len(raw), len(smooth)) == (60, 50)  # the average begins where it has settled
    assert "3.2e-06" in [text.text for text in drawing.iter(f"{SVG}text")]
    assert "3.2e-06 is proposed" in str(drawing.findtext(f"{SVG}title"))
    assert "://" not in to_svg(FOUND).replace(SVG.strip("{}"), "")


def test_a_loss_that_explodes_does_not_flatten_the_rest() -> None:
    heights = heights_of("accent")
    assert max(heights[:-1]) - min(heights[:-1]) > 60


def heights_of(colour: str) -> list[float]:
    """How high the points of the long line in a colour stand, in the units of the drawing."""
    paths = ElementTree.fromstring(to_svg(FOUND)).iter(f"{SVG}path")
    found = [
        path.get("d", "")
        for path in paths
        if path.get("clip-path") and f"stroke: var(--{colour})" in path.get("style", "")
    ]
    longest = max(found, key=len)
    return [float(place.split()[1]) for place in longest.removeprefix("M ").split("L ")]


def test_the_lines_are_as_wide_and_high_as_asked_and_the_rate_stands_under_its_place() -> None:
    *rows, axis, decades, rate = to_lines(FOUND, width=50, height=8)
    assert [len(row) for row in (*rows, axis)] == [8 + 50] * 9
    assert "1e-5" in decades
    assert rate.strip() == "▲ 3.2e-06"
    assert abs(rate.index("▲") - 8 - 50 * 1.505 / 5) <= 1  # 3.2e-6 is 1.505 of 5 decades above 1e-7


def test_the_curve_runs_through_every_column_from_where_it_has_settled() -> None:
    rows = to_lines(FOUND, width=50, height=8)[:8]
    drawn = [any(row[8 + column] != "\u2800" for row in rows) for column in range(50)]
    assert drawn == [column >= 8 for column in range(50)]


def test_where_no_rate_is_proposed_the_curve_is_drawn_all_the_same_and_nothing_is_marked() -> None:
    none = replace(FOUND, rate=None)
    drawing = to_svg(none)
    assert "no rate is proposed" in drawing
    assert ("--accent)" in drawing, "stroke: var(--against)" in drawing) == (True, False)
    assert to_lines(none) == to_lines(FOUND)[:-1]
