"""The plots of a search: every trial stands somewhere, and a setting has the axis that it was tried on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.report.plots import Plot
from embertune.report.searchplots import best_so_far, beyond, history_plot, learning_plot, slice_plots
from embertune.report.settings import differing, short_names, spelled
from embertune.report.svg import draw
from embertune.report.tried import Searched, Tried
from tests.report import made_search

VALUES = st.none() | st.floats(-1, 1) | st.just(math.nan)
SETTINGS = st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=8)
SETTINGS |= st.dictionaries(st.text(max_size=3), st.integers(), max_size=2) | st.lists(st.integers(), max_size=2)


def found(values: list[float | None], settings: list[Any] | None = None, words: str = "", **changes: Any) -> Searched:
    """A search whose trials have these values, and these values of the one setting `a.b`."""
    given = settings or [None] * len(values)
    tried = tuple(
        Tried(n, "proposed", {"a.b": of}, "complete", value, (), 1.0)
        for n, (value, of) in enumerate(zip(values, given, strict=True))
    )
    return made_search.searched(2, tried=tried, space={"a.b": words}, importance={}, **changes)


def points(plot: Plot) -> list[tuple[float, float]]:
    """All marks on a plot."""
    return [point for line in plot.lines if not line.look.width for point in line.points]


@given(st.lists(VALUES, min_size=1, max_size=30), st.booleans())
def test_every_trial_stands_on_the_history_and_the_best_so_far_never_gets_worse(
    values: list[float | None], lower: bool
) -> None:
    search = found(values, lower=lower)
    assert sorted(x for x, _ in points(history_plot(search))) == list(range(len(values)))
    course = [value for _, value in best_so_far(search)]
    assert course == sorted(course, reverse=lower)
    known = [value for value in values if value is not None and math.isfinite(value)]
    assert course[-1:] == ([(min if lower else max)(known)] if known else [])


@given(st.lists(SETTINGS, min_size=1, max_size=20), st.sampled_from(["", "0 to 1: why", "1e-06 to 0.1 (log): why"]))
def test_whatever_a_setting_was_a_slice_has_all_its_trials_or_says_how_many_it_lacks(
    settings: list[Any], words: str
) -> None:
    for plot in slice_plots(found([0.5] * len(settings), settings, words)):
        there = points(plot)
        lacking = len(settings) - len(there)
        assert plot.said == (f"not in {lacking} trials" if lacking else "")
        assert plot.x.ends is not None
        assert all(plot.x.ends[0] <= x <= plot.x.ends[1] for x, _ in there)


@pytest.mark.parametrize(
    ("settings", "words", "kind", "names"),
    [
        ([1e-6, 1e-5, 1e-4], "1e-06 to 0.0001 (log): rates", "log", []),
        ([0.0, 0.1, 0.2], "0 to 0.3: shares", "plain", []),
        ([64, 16, 16, 32], "16, 32, 64: batches", "plain", ["16", "32", "64"]),
        ([None, {"layers": 4}, None], "null, {layers: 4}: frozen", "plain", ["null", "{layers: 4}"]),
        ([True, False, True], "true, false", "plain", ["false", "true"]),
        ([float(n) for n in range(12)], "", "plain", []),
        ([f"w{min(n, 9)}" for n in range(12)], "", "plain", ["w0", "w1", "w2", "w3", "w4", "w5", "w9", "3 others"]),
    ],
)
def test_ranges_have_axes_of_numbers_and_choices_stand_side_by_side(
    settings: list[Any], words: str, kind: str, names: list[str]
) -> None:
    (plot,) = slice_plots(found([0.1 * n for n in range(len(settings))], settings, words))
    assert (plot.x.numbers, sorted(plot.x.names.values())) == (kind, sorted(names))
    draw([plot])


def test_a_setting_of_one_value_has_no_slice_and_what_explains_most_is_first() -> None:
    assert slice_plots(found([0.1, 0.2], [3, 3])) == []
    plots = slice_plots(made_search.searched())
    assert [plot.title for plot in plots] == list(made_search.SPACE)
    assert plots[0].said == "explains 46.0 %"
    assert plots[0].ring in points(plots[0])


@pytest.mark.parametrize("lower", [False, True])
def test_a_value_that_is_far_worse_than_all_others_does_not_stretch_the_axis(lower: bool) -> None:
    sign = -1 if lower else 1
    values: list[float | None] = [sign * (0.8 + 0.001 * n) for n in range(12)]
    (plot,) = slice_plots(found([*values, -5.0 * sign], [float(n) for n in range(13)], lower=lower))
    assert plot.y.ends is not None
    assert plot.y.ends[1] - plot.y.ends[0] < 0.02
    assert beyond(plot)
    (usual,) = slice_plots(found([*values, 0.9 * sign], [float(n) for n in range(13)], lower=lower))
    (flat,) = slice_plots(found([0.5] * 12 + [0.4], [float(n) for n in range(13)], lower=lower))
    assert not beyond(flat)
    assert not beyond(usual)  # a value that is far better is what was looked for


def test_a_pruned_trial_ends_early_and_those_that_stand_out_are_named() -> None:
    search = made_search.searched()
    plot = learning_plot(search)
    assert plot is not None
    assert [words for words, _ in plot.key] == [
        "the winner", "the recipe as written", "the defaults", "complete", "pruned", "failed",
    ]  # fmt: skip
    ends = {line.label: line.points[-1][0] for line in plot.lines}
    assert ends["13, the winner"] == ends["1, the defaults"] == 100
    assert all(end < 100 for label, end in ends.items() if label.endswith("pruned"))
    assert plot.lines[-1].label == "13, the winner"  # above all others
    assert learning_plot(replace(search, tried=tuple(replace(one, looks=()) for one in search.tried))) is None


def test_settings_are_told_as_a_recipe_has_them() -> None:
    several = (None, True, 2.3784e-05, 0.1, 32, 1e-3, 1234567.0, {"layers": 4, "of": [1, None]}, "mean", math.nan, 0.0)
    assert [spelled(value) for value in several] == [
        "null", "true", "2.38e-5", "0.1", "32", "0.001", "1.23e6", "{layers: 4, of: [1, null]}", "mean", "nan", "0",
    ]  # fmt: skip
    assert short_names(["train.warmup", "a.rate", "b.rate"]) == {
        "train.warmup": "warmup", "a.rate": "a.rate", "b.rate": "b.rate",
    }  # fmt: skip
    assert differing([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 2, "c": None}]) == ["b", "c"]
