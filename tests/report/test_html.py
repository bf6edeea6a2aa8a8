"""report.html is one well-formed file that reaches for nothing, shows everything, and runs nothing that data says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from embertune.report import Facts, to_html
from tests.report import made

_VOID = {"meta", "link", "br", "img", "hr", "input"}
SECTIONS = ("verdict", "results", "curves", "data", "audit", "rows", "environment", "recipe", "load")


class Page(HTMLParser):
    """Reads a page and keeps its tags, ids, attributes and texts; `wrong` holds end tags that close nothing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data

    def values(self, name: str) -> list[str]:
        """All values of an attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]


def _nothing_measured() -> Facts:
    proof = made.proof(
        verdict="unmeasured",
        sentence="unmeasured: no test set",
        baseline={},
        tuned={},
        change={},
        primary=None,
        counts=None,
    )
    return made.facts(proof=proof, history=[], notes=[], rows=[], timing={}, environment={}, stopped="", metric=None)


PAGES = {
    "calm": made.facts(),
    "guarded": made.guarded(),
    "hostile": made.hostile(examples=True),
    "hidden": made.hostile(examples=False),
    "bare": _nothing_measured(),
}


@pytest.fixture(params=PAGES.values(), ids=PAGES, scope="module")
def page(request: pytest.FixtureRequest) -> Page:
    return Page(to_html(request.param))


def test_every_tag_is_closed_in_order(page: Page) -> None:
    assert (page.wrong, page.open) == ([], [])


def test_every_section_is_there(page: Page) -> None:
    assert [name for name in page.values("id") if name in SECTIONS] == list(SECTIONS)


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    reaching = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "formaction", "background"}
    loaded = [value for _, name, value in page.attributes if name in reaching]
    assert loaded == ["data:,"]
    assert not page.tags & {"script", "iframe", "object", "embed", "img", "base", "form"}


def test_the_style_reaches_for_nothing() -> None:
    style = re.findall(r"<style>(.*?)</style>", to_html(made.facts()), re.DOTALL)
    assert len(style) == 1
    assert not re.search(r"url\(|@import|@font-face|https?:", style[0])


def test_the_browser_is_told_to_load_nothing(page: Page) -> None:
    policy = next(value for value in page.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_no_attribute_of_the_page_runs_code(page: Page) -> None:
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_texts_of_the_data_are_shown_as_they_are() -> None:
    text = Page(to_html(PAGES["hostile"])).text
    for name in ("script", "markup", "template"):
        assert made.HOSTILE[name] in text
    assert "{{ 7 * 7 }}" in text


def test_forced_directions_are_told_and_others_kept_apart() -> None:
    written = to_html(PAGES["hostile"])
    assert "⟨U+202E⟩okapi" in written
    assert "\u202e" not in written
    assert re.search(r'<dd dir="auto"><bdi>⟨U\+202E⟩okapi', written)
    assert re.search(r'<li dir="auto"><bdi>⟨U\+202E⟩okapi', written)


def test_a_long_text_is_cut() -> None:
    written = to_html(PAGES["hostile"])
    assert "axolotl…" in written
    assert len(written) < 100_000


def test_hidden_texts_are_nowhere_and_the_page_says_so() -> None:
    page = Page(to_html(PAGES["hidden"]))
    assert not [word for word in made.WORDS if word in to_html(PAGES["hidden"])]
    assert "report.examples is false" in page.text


def test_every_metric_appears_with_its_numbers() -> None:
    page = Page(to_html(PAGES["calm"]))
    assert sorted(page.values("data-metric")) == sorted(made.proof().baseline)
    assert "+0.1369" in page.text
    assert "[+0.0839, +0.1899]" in page.text


def test_names_and_notes_from_outside_are_escaped_too() -> None:
    bad = "<script>alert(1)</script>"
    environment = {bad: bad}
    written = to_html(made.facts(title=bad, base_model=bad, stopped=bad, recipe_yaml=bad, environment=environment))
    assert bad not in written
    assert written.count("&lt;script&gt;") >= 6


def test_the_verdict_is_first() -> None:
    text = Page(to_html(PAGES["calm"])).text
    assert text.index("23 more now find their match first") < text.index("Results") < text.index("Learning curves")


def test_a_long_history_stays_a_small_page() -> None:
    facts = made.facts(history=made.history(10_000, 500), steps=10_000, best_step=7_000)
    assert len(to_html(facts)) < 100_000


def test_the_same_facts_give_the_same_page() -> None:
    assert to_html(made.facts()) == to_html(made.facts())


def test_findings_stand_in_a_table_with_what_was_done_and_their_examples() -> None:
    written = to_html(made.facts())
    text = Page(written).text
    for expected in ("Anchors of test help that stand in train", "12 rows dropped.", "7.1 %", "2 examples", "0.1 %"):
        assert expected in text, expected
    assert 'data-kind="lengths" class="fact"' in written
    assert 'data-kind="leak" class="fact"' not in written
    assert "What was done on the way" in text


def test_without_findings_and_notes_nothing_was_changed() -> None:
    assert "Nothing was removed or changed." in Page(to_html(made.facts(notes=[], findings=[]))).text
    assert "Nothing was removed or changed." not in Page(to_html(made.facts(notes=[]))).text


def test_the_guard_has_a_section_with_diagnosis_remedies_and_advice() -> None:
    written = to_html(made.guarded())
    text = " ".join(Page(written).text.split())
    for expected in (
        "Overfitting: accuracy@1 from 0.69 (step 150) to 0.67 is a fall of 3.4 standard errors.",
        "2 steps changed nothing",
        "Every rate is 0.5 of it, from step 150 on. Dev fell. Dev rose from 0.69 to 0.7.",
        "From step 210 on. Dev <fell>.",
        "train.epochs 4 instead of 5",
        "Dev was best after 3.5 passes of 5.0. Prechelt 1998",
        "All 11 looks at dev",
    ):
        assert expected in text, expected
    assert text.index("Learning curves") < text.index("What the guard saw") < text.index("Data")
    assert 'id="guard"' not in to_html(made.facts(history=[]))


def test_every_chart_marks_what_happened_and_losses_without_dropout_have_one_of_their_own() -> None:
    written = to_html(made.guarded())
    assert written.count('<figure class="chart signed">') == 3
    for kind, count in (("remedy", 2), ("thawed", 1), ("skipped", 2)):
        assert written.count(f'class="mark {kind}"') == 3 * count
    assert written.count('class="sign-of"') == 6
    assert "best state at step 210" in written.split("loss without dropout")[1]
    assert "dotted line layers were thawed" in " ".join(written.split())
    calm = to_html(made.facts())
    assert calm.count('<figure class="chart">') == 2
    assert 'class="mark' not in calm


def test_a_run_that_skipped_every_other_step_and_looked_at_all_stays_a_small_page() -> None:
    seen = {"dev": {"cosine_accuracy@1": 0.5}, "signs": {"train_loss": 0.4}, "diagnosis": "plateau", "reason": "flat"}
    skipped = [{"step": step, "skipped": "loss is nan"} for step in range(1, 4000, 2)]
    history = [*({"step": step, **seen} for step in range(0, 4000, 2)), *skipped]
    page = to_html(made.facts(history=history, steps=4000, best_step=10))
    assert len(page) < 800_000
    assert "51 of 2,000 looks at dev" in page
