from __future__ import annotations

import pytest

from embertune.data.keyed import keyed
from embertune.data.tongues import SAMPLE, findings_of_tongues, language, sampled, script
from tests.data.made import shaped
from tests.tiny import toy_pairs

GERMAN = (
    "Ich möchte wissen, wann das Gemeindehaus an Feiertagen geöffnet ist.",
    "Der Antrag muss bis zum Ende des Monats im Büro abgegeben werden.",
    "Wer seinen Schlüssel verloren hat, meldet sich bitte an der Pforte.",
    "Die Sitzung wurde verschoben, weil der Vorsitzende krank geworden ist.",
)
LONG = "people of the harbour office said that {} must be paid for before the ship can leave the quay"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", "Latin"), ("naïve café", "Latin"), ("Привет, мир", "Cyrillic"), ("مرحبا", "Arabic"),
        ("你好", "Chinese or Japanese"), ("こんにちは", "Chinese or Japanese"), ("안녕하세요", "Hangul"),
        ("ＦＵＬＬ", "Latin"), ("123 !?", ""), ("🙂🙂 €", ""), ("the word мир in a sentence", "Latin"),
    ],
)  # fmt: skip
def test_the_script_of_a_text_is_that_of_most_of_its_letters(text: str, expected: str) -> None:
    assert script(text) == expected


@pytest.mark.parametrize("text", GERMAN)
def test_a_sentence_in_another_language_is_told(text: str) -> None:
    assert language(text) == "de"


def test_short_texts_have_no_language() -> None:
    assert language("guten Tag") == ""


def test_texts_in_another_script_are_counted_against_those_of_their_own_column() -> None:
    rows = [row | {"positive": "Ответ на этот вопрос"} if i < 3 else row for i, row in enumerate(toy_pairs(40))]
    (finding,) = findings_of_tongues(keyed("train", shaped(rows)), 0)
    assert (finding.kind, finding.count) == ("scripts", 1), "distinct texts are counted"
    assert finding.examples == ("Ответ на этот вопрос",)
    assert "positive Latin" in finding.text
    assert "anchor" not in finding.text


def test_a_column_that_mixes_languages_is_found_and_one_foreign_title_is_not() -> None:
    english = [{"anchor": f"question {i}", "positive": LONG.format(f"number {i}")} for i in range(60)]
    mixed = english + [{"anchor": f"frage {i}", "positive": text} for i, text in enumerate(GERMAN)]
    (finding,) = findings_of_tongues(keyed("train", shaped(mixed)), 0)
    assert (finding.kind, finding.count, finding.of) == ("languages", 4, 64)
    assert "positive en 93.8%, de 6.2%" in finding.text
    assert set(finding.examples) == set(GERMAN)
    assert findings_of_tongues(keyed("train", shaped(mixed[:61])), 0) == []


def test_each_column_may_have_a_language_of_its_own() -> None:
    rows = [{"anchor": LONG.format(f"number {i}"), "positive": f"{GERMAN[i % 4]} Nummer {i}."} for i in range(20)]
    assert findings_of_tongues(keyed("train", shaped(rows)), 0) == []


def test_the_sample_is_bounded_and_does_not_hang_on_the_order_of_rows() -> None:
    rows = [{"anchor": f"question number {i}", "positive": f"answer number {i}"} for i in range(SAMPLE)]
    one, other = (sampled(keyed("train", shaped(some)), 7) for some in (rows, rows[::-1]))
    assert {c: sorted(texts) for c, texts in one.items()} == {c: sorted(texts) for c, texts in other.items()}
    assert [len(texts) for texts in one.values()] == [SAMPLE // 2, SAMPLE // 2]
