"""Memory is weighed with the longest negatives that training may meet, not with the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from embertune.data.prepared import Corpus
from embertune.negatives import mining_anew
from embertune.recipe import load_recipe
from embertune.training.longest import with_longest
from embertune.training.memory import IntArray
from embertune.watch import Silent
from tests import tiny
from tests.training.made import planned, prepared

Loader = Callable[[], SentenceTransformer]


def letters(texts: Sequence[str], prompt: str) -> IntArray:
    """A text has as many tokens as letters."""
    return np.array([len(prompt + text) for text in texts], dtype=np.int64)


@given(st.lists(st.tuples(*[st.text("ab", min_size=1, max_size=9)] * 3), min_size=1, max_size=12), st.integers(1, 6))
def test_no_mined_negative_of_a_batch_is_longer_whatever_is_mined(rows: list[tuple[str, ...]], size: int) -> None:
    columns = {name: [row[n] for row in rows] for n, name in enumerate(("anchor", "positive", "negative"))}
    train = prepared("triplets", {**columns, "group": range(len(rows))})
    recipe = load_recipe(set={"data.negatives.every": 1, "train.batch_size": max(2, size)})
    found = with_longest(train, recipe, {}, letters)
    assert len(found) >= min(size, len(rows))
    assert min(map(len, found.rows["negative"])) == max(map(len, columns["positive"] + columns["negative"]))
    assert max(map(len, found.rows["anchor"])) == max(map(len, columns["anchor"]))


def test_a_document_that_no_row_names_may_be_the_longest() -> None:
    rows = {"anchor": ["a", "b"], "positive": ["c", "d"], "negative": ["d", "c"], "group": [0, 1]}
    train = prepared("triplets", rows)
    with_corpus = type(train)(**{**train.__dict__, "corpus": Corpus(("1",), ("a long document",))})
    recipe = load_recipe(set={"data.negatives.every": 1, "train.batch_size": 2})
    assert with_longest(with_corpus, recipe, {}, letters).rows["negative"][0] == "a long document"


@pytest.mark.parametrize("negatives", [None, {"num_negatives": 1}])
def test_rows_whose_negatives_stay_are_weighed_as_they_are(negatives: dict[str, int] | None) -> None:
    train = prepared("pairs", {"anchor": ["a"], "positive": ["b"], "group": [0]})
    assert with_longest(train, load_recipe(set={"data.negatives": negatives}), {}, letters) is train


def test_later_negatives_need_no_more_than_was_weighed(tiny_model: Loader, tmp_path: Path) -> None:
    rows = tiny.toy_pairs(40)
    rows[7]["positive"] = " ".join(tiny.COMMON[:60])
    made = planned(tiny_model(), rows, data__negatives__every=1, train__batch_size=4)
    once = planned(tiny_model(), rows, data__negatives__num_negatives=1, train__batch_size=4)
    assert made.memory.lengths[0, 2] == made.memory.lengths.max() > 50
    assert made.memory.tokens >= once.memory.tokens
    renew = mining_anew(made.resolved.recipe, made.encode, Silent())
    assert renew is not None
    train = made.data.sides.train
    for _ in range(3):
        for parameter in made.built.model.parameters():
            parameter.data = parameter.data.flip(0)
        train = renew(train)
        assert made.tokens is not None
        longest = max(made.tokens.lengths(list(train.rows["negative"])))
        assert made.memory.lengths[0, 2] >= longest
