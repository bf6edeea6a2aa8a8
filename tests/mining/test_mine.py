"""What is mined is never a known positive, a duplicate of one or a text of the same group, whatever the rows are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from embertune.data.groups import group_column
from embertune.data.hashing import folded
from embertune.data.prepared import Prepared
from embertune.errors import DataError, RecipeError
from embertune.mining import Mined, check_shape, joined, kept, make_pool, mine, notes, record
from embertune.recipe.negatives import NegativesSection
from tests.mining.made import encode, encode_by, rows

WORDS = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew"]
texts = st.builds(
    lambda word, form: form.format(word.title() if "T" in form else word).replace("T", ""),
    st.sampled_from(WORDS),
    st.sampled_from(["{}", "  {}. ", "T{}", "{}!"]),
)
tables = st.lists(st.tuples(texts, texts, texts), min_size=2, max_size=25)


def mined(train: Prepared, alike: float | None = 0.8, **leaves: Any) -> Mined:
    return mine(make_pool(train), encode, NegativesSection(**leaves), alike, seed=0)


def table(kind: str, drawn: list[tuple[str, str, str]], corpus: list[str]) -> Prepared:
    columns = {"anchor": [f"who {a}" for a, _, _ in drawn], "positive": [b for _, b, _ in drawn]}
    if kind == "triplets":
        columns["negative"] = [c for _, _, c in drawn]
    return rows(kind, columns, corpus if kind == "retrieval" else ())


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["pairs", "triplets", "retrieval"]),
    tables,
    st.lists(texts, max_size=8),
    st.integers(1, 3),
    st.booleans(),
)
def test_no_negative_is_a_positive_its_duplicate_or_of_the_same_group(
    kind: str, drawn: list[tuple[str, str, str]], corpus: list[str], count: int, random: bool
) -> None:
    train = table(kind, drawn, corpus)
    leaves = {"num_negatives": count, "relative_margin": None, "random": min(int(random), count - 1)}
    try:
        made = joined(train, mined(train, **leaves))
    except DataError:
        assume(False)
    new = made.text_columns[len(train.text_columns) :]
    assert len(new) == count
    groups = group_column(train).tolist()
    of_group: dict[int, set[str]] = {}
    positives: dict[str, set[str]] = {}
    for row, group in zip(train.rows.to_list(), groups, strict=True):
        of_group.setdefault(group, set()).update(folded(row[column]) for column in train.text_columns)
        positives.setdefault(folded(row["anchor"]), set()).add(folded(row["positive"]))
    offered = {folded(text) for column in train.text_columns[1:] for text in train.rows[column]}
    offered |= {folded(text) for text in corpus} if kind == "retrieval" else set()
    for row, group in zip(made.rows.to_list(), groups, strict=True):
        found = [folded(row[column]) for column in new]
        assert len(set(found)) == count
        assert not set(found) & positives[folded(row["anchor"])]
        assert not set(found) & of_group[group]
        assert set(found) <= offered


@settings(max_examples=60, deadline=None)
@given(tables, st.integers(0, 4), st.floats(0, 1), st.floats(0, 0.5), st.floats(-1, 1))
def test_what_is_mined_is_the_best_within_ranks_and_margins(
    drawn: list[tuple[str, str, str]], first: int, relative: float, absolute: float, highest: float
) -> None:
    train = table("pairs", drawn, [])
    leaves = {"range_min": first, "range_max": first + 5, "relative_margin": relative}
    try:
        found = mined(train, None, **leaves, absolute_margin=absolute, max_score=highest)
    except DataError:
        assume(False)
    pool = found.pool
    units = [made / np.linalg.norm(made, axis=1, keepdims=True) for made in (
        encode(pool.anchors.to_pylist(), "anchor"), encode(pool.candidates.to_pylist(), "positive")
    )]  # fmt: skip
    for anchor in range(len(pool.anchors)):
        scores = units[1] @ units[0][anchor]
        positive = min(scores[place] for place in pool.positives[anchor])
        barred = set(pool.barred(np.array([anchor]))[1].tolist())
        window = [n for n in np.argsort(-scores, kind="stable").tolist() if n not in barred][first : first + 5]
        ceiling = min(positive - abs(positive) * relative, positive - absolute, highest)
        fine = [n for n in window if scores[n] <= ceiling]
        assume(not any(abs(scores[n] - ceiling) < 1e-5 for n in window))
        assert bool(found.chosen.drawn[anchor, 0]) == (not fine)
        if fine:
            assert scores[found.chosen.negatives[anchor, 0]] == pytest.approx(scores[fine[0]], abs=1e-6)


def plain_pairs() -> Prepared:
    anchors = [f"question {word}" for word in WORDS]
    return rows("pairs", {"anchor": anchors, "positive": [f"{word} grows over there" for word in WORDS]})


def test_a_near_duplicate_of_the_positive_is_passed_over() -> None:
    texts = ["the long road to the sea is open all year", "The long road to the sea, is open all year now", "a cat"]
    train = rows("pairs", {"anchor": ["one", "two", "three"], "positive": texts})
    lookup = {"one": [1, 0], "two": [1, 0], "three": [0, 1]}
    near = encode_by(lookup | dict(zip(texts, ([1, 0], [1, 0.5], [0.5, 1]), strict=True)))
    for threshold, expected in ((0.6, texts[2]), (None, texts[1])):
        found = mine(make_pool(train), near, NegativesSection(), threshold, seed=0)
        assert joined(train, found).rows[0]["negative"] == expected
        assert (found.chosen.alike > 0) == (threshold is not None)


def test_the_default_margin_keeps_a_negative_at_95_percent_of_the_positive() -> None:
    lookup = {"q": [1.0, 0.0], "right": [1.0, 0.0], "r": [0.0, 1.0]}
    for cosine, taken in ((0.94, True), (0.96, False)):
        lookup["other"] = [cosine, float(np.sqrt(1 - cosine**2))]
        train = rows("pairs", {"anchor": ["q", "r"], "positive": ["right", "other"]})
        found = mine(make_pool(train), encode_by(lookup), NegativesSection(), 0.8, seed=0)
        place = found.pool.anchors.to_pylist().index("q")
        assert found.chosen.drawn[place, 0] == (not taken)


def test_mined_negatives_join_those_that_are_there_as_further_columns() -> None:
    train = plain_pairs()
    once = joined(train, mined(train, num_negatives=2, random=1))
    assert once.text_columns == ("anchor", "positive", "negative", "negative_2")
    twice = joined(once, mined(once))
    assert twice.text_columns == ("anchor", "positive", "negative", "negative_2", "negative_3")
    assert (
        twice.rows.select_columns(list(once.text_columns)).to_list()
        == once.rows.select_columns(list(once.text_columns)).to_list()
    )
    assert twice.shape == "triplets"
    assert twice.rows["group"] == train.rows["group"]
    for row in twice.rows.to_list():
        assert len({row["negative"], row["negative_2"], row["negative_3"], row["positive"]}) == 4


def test_what_is_mined_hangs_neither_on_the_order_of_rows_nor_on_the_call() -> None:
    train = plain_pairs()
    back = train.take(train.rows.select(range(len(train) - 1, -1, -1)))
    first, again, turned = (joined(t, mined(t, num_negatives=3, random=2)).rows.to_list() for t in (train, train, back))
    assert first == again
    assert sorted(first, key=str) == sorted(turned, key=str)


def test_documents_of_the_corpus_are_candidates() -> None:
    columns = {"anchor": ["one", "two"], "positive": ["first answer here", "second answer there"]}
    train = rows("retrieval", columns, ["first answer here", "a third one", "", "and a fourth"])
    found = mined(train, num_negatives=3, relative_margin=None)
    assert found.pool.candidates.to_pylist().count("first answer here") == 1
    assert len(found.pool.candidates) == 4
    assert not found.chosen.drawn.any()


def test_too_few_candidates_are_refused_with_what_would_do() -> None:
    with pytest.raises(
        DataError, match=r"12 of 12 anchors have fewer than 12 texts .* ask for fewer \(num_negatives\)"
    ):
        mined(plain_pairs(), num_negatives=12)


@pytest.mark.parametrize("shape", ["scored", "labelled", "classes", "nli"])
def test_rows_without_anchor_and_positive_are_refused(shape: str) -> None:
    with pytest.raises(RecipeError, match=f"data.negatives: has no effect on {shape} rows"):
        check_shape(shape)


def test_rows_that_chance_fills_are_counted_and_told() -> None:
    found = mined(plain_pairs(), num_negatives=2, max_score=-0.999)
    assert found.chosen.filled == len(WORDS)
    told = notes(found)
    assert "24 more drawn by hash" in told[0].text
    assert told[1].text.startswith("12 anchors have fewer candidates within ranks and margins than asked for")
    assert told[1].examples


def test_the_record_is_json_and_counts_every_score_once() -> None:
    found = mined(plain_pairs(), num_negatives=3, random=1)
    kept = json.loads(json.dumps(record(found)))
    counts = kept["scores"]["counts"]
    assert sum(counts["positive"]) == 12
    assert sum(counts["mined"]) == kept["mined"]
    assert sum(counts["drawn"]) == kept["drawn"]
    assert kept["mined"] + kept["drawn"] == 36
    assert kept["examples"][0]["anchor"].startswith("question")
    assert "examples" not in record(found, examples=False)


def test_what_was_mined_is_taken_from_the_cache_and_is_the_same() -> None:
    train, calls = plain_pairs(), []

    def work() -> Mined:
        calls.append(1)
        return mined(train, num_negatives=3, random=1)

    fresh, again = (kept(make_pool(train), "a model, some settings", "made", work) for _ in range(2))
    assert len(calls) == 1
    assert record(fresh) == record(again) == record(work())
    assert (fresh.chosen.negatives == work().chosen.negatives).all()
    kept(make_pool(train), "another model", "made", work)
    fewer = train.take(train.rows.select(range(8)))
    kept(make_pool(fewer), "a model, some settings", "made", lambda: mined(fewer))
    assert len(calls) == 4
