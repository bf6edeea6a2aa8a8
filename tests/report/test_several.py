"""The pages of folds and of seeds show each run, what they say together, and how sure that is."""

from __future__ import annotations

import base64
import csv
import io
import re
from dataclasses import replace
from functools import cache

import pytest

from embertune.report.folds import by_fold, to_markdown
from embertune.report.several import folds_page, seeds_page
from tests.report import made, made_search, made_several
from tests.report.test_html import Page

BAD = f"{made.HOSTILE['script']} {made.HOSTILE['rtl']}"


def _hostile() -> str:
    found, folds = made_several.folds()
    named = {f"{BAD}_{metric}": one for metric, one in found.metrics.items()}
    found = replace(found, metrics=named, primary=next(iter(named)), sentence=BAD)
    return folds_page(found, [replace(one, chosen=BAD) for one in folds], 60, BAD, None)


def _unmeasured() -> str:
    found, seeds = made_several.seeds()
    bare = replace(found, baseline={}, tuned={}, change={}, primary=None, verdict="unmeasured", counts=None)
    return seeds_page(bare, seeds, "seed 5 is best on dev")


PAGES = {
    "folds": lambda: folds_page(*made_several.folds(), 60, "final", made_several.grown()),
    "many": lambda: folds_page(*made_several.folds(40), 0, "", None),
    "hostile": _hostile,
    "seeds": lambda: seeds_page(*made_several.seeds(), "seed 6 is best on dev"),
    "unmeasured": _unmeasured,
}


@cache
def page_of(name: str) -> str:
    """A page of `PAGES`, drawn once."""
    return PAGES[name]()


def text_of(name: str) -> str:
    """What is to be read on it, spaces made one."""
    return " ".join(Page(page_of(name)).text.split())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_asks_for_nothing_and_runs_nothing(name: str) -> None:
    page = Page(page_of(name))
    assert (page.wrong, page.open) == ([], [])
    assert not page.tags & {"script", "iframe", "object", "embed", "img", "base", "form"}
    assert [value for value in page.values("href") if not value.startswith(("data:", "#"))] == []
    assert "\u202e" not in page_of(name)
    assert len(page_of(name)) < 200_000


def test_both_reports_of_folds_show_the_same_cells() -> None:
    found, folds = made_several.folds()
    markdown = to_markdown(found, folds, 60, "final", made_several.grown())
    for cell in (cell for cells in by_fold(found, folds) for cell in cells if cell):
        assert f">{cell}<" in page_of("folds")
        assert re.search(rf"\| \**{re.escape(cell)}\** \|", markdown)
    text = text_of("folds")
    mean = found.metrics[found.primary].change
    assert f"{mean.difference:+.4f} [{mean.low:+.4f}, {mean.high:+.4f}]" in text
    assert "The median of the folds' best steps is 60. A model trained so long on all rows is in final." in text
    assert "In most folds nothing beat the base on dev." in text_of("many")


def test_each_fold_stands_on_the_plot_and_the_mean_has_its_corrected_interval() -> None:
    page = page_of("folds")
    (held,) = re.findall(r'download="folds.csv" href="data:text/csv;base64,([^"]*)"', page)
    rows = list(csv.reader(io.StringIO(base64.b64decode(held).decode())))
    assert [row[1] for row in rows if row[0] == "baseline"] == ["1", "2", "3", "4", "5", "mean"]
    assert [row[1] for row in rows if row[0] == "tuned"] == ["1", "2", "3", "4", "5"]
    found = made_several.folds()[0]
    of = found.metrics[found.primary]
    base = sum(of.baseline) / 5
    assert [float(cell) for cell in rows[-1][3:]] == pytest.approx([base + of.change.low, base + of.change.high], 1e-4)
    labels = re.findall(r"<text [^>]*>([^<]*)", page_of("many"))
    assert [label for label in labels if label in ("1", "2", "5", "37", "mean")] == ["1", "5", "37", "mean"]


def test_the_learning_curve_has_its_answer_and_its_line_as_far_as_twice_the_rows() -> None:
    page = page_of("folds")
    assert "More data would help: twice the rows would add about +0.0200" in text_of("folds")
    (held,) = re.findall(r'download="learning-curve.csv" href="data:text/csv;base64,([^"]*)"', page)
    rows = list(csv.reader(io.StringIO(base64.b64decode(held).decode())))
    ends = {int(row[1]): float(row[2]) for row in rows if row[0] == "line through them"}
    assert ends[6404] - ends[3202] == pytest.approx(made_several.grown().doubling.difference, abs=1e-5)
    assert 'id="growth"' not in page_of("many")


def test_names_from_outside_stay_text() -> None:
    written = page_of("hostile")
    assert "alert('wolverine')</script>" not in written
    assert written.count("alert(&#39;wolverine&#39;)") > 5


def test_seeds_are_shown_each_with_its_change_and_what_they_lost() -> None:
    text = text_of("seeds")
    for expected in ("Seed 6 is best on dev.", "+0.0190 [+0.0070, +0.0310]", "mean0.81550.8326", "What it could do"):
        assert expected in text, expected
    page = Page(page_of("seeds"))
    assert page.values("data-plot") == ["seeds"]
    metrics = made_search.joint(0.8155, 0.0171, 0.0068).change
    assert sorted(page.values("data-metric")) == sorted(metrics)
    assert Page(page_of("unmeasured")).values("data-plot") == []
