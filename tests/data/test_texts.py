from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.findings import Finding
from embertune.data.keyed import keyed
from embertune.data.prepared import Corpus, Prepared
from embertune.data.texts import DOCUMENTS, Tokens, findings_of_texts, read_columns
from tests.data.made import few, shaped
from tests.tiny import toy_pairs, toy_triplets

WORDS = Tokens(lambda texts, _column: np.array([len(text.split()) + 2 for text in texts], dtype=np.int64), limit=8)


def found(prepared: Prepared, tokens: Tokens | None = None) -> dict[str, Finding]:
    return {one.kind: one for one in findings_of_texts("train", read_columns(keyed("train", prepared), tokens), tokens)}


def pairs(*texts: str) -> Prepared:
    """Rows with these answers, and twenty more that say enough."""
    rows = [{"anchor": f"what about thing {i}", "positive": text} for i, text in enumerate(texts)]
    return shaped(rows + toy_pairs(20))


def test_lengths_are_told_in_words_without_a_model_and_in_its_tokens_with_one() -> None:
    rows = shaped(toy_pairs(40))
    assert found(rows)["lengths"].text.startswith("words (median / 95 % have at most / longest): anchor 6 / 8 / 8")
    assert found(rows, WORDS)["lengths"].text.startswith("tokens (median / 95 % have at most / longest): anchor 8 / 10")
    assert "truncated" not in found(rows)


def test_truncation_is_counted_in_texts_and_in_the_share_of_tokens_that_is_lost() -> None:
    prepared = shaped([{"anchor": "a word", "positive": " ".join(["word"] * n)} for n in (1, 6, 7, 14)])
    cut = found(prepared, WORDS)["truncated"]
    assert (cut.count, cut.of) == (2, 8)
    assert "8 tokens that the model reads; 17.3% of all tokens are lost (positive 25.0%)" in cut.text  # 9 of 52
    assert cut.examples[0].startswith("16 tokens: word word")


@given(st.lists(st.integers(1, 30), min_size=2, max_size=30), st.integers(3, 20))
@few
def test_tokens_lost_are_those_above_the_limit(lengths: list[int], limit: int) -> None:
    rows = shaped([{"anchor": f"q{i}", "positive": " ".join(["w"] * n)} for i, n in enumerate(lengths)])
    tokens = Tokens(lambda texts, _column: np.array([len(text.split()) for text in texts], dtype=np.int64), limit)
    cut = found(rows, tokens).get("truncated")
    assert (cut.count if cut else 0) == sum(n > limit for n in lengths)


@pytest.mark.parametrize("text", ["...", "---", "?!", "(*)", "—", "🙂"])
def test_a_text_without_letters_and_digits_is_empty(text: str) -> None:
    finding = found(pairs(text))["empty"]
    assert (finding.count, finding.of, finding.examples) == (1, 42, (text,))


@pytest.mark.parametrize("text", ["a", "ok", "no.", " yes ", "(1)", "的"])
def test_a_text_of_a_few_letters_is_very_short(text: str) -> None:
    assert found(pairs(text))["very_short"].count == 1


@pytest.mark.parametrize("text", ["card", "2024", "你好", "заём", "a b c d"])
def test_a_text_of_more_letters_is_not(text: str) -> None:
    assert {"very_short", "empty"}.isdisjoint(found(pairs(text)))


def test_one_text_in_a_fifth_of_the_rows_makes_a_column_nearly_constant() -> None:
    rows = toy_pairs(100)
    for row in rows[:25]:
        row["positive"] = "See the handbook."
    finding = found(shaped(rows))["constant"]
    assert (finding.count, finding.of, finding.examples) == (25, 100, ("See the handbook.",))
    assert "constant" not in found(shaped(toy_pairs(100)))


def test_a_column_with_a_single_text_is_constant() -> None:
    rows = [row | {"negative": "never"} for row in toy_pairs(5)]
    assert found(shaped(rows))["constant"].text == "negative has the same text in every row"


def test_the_documents_of_a_corpus_are_read_too() -> None:
    prepared = shaped(toy_pairs(5))
    prepared = Prepared(
        prepared.name, "retrieval", prepared.rows, corpus=Corpus(("a", "b"), ("", "one two three four"))
    )
    columns = {column.name: column for column in read_columns(keyed("train", prepared))}
    assert columns[DOCUMENTS].lengths.tolist() == [0, 4]
    assert columns[DOCUMENTS].empty.tolist() == [0]
    assert DOCUMENTS not in {column.name for column in read_columns(keyed("train", prepared), corpus=False)}


def test_no_finding_holds_a_text_but_in_its_examples() -> None:
    rows = [row | {"negative": "wolverine"} for row in toy_triplets(30)]
    for finding in found(shaped(rows), WORDS).values():
        assert "wolverine" not in finding.text


def test_a_prompt_and_special_tokens_are_the_business_of_who_counts() -> None:
    asked: list[str] = []

    def count(texts: Sequence[str], column: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        asked.append(column)
        return np.ones(len(texts), dtype=np.int64)

    read_columns(keyed("train", shaped(toy_triplets(5))), Tokens(count))
    assert asked == ["anchor", "positive", "negative"]
