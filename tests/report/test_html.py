"""report.html is one well-formed file that reaches for nothing, shows everything, and runs nothing that data says."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from embertune.choose import Choice
from embertune.report import Facts, Side, to_html
from tests.report import made

_VOID = {"meta", "link", "br", "wbr", "img", "hr", "input"}
SECTIONS = ("verdict", "results", "curves", "data", "audit", "rows", "environment", "recipe", "load")
#: What is there where something was seen on test.
MORE = ("similarity", "moved", "neighbours", "sizes")


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
    bare = made.facts(proof=proof, history=[], notes=[], rows=[], timing={}, environment={}, stopped="", metric=None)
    return replace(bare, seen=None)


def _names() -> Facts:
    """A run in which everything that has a name has a hostile one."""
    bad = f"$x_{{2}}^$ {made.HOSTILE['script']} {made.HOSTILE['rtl']} {made.HOSTILE['long'].replace(' ', '')}"
    history = [{"step": n, "loss": 1.0, "rates": {f"{n}{bad}": 1e-5}} for n in range(1, 4)]
    history += [{"step": n, "dev": {bad: 0.1 * n}, "signs": {"train_loss": 0.5}} for n in range(4)]
    seen = replace(made.seen(), metric=bad, similarity=bad, judged=bad, similarities=(bad,))
    sides = [Side("train", bad, "pairs", 10), Side("test", bad, "pairs", 10)]
    proof = made.proof(baseline={bad: 0.5}, tuned={bad: 0.6}, change={}, primary=bad, sentence=bad)
    return made.facts(title=bad, history=history, metric=bad, seen=seen, sides=sides, proof=proof)


PAGES = {
    "names": _names(),
    "calm": made.facts(),
    "guarded": made.guarded(),
    "hostile": made.hostile(examples=True),
    "hidden": made.hostile(examples=False),
    "bare": _nothing_measured(),
    "one look": made.facts(history=[{"step": 0, "dev": {"m": 0.5}}, {"step": 1, "loss": 1.0}], metric="m", seen=None),
}


@cache
def page_of(name: str) -> str:
    """A page of `PAGES`, drawn once."""
    return to_html(PAGES[name])


@pytest.fixture(params=PAGES, scope="module")
def page(request: pytest.FixtureRequest) -> Page:
    return Page(page_of(request.param))


def test_every_tag_is_closed_in_order(page: Page) -> None:
    assert (page.wrong, page.open) == ([], [])


def test_every_section_is_there(page: Page) -> None:
    assert [name for name in page.values("id") if name in SECTIONS] == list(SECTIONS)


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    reaching = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "formaction", "background"}
    loaded = [(tag, value) for tag, name, value in page.attributes if name in reaching]
    inside = [one for one in loaded if one[1].startswith("#")]
    files = [one for one in loaded if one[1].startswith("data:text/csv;base64,")]
    assert ({tag for tag, _ in inside} | {tag for tag, _ in files}) <= {"use", "a"}
    assert [one for one in loaded if one not in inside + files] == [("link", "data:,")]
    assert not page.tags & {"script", "iframe", "object", "embed", "img", "base", "form"}


def test_the_style_reaches_for_nothing() -> None:
    style = re.findall(r"<style>(.*?)</style>", page_of("calm"), re.DOTALL)
    assert len(style) == 1
    assert not re.search(r"url\(|@import|@font-face|https?:", style[0])
    drawn = re.findall(r"url\((.)", page_of("calm"))
    assert set(drawn) == {"#"}


def test_the_browser_is_told_to_load_nothing(page: Page) -> None:
    policy = next(value for value in page.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_no_attribute_of_the_page_runs_code(page: Page) -> None:
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_texts_of_the_data_are_shown_as_they_are() -> None:
    text = Page(page_of("hostile")).text
    for name in ("script", "markup", "template"):
        assert made.HOSTILE[name] in text
    assert "{{ 7 * 7 }}" in text


def test_forced_directions_are_told_and_others_kept_apart() -> None:
    written = page_of("hostile")
    assert "⟨U+202E⟩okapi" in written
    assert "\u202e" not in written
    assert re.search(r'<dd dir="auto"><bdi>⟨U\+202E⟩okapi', written)
    assert re.search(r'<li dir="auto"><bdi>⟨U\+202E⟩okapi', written)


def test_names_are_text_on_plots_too_and_no_mathematics() -> None:
    written = page_of("names")
    assert "$x_{2}^$" in "".join(re.findall(r"<text [^>]*>([^<]*)", written))
    assert "\u202e" not in written
    assert "alert('wolverine')</script>" not in written


def test_a_long_text_is_cut() -> None:
    written = page_of("hostile")
    assert "axolotl…" in written
    assert len(written) < 250_000


def test_hidden_texts_are_nowhere_and_the_page_says_so() -> None:
    page = Page(page_of("hidden"))
    assert not [word for word in made.WORDS if word in page_of("hidden")]
    assert "report.examples is false" in page.text
    assert not {"relevant", "moved"} & set(page.values("class"))


def test_every_metric_appears_with_its_numbers() -> None:
    page = Page(page_of("calm"))
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
    text = Page(page_of("calm")).text
    assert text.index("23 more now find their match first") < text.index("Results") < text.index("Learning curves")


def test_a_long_history_stays_a_small_page() -> None:
    facts = made.facts(history=made.history(10_000, 500), steps=10_000, best_step=7_000)
    assert len(to_html(facts)) < 400_000


def test_the_same_facts_give_the_same_page() -> None:
    assert to_html(made.facts()) == page_of("calm")


def test_findings_stand_in_a_table_with_what_was_done_and_their_examples() -> None:
    written = page_of("calm")
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
    written = page_of("guarded")
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


def test_every_learning_curve_has_its_numbers_and_says_what_happened() -> None:
    page = Page(page_of("guarded"))
    names = ["dev", "loss", "training-loss", "learning-rate", "similarity-base", "similarity-saved"]
    names += ["size-dimensions"]
    assert page.values("data-plot") == names
    assert page.values("download") == [f"{name}.csv" for name in names]
    text = " ".join(page.text.split())
    for expected in ("a remedy of the guard, numbered as below", "layers were thawed", "best 0.7003 at step 210"):
        assert expected in text, expected
    calm = " ".join(Page(page_of("calm")).text.split())
    assert ("the best state" in calm, "layers were thawed" in calm) == (True, False)


def test_every_drawing_is_described_in_words() -> None:
    page = Page(page_of("guarded"))
    told = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert sum(" from 1.9500 at step 0 to 0.0848 at step 300" in one for one in told) == 1
    assert all(len(one) > 20 for one in told)


def test_what_was_won_and_lost_and_what_is_near_is_shown_with_its_texts() -> None:
    page = Page(page_of("calm"))
    assert [name for name in page.values("id") if name in MORE] == list(MORE)
    text = " ".join(page.text.split())
    for expected in ("▲ Won", "▼ Lost", "7 more", "1.0000 → 0.0000", "✓ relevant", "cosine similarity"):
        assert expected in text, expected
    assert page.values("class").count("relevant") == 6
    assert "Dot accuracy@1 falls by 0.0120, where cosine rises." in text


def test_where_the_base_is_saved_both_sides_are_told_to_be_the_same() -> None:
    page = Page(to_html(made.facts(choice=Choice("base", "nothing beat it"))))
    assert page.text.count("both are the same") == 2
    assert "both are the same" not in page_of("calm")


def test_without_anything_seen_there_are_no_empty_sections() -> None:
    assert not [name for name in Page(to_html(made.facts(seen=None))).values("id") if name in MORE]
    nothing = replace(made.seen(), before=None, after=None, won=(), lost=(), neighbours=(), sizes=())
    assert not [name for name in Page(to_html(made.facts(seen=nothing))).values("id") if name in MORE]


def test_a_run_that_skipped_every_other_step_and_looked_at_all_stays_a_small_page() -> None:
    seen = {"dev": {"cosine_accuracy@1": 0.5}, "signs": {"train_loss": 0.4}, "diagnosis": "plateau", "reason": "flat"}
    skipped = [{"step": step, "skipped": "loss is nan"} for step in range(1, 4000, 2)]
    history = [*({"step": step, **seen} for step in range(0, 4000, 2)), *skipped]
    page = to_html(made.facts(history=history, steps=4000, best_step=10))
    assert len(page) < 800_000
    assert "51 of 2,000 looks at dev" in page
