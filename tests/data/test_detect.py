"""Columns to roles: what the names say, what the content says against it, and what is left in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from embertune.data.roles import ALIASES, is_id
from embertune.data.shapes import ShapeSettings, describe, shape
from embertune.data.sources import read
from embertune.errors import DataError
from tests.data.made import Row, rows_of, shaped

_WORDS = ("harbour", "lantern", "ferry", "quay")


def made(columns: Sequence[str], **special: Sequence[Any]) -> list[dict[str, Any]]:
    """Four rows: a text in every column, but for the special ones."""
    texts = [{name: f"{name} {word}" for name in columns} for word in _WORDS]
    return [{**row, **{name: values[n] for name, values in special.items()}} for n, row in enumerate(texts)]


_SCORES = (0.0, 0.25, 0.5, 1.0)
_BITS = (0, 1, 1, 0)
_NAMES = ("a", "b", "a", "b")
_NLI = ("entailment", "contradiction", "neutral", "entailment")


FOUND = [
    (made(["anchor", "positive"]), "pairs", {"anchor": "anchor", "positive": "positive"}),
    (made(["query", "passage"]), "pairs", {"anchor": "query", "positive": "passage"}),
    (made(["Question", "ANSWER"]), "pairs", {"anchor": "Question", "positive": "ANSWER"}),
    (made(["sentence1", "sentence2"]), "pairs", {"anchor": "sentence1", "positive": "sentence2"}),
    (
        made(["query", "positive", "negative"]),
        "triplets",
        {"anchor": "query", "positive": "positive", "negative": "negative"},
    ),
    (
        made(["query", "document", "neg_2", "neg_1"]),
        "triplets",
        {"anchor": "query", "positive": "document", "negative": "neg_1", "negative_2": "neg_2"},
    ),
    (
        made(["premise", "entailment", "contradiction"]),
        "triplets",
        {"anchor": "premise", "positive": "entailment", "negative": "contradiction"},
    ),
    (
        made(["sentence1", "sentence2"], score=_SCORES),
        "scored",
        {"sentence1": "sentence1", "sentence2": "sentence2", "score": "score"},
    ),
    (
        made(["text_a", "text_b"], similarity=_SCORES),
        "scored",
        {"sentence1": "text_a", "sentence2": "text_b", "score": "similarity"},
    ),
    (
        made(["sentence1", "sentence2"], label=_SCORES),
        "scored",
        {"sentence1": "sentence1", "sentence2": "sentence2", "label": "label"},
    ),
    (
        made(["question1", "question2"], is_duplicate=_BITS),
        "labelled",
        {"sentence1": "question1", "sentence2": "question2", "label": "is_duplicate"},
    ),
    (
        made(["query", "passage"], label=(True, False, True, False)),
        "labelled",
        {"sentence1": "query", "sentence2": "passage", "label": "label"},
    ),
    (made(["text"], label=_NAMES), "classes", {"text": "text", "label": "label"}),
    (made(["utterance"], intent=_NAMES), "classes", {"text": "utterance", "label": "intent"}),
    (made(["question"], category=(3, 4, 3, 4)), "classes", {"text": "question", "label": "category"}),
    (
        made(["text"], label=(0, 1, 0, 1), label_text=_NAMES),
        "classes",
        {"text": "text", "label": "label_text"},
    ),
]


@pytest.mark.parametrize(("rows", "shape_", "columns"), FOUND)
def test_names_of_columns_make_the_shape(rows: list[Row], shape_: str, columns: dict[str, str]) -> None:
    prepared = shaped(rows)
    assert (prepared.shape, dict(prepared.columns)) == (shape_, columns)


@pytest.mark.parametrize(("rows", "shape_", "columns"), FOUND)
def test_what_was_found_can_be_written_and_gives_the_same_rows(
    rows: list[Row], shape_: Any, columns: dict[str, str]
) -> None:
    found, written = shaped(rows), shaped(rows, columns=columns, shape=shape_)
    assert rows_of(written.rows) == rows_of(found.rows)
    assert written.columns == found.columns


@pytest.mark.parametrize("names", [("premise", "hypothesis"), ("sentence1", "sentence2")])
@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_inference_labels_in_any_case_make_inference_rows(names: tuple[str, str], change: Any) -> None:
    rows = made(names, label=[change(name) for name in _NLI])
    assert shaped(rows, keep_nli=True).shape == "nli"


def test_numbers_are_inference_labels_only_beside_a_premise_or_when_declared() -> None:
    assert shaped(made(["premise", "hypothesis"], label=(0, 1, 2, 0)), keep_nli=True).shape == "nli"
    pairs = made(["sentence1", "sentence2"], label=(0, 1, 2, 0))
    with pytest.raises(DataError, match=r"write data\.shape: labelled .*, scored .*, or nli"):
        shaped(pairs)
    assert shaped(pairs, shape="nli", keep_nli=True).shape == "nli"


def test_a_data_sets_own_class_labels_are_read_by_name() -> None:
    names = ["contradiction", "entailment", "neutral"]
    features = Features({"premise": Value("string"), "hypothesis": Value("string"), "label": ClassLabel(names=names)})
    rows = Dataset.from_list(made(["premise", "hypothesis"], label=(1, 0, 2, -1)), features=features)
    prepared = shape(read(rows), "train", ShapeSettings(keep_nli=True))
    assert prepared.rows["label"][:] == [0, 2, 1]
    assert prepared.notes[-1].count == 1


def test_roles_can_be_written_and_then_leave_no_doubt() -> None:
    rows = made(["q", "a", "negatve", "query"])
    prepared = shaped(rows, columns={"anchor": "q", "positive": "a"})
    assert prepared.shape == "pairs"
    assert prepared.rows[0]["anchor"] == "q harbour"
    assert "negatve, query" in prepared.notes[0].text


def test_some_roles_may_be_written_and_the_others_found() -> None:
    rows = made(["ask", "passage", "negative"])
    assert shaped(rows, columns={"anchor": "ask"}).shape == "triplets"


def test_negatives_can_be_written_by_number() -> None:
    columns = {"anchor": "a", "positive": "b", "negative": "d", "negative_2": "c"}
    prepared = shaped(made(["a", "b", "c", "d"]), columns=columns)
    assert prepared.text_columns == ("anchor", "positive", "negative", "negative_2")
    assert prepared.rows[0]["negative_2"] == "c harbour"


def test_the_label_of_classes_can_be_written() -> None:
    assert shaped(made(["body"], tag=_NAMES), columns={"text": "body", "label": "tag"}).shape == "classes"


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (made(["anchor", "positive"]), {"ancor": "anchor"}, "no role 'ancor'; did you mean 'anchor'"),
        (made(["anchor", "positive"]), {"positive": "positiv"}, "no column 'positiv' in .*; did you mean 'positive'"),
        (made(["q", "a"]), {"anchor": "q", "positive": "q"}, "one column stands for two roles"),
        (made(["q", "doc_id"]), {"anchor": "q", "positive": "doc_id"}, "'doc_id' is an id and never text"),
        (made(["anchor", "positve"]), {}, r"no shape fits.*write data\.columns: {anchor: anchor, positive: positve}"),
        (made(["anchor", "positive", "negatve"]), {}, r"'negatve' may be meant as the negative"),
        (made(["question", "context", "answer"]), {}, "context and answer may both be the positive"),
        (made(["text", "sentence"], label=_NAMES), {}, "text and sentence may both be the text"),
        (made(["sentence1", "sentence2"], scroe=_SCORES), {}, "two sentences, and scroe, which no role is known for"),
        (made(["sentence1", "sentence2"], score=_SCORES, label=_BITS), {}, r"more than one shape \(scored or judged\)"),
        (made(["query", "positive"], intent=_NAMES), {}, r"more than one shape \(classes or pairs\)"),
        (made(["foo", "bar"]), {}, r"foo: 'foo harbour'\s+bar: 'bar harbour'"),
        (made(["text"]), {}, "no shape fits the columns"),
        (
            made(["anchor", "positive"], negative=(1, 2, 3, 4)),
            {"negative": "negative"},
            "column 'negative' is not text",
        ),
        (made(["positive"], anchor=(1, 2, 3, 4)), {"anchor": "anchor"}, "column 'anchor' is not text"),
        (made(["sentence1", "sentence2"], label=_NAMES), {}, "this may be several shapes"),
    ],
)
def test_doubt_is_an_error_that_shows_what_to_write(rows: list[Row], columns: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=f"(?s){message}"):
        shaped(rows, columns=columns)


@pytest.mark.parametrize("name", ["id", "_id", "doc_id", "query-id", "idx", "qid1", "captionID", "uuid", "docid"])
def test_an_id_column_is_known_by_its_name(name: str) -> None:
    assert is_id(name)


@pytest.mark.parametrize("name", [alias for names in ALIASES.values() for alias in names])
def test_no_alias_is_an_id(name: str) -> None:
    assert not is_id(name)


@pytest.mark.parametrize("name", ["grid", "paid", "android", "covid", "said", "idea", "squid"])
def test_a_word_that_ends_like_an_id_is_none(name: str) -> None:
    assert not is_id(name)


def test_id_columns_never_become_text() -> None:
    rows = made(["anchor", "positive", "anchor_id", "id"])
    prepared = shaped(rows)
    assert set(prepared.rows.column_names) == {"anchor", "positive", "group"}
    uuids = ["123e4567-e89b-12d3-a456-42661417400" + str(n) for n in range(4)]
    with pytest.raises(DataError, match="no shape fits"):
        shaped(made(["anchor"], positive=uuids))


def test_columns_that_are_not_used_are_told() -> None:
    prepared = shaped(made(["anchor", "positive", "source", "colour"]))
    assert prepared.notes[0].text == "columns not used: source, colour"


def test_a_declared_shape_refuses_columns_that_do_not_make_it() -> None:
    with pytest.raises(DataError, match=r"data\.columns: \{sentence1: .*, score: <column>\}"):
        shaped(made(["sentence1", "sentence2"]), shape="scored")


def test_a_list_of_negatives_becomes_columns_as_wide_as_the_shortest() -> None:
    rows = made(["anchor", "positive"], negatives=(["n1", "n2"], ["n3", "n4", "n5"], ["n6", "n7"], ["n8", "n9"]))
    prepared = shaped(rows)
    assert prepared.text_columns == ("anchor", "positive", "negative", "negative_2")
    assert prepared.rows["negative_2"][:] == ["n2", "n4", "n7", "n9"]
    assert prepared.notes[0].count == 1


@pytest.mark.parametrize("bad", [[], [""], None, ["a", None]])
def test_a_row_without_negatives_is_named(bad: Any) -> None:
    rows = made(["anchor", "positive"], negatives=(["n1"], bad, ["n2"], ["n3"]))
    with pytest.raises(DataError, match="column 'negatives' has no negative, or an empty one, in row 2"):
        shaped(rows)


def test_negatives_in_lists_can_be_written_by_role() -> None:
    rows = made(["q", "a"], others=(["n1"],) * 4)
    prepared = shaped(rows, columns={"anchor": "q", "positive": "a", "negatives": "others"})
    assert (prepared.shape, prepared.rows[3]["negative"]) == ("triplets", "n1")


def test_lists_are_no_positives_and_not_proposed_as_such() -> None:
    with pytest.raises(DataError, match=r"\{anchor: query, positive: <column>, negative: neg\}"):
        shaped(made(["query"], pos=(["p"],) * 4, neg=(["n"],) * 4))


def test_rows_that_are_no_retrieval_set_cannot_be_declared_one() -> None:
    with pytest.raises(DataError, match=r"is no retrieval set; name a folder with corpus\.jsonl"):
        shaped(made(["query", "answer"]), shape="retrieval")


def test_three_rows_are_echoed_with_their_roles() -> None:
    assert describe(shaped(made(["text"], label=_NAMES)))[1] == {"text": "text lantern", "label": "b"}
    assert len(describe(shaped(made(["query", "answer"])))) == 3
    assert describe(shaped(made(["s1", "s2"], score=_SCORES)), 2)[1]["score"] == "0.25"
    assert describe(shaped(made(["premise", "hypothesis"], label=_NLI), keep_nli=True))[1]["label"] == "contradiction"
