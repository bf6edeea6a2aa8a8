"""A real browser opens report.html: every section is there, nothing is complained about, and data stays text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.report import test_search, test_several
from tests.report.browser import CHROMIUM, Page, browsing
from tests.report.test_html import MORE, SECTIONS, page_of

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")

#: What is beyond the right edge of the screen, but for what scrolls by itself.
_BEYOND = """[...document.querySelectorAll("main *")]
    .filter(one => !one.closest("pre, svg") && one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.tagName + " " + one.textContent.slice(0, 40))"""
#: The heights of the letters in plots, and how wide the plots are, in pixels of the screen.
_LETTERS = """[...document.querySelectorAll("svg.plot text")].map(one => one.getBoundingClientRect().height)"""
#: Colours of the page, of a line on a plot, and of its letters.
_COLOURS = """[getComputedStyle(document.body).backgroundColor,
    getComputedStyle(document.querySelector("svg.plot use")).stroke,
    getComputedStyle(document.querySelector("svg.plot text")).fill]"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


#: Pages of several runs: those that could be too wide, and the barest.
_TOGETHER: dict[str, Callable[[], str]] = {
    **{f"search {name}": partial(test_search.page_of, name) for name in ("calm", "hostile", "one")},
    **{f"several {name}": partial(test_several.page_of, name) for name in ("folds", "hostile", "seeds")},
}


def opened(browser: Page, name: str, folder: Path) -> Path:
    """The page of that name, loaded, with nothing told or asked for before."""
    file = folder / "report.html"
    file.write_text(_TOGETHER[name]() if name in _TOGETHER else page_of(name), encoding="utf-8")
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(file)
    return file


@pytest.mark.parametrize("name", ["guarded", "hostile", "names", "bare"])
@pytest.mark.parametrize("width", [1200, 390, 320])
def test_every_section_is_there_within_the_screen_and_nothing_is_complained_about_or_asked_for(
    browser: Page, name: str, width: int, tmp_path: Path
) -> None:
    browser.look(width=width)
    file = opened(browser, name, tmp_path)
    ids = browser.value("[...document.querySelectorAll('section, header')].map(one => one.id)")
    expected = (*SECTIONS, *(MORE if name != "bare" else ()))
    assert sorted(set(expected) - set(ids)) == []
    assert browser.value("document.documentElement.scrollWidth") <= width, browser.value(_BEYOND)
    assert browser.value(_BEYOND) == []
    assert browser.value("document.scripts.length + document.images.length") == 0
    assert (browser.complaints, browser.requests) == ([], [file.as_uri()])


@pytest.mark.parametrize("name", _TOGETHER)
def test_pages_of_several_runs_stay_within_the_screen_and_ask_for_nothing(
    browser: Page, name: str, tmp_path: Path
) -> None:
    for width in (1200, 390, 320):
        browser.look(width=width)
        file = opened(browser, name, tmp_path)
        assert browser.value("document.documentElement.scrollWidth") <= width, browser.value(_BEYOND)
        assert browser.value(_BEYOND) == []
        assert browser.value("document.scripts.length + document.images.length") == 0
        assert (browser.complaints, browser.requests) == ([], [file.as_uri()])


@pytest.mark.parametrize("name", ["guarded", "search calm"])
def test_letters_on_plots_can_be_read_on_a_phone(browser: Page, name: str, tmp_path: Path) -> None:
    browser.look(width=390, height=844)
    opened(browser, name, tmp_path)
    heights = browser.value(_LETTERS)
    assert len(heights) > 50
    assert min(heights) >= 10


def test_plots_have_the_colours_of_the_screen_and_paper_is_white(browser: Page, tmp_path: Path) -> None:
    browser.look()
    opened(browser, "guarded", tmp_path)
    light = browser.value(_COLOURS)
    browser.look(scheme="dark")
    dark = browser.value(_COLOURS)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    assert dark[0] == "rgb(20, 22, 26)"
    browser.look(scheme="dark", media="print")
    assert browser.value(_COLOURS) == ["rgb(255, 255, 255)", "rgb(221, 221, 221)", "rgb(85, 85, 85)"]
    assert browser.printed().startswith(b"%PDF")


def test_the_numbers_of_a_plot_are_in_the_page(browser: Page, tmp_path: Path) -> None:
    browser.look()
    opened(browser, "guarded", tmp_path)
    found = browser.value("atob(document.querySelector('[data-plot=dev] a').href.split(',')[1])")
    assert found.splitlines()[:2] == ["line,step,cosine_accuracy@1,low,high", "dev cosine_accuracy@1,0,0.55,,"]
