"""What the bundled sample promises: its size, its variety, and the rule by which its questions are split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import embertune

SAMPLE = Path(embertune.__file__).parent / "sample"
HELP = SAMPLE / "help"
SPLITS = ("train", "dev", "test-wordings", "test-articles")
LABELS = {"entailment", "neutral", "contradiction"}
#: More questions than this that begin with the same five words would look like a filled-in template.
ALIKE = 5

#: split -> (question id, article id)
Judged = dict[str, list[tuple[str, str]]]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plain(text: str) -> str:
    """A text as it compares: words in lower case, without punctuation at their ends."""
    return " ".join(word.strip(".,;:?!'\"()") for word in text.lower().split())


def most_alike(texts: Sequence[str], words: int = 5) -> tuple[str, int]:
    """The commonest first words of texts that have at least that many, and how often they stand."""
    openings = (plain(text).split()[:words] for text in texts)
    return Counter(" ".join(opening) for opening in openings if len(opening) == words).most_common(1)[0]


@pytest.fixture(scope="module")
def articles() -> dict[str, dict[str, str]]:
    return {row["_id"]: row for row in lines(HELP / "corpus.jsonl")}


@pytest.fixture(scope="module")
def questions() -> dict[str, str]:
    return {row["_id"]: row["text"] for row in lines(HELP / "queries.jsonl")}


@pytest.fixture(scope="module")
def judged() -> Judged:
    rows: Judged = {}
    for split in SPLITS:
        head, *body = (HELP / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        assert head == "query-id\tcorpus-id\tscore"
        assert all(line.endswith("\t1") for line in body)
        rows[split] = [(line.split("\t")[0], line.split("\t")[1]) for line in body]
    return rows


def articles_of(judged: Judged, *splits: str) -> set[str]:
    return {article for split in splits for _, article in judged[split]}


@pytest.fixture(scope="module")
def inferences() -> list[dict[str, str]]:
    return lines(SAMPLE / "nli.jsonl")


def test_there_are_a_hundred_articles_of_forty_to_a_hundred_and_twenty_words(articles: dict[str, Any]) -> None:
    lengths = {name: len(article["text"].split()) for name, article in articles.items()}
    assert len(articles) >= 100
    assert {name: words for name, words in lengths.items() if not 40 <= words <= 120} == {}


def test_no_article_stands_twice(articles: dict[str, Any]) -> None:
    assert len(articles) == len(lines(HELP / "corpus.jsonl"))
    for part in ("text", "title"):
        assert len({plain(article[part]) for article in articles.values()}) == len(articles)


def test_every_article_has_five_questions_and_no_question_stands_twice(
    articles: dict[str, Any], questions: dict[str, str], judged: Judged
) -> None:
    asked = Counter(article for rows in judged.values() for _, article in rows)
    assert set(asked) == set(articles)
    assert min(asked.values()) >= 5
    assert len({plain(question) for question in questions.values()}) == len(lines(HELP / "queries.jsonl"))


def test_questions_differ_in_length_and_many_use_no_word_of_the_title(
    articles: dict[str, Any], questions: dict[str, str], judged: Judged
) -> None:
    assert sum(len(question.split()) <= 4 for question in questions.values()) >= 50
    assert sum(len(question.split()) >= 15 for question in questions.values()) >= 50
    titles = {query: articles[article]["title"] for rows in judged.values() for query, article in rows}
    without = [q for q, title in titles.items() if not set(plain(questions[q]).split()) & set(plain(title).split())]
    assert len(without) >= 100


def test_no_two_questions_are_one_template_filled_in_twice(questions: dict[str, str]) -> None:
    opening, times = most_alike(list(questions.values()))
    assert times <= ALIKE, f"{times} questions begin with {opening!r}"


def test_articles_and_hypotheses_do_not_begin_alike(articles: dict[str, Any], inferences: list[dict[str, str]]) -> None:
    for texts in ([a["text"] for a in articles.values()], [row["hypothesis"] for row in inferences]):
        opening, times = most_alike(texts)
        assert times <= ALIKE, f"{times} texts begin with {opening!r}"


def test_every_question_stands_in_one_split_only(questions: dict[str, str], judged: Judged) -> None:
    assert sorted(query for rows in judged.values() for query, _ in rows) == sorted(questions)


def test_articles_of_the_article_test_are_never_seen_in_training(judged: Judged) -> None:
    seen = articles_of(judged, "train", "dev", "test-wordings")
    assert articles_of(judged, "test-articles").isdisjoint(seen)


def test_every_article_of_the_wording_test_is_known_from_training(judged: Judged) -> None:
    assert articles_of(judged, "test-wordings") <= articles_of(judged, "train")


def test_the_splits_follow_the_rule_that_the_readme_gives(judged: Judged) -> None:
    asked: dict[str, list[str]] = {}
    for rows in judged.values():
        for query, article in rows:
            asked.setdefault(article, []).append(query)
    ordered = sorted(asked, key=lambda article: sha256(f"article {article}".encode()).hexdigest())
    held = set(ordered[: len(ordered) // 5])
    expected: dict[str, set[tuple[str, str]]] = {split: set() for split in SPLITS}
    for article, queries in asked.items():
        ranked = sorted(queries, key=lambda query: sha256(f"question {query}".encode()).hexdigest())
        for place, query in enumerate(ranked):
            known = ("test-wordings",) * 3 + ("dev",) * 2 + ("train",) * 6
            split = "test-articles" if article in held else known[place]
            expected[split].add((query, article))
    assert {split: set(rows) for split, rows in judged.items()} == expected


def test_sixty_premises_have_all_three_labels(inferences: list[dict[str, str]]) -> None:
    labels: dict[str, set[str]] = {}
    for row in inferences:
        labels.setdefault(row["premise"], set()).add(row["label"])
    assert len(labels) >= 60
    assert {premise: found for premise, found in labels.items() if found != LABELS} == {}


def test_no_hypothesis_stands_twice(inferences: list[dict[str, str]]) -> None:
    assert len({plain(row["hypothesis"]) for row in inferences}) == len(inferences)


def test_the_readme_gives_the_numbers_that_are_there(
    articles: dict[str, Any], questions: dict[str, str], judged: Judged, inferences: list[dict[str, str]]
) -> None:
    readme = " ".join((SAMPLE / "README.md").read_text(encoding="utf-8").split())
    premises = len({row["premise"] for row in inferences})
    held = len(articles_of(judged, "test-articles"))
    said = [f"{len(articles)} articles", f"{len(questions)} questions", f"({held} of {len(articles)})"]
    said += [f"`qrels/{split}.tsv` | {len(rows)} " for split, rows in judged.items()]
    said += [f"{len(inferences)} rows", f"{premises} premises", "Apache-2.0"]
    assert [text for text in said if text not in readme] == []
