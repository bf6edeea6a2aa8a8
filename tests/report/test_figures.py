"""Which plots a report has, and what stands on them."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from embertune.evaluate.seen import Histogram, SizePoint
from embertune.report.curves import POINTS, curves
from embertune.report.figures import figures, learning_plots, similarity_plots, size_plots
from embertune.report.plots import SEVERAL, THIN, Plot
from embertune.report.story import story
from tests.report import made


def learning(history: list[dict[str, object]], metric: str | None = "m", best: int = 0) -> dict[str, Plot]:
    """The learning curves of a history, by name."""
    return {plot.name: plot for plot in learning_plots(curves(history, metric, best), story(history, metric))}


def test_a_run_of_one_step_and_one_look_can_be_drawn() -> None:
    history = [{"step": 0, "dev": {"m": 0.5}}, {"step": 1, "loss": 1.0}]
    told = story(history, "m")
    drawn = figures(curves(history, "m", 0), told, None)
    assert [one.plot.name for one in drawn.curves] == ["dev", "training-loss"]
    assert drawn.curves[0].plot.ring == (0.0, 0.5)
    assert (drawn.similarity, drawn.sizes) == ((), ())


def test_no_history_gives_no_plot() -> None:
    assert learning([]) == {}
    assert learning([{"step": 3, "loss": math.nan, "rates": {}}]) == {}


def test_all_learning_curves_stand_over_the_same_steps_and_have_the_same_marks() -> None:
    plots = list(learning(made.guarded_history(), "cosine_accuracy@1", 210).values())
    assert [plot.name for plot in plots] == ["dev", "loss", "training-loss", "learning-rate"]
    assert len({(plot.x.label, plot.x.ends, plot.marks) for plot in plots}) == 1
    marks = [(mark.kind, mark.x, mark.sign) for mark in plots[0].marks]
    assert {kind for kind, _, _ in marks} == {"best", "thawed", "skipped", "remedy"}
    assert [mark for mark in marks if mark[0] == "remedy"] == [("remedy", 180, "1"), ("remedy", 270, "2")]


def test_the_band_of_a_look_is_its_value_and_one_standard_error_to_both_sides() -> None:
    history = [{"step": n, "dev": {"m": n / 10}, "signs": {"error": 0.02 * n or None}} for n in range(3)]
    (line,) = learning(history)["dev"].lines
    assert [(round(low, 3), round(high, 3)) for low, high in line.spread] == [(0.0, 0.0), (0.08, 0.12), (0.16, 0.24)]
    assert (
        learning([{key: value for key, value in one.items() if key != "signs"} for one in history])["dev"]
        .lines[0]
        .spread
        == ()
    )


def test_layers_of_one_rate_are_one_line_and_a_layer_that_is_frozen_has_none() -> None:
    history = [
        {"step": n, "rates": {"top": 1e-4, "block 1": 1e-4, **({"block 0": 5e-5} if n > 2 else {})}}
        for n in (1, 2, 3, 4)
    ]
    both, late = learning(history)["learning-rate"].lines
    assert (both.label, late.label) == ("top, block 1", "block 0")
    assert [math.isnan(rate) for _, rate in late.points] == [True, True, False, False]
    alone = [{"step": 1, "rates": {f"block {n}": 1e-5 for n in range(12)}}]
    assert [line.label for line in learning(alone)["learning-rate"].lines] == ["all that is trained"]


def test_of_many_rates_some_are_named_the_highest_and_the_lowest_among_them() -> None:
    history = [{"step": n, "rates": {f"block {b}": n * 0.9**b for b in range(24)}} for n in range(1, 2_000)]
    plot = learning(history)["learning-rate"]
    assert len(plot.lines) == 24
    assert [label for label, _ in plot.key][:: len(SEVERAL) - 1] == ["block 0", "block 23"]
    assert sum(line.look == THIN for line in plot.lines) == 24 - len(SEVERAL)
    assert max(len(line.points) for line in plot.lines) <= POINTS


def test_before_and_after_stand_on_the_same_axes() -> None:
    before, after = similarity_plots(made.seen())
    assert (before.x.ends, before.y.ends) == (after.x.ends, after.y.ends)
    assert "overlap" in before.about
    alone = similarity_plots(replace(made.seen(), before=None))
    assert [plot.name for plot in alone] == ["similarity-saved"]
    empty = Histogram((0.0, 1.0), (0,), (0,))
    assert similarity_plots(replace(made.seen(), before=empty, after=empty)) == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=90))
def test_of_few_items_stretches_are_wider_and_none_is_lost(counts: list[tuple[int, int]]) -> None:
    edges = tuple(n / 100 for n in range(len(counts) + 1))
    one = Histogram(edges, tuple(yes for yes, _ in counts), tuple(no for _, no in counts))
    for plot in similarity_plots(replace(made.seen(), before=one, after=one)):
        for bins, of in zip(plot.bins, (one.positive, one.negative), strict=True):
            assert sum(bins.counts) == sum(of)
            assert (bins.edges[0], bins.edges[-1], len(bins.edges)) == (edges[0], edges[-1], len(bins.counts) + 1)
            assert list(bins.edges) == sorted(set(bins.edges))


def test_quality_is_drawn_against_what_the_sizes_differ_in() -> None:
    def names(*sizes: tuple[int, int | None, float | None]) -> list[str]:
        points = tuple(SizePoint("tuned", *size[:2], 0.5, 0.4, 0.6, size[2]) for size in sizes)
        return [plot.name for plot in size_plots(replace(made.seen(), sizes=points))]

    assert names((384, 6, 1.0)) == []
    assert names((384, 6, 1.0), (128, 6, 1.1)) == ["size-dimensions"]
    assert names((384, 12, 2.0), (384, 6, 1.1)) == ["size-layers", "size-speed"]
    assert names((384, None, None), (128, None, None)) == ["size-dimensions"]
