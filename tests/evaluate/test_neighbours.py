"""Nearest neighbours in blocks are those of the whole matrix, ties included."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.evaluate import retrieval
from embertune.evaluate.evalset import Relevant
from embertune.evaluate.similarity import BY_NAME, SIMILARITIES, SimilarityName, pairwise

whole = st.integers(-2, 2)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(whole, whole), min_size=1, max_size=9),
    st.lists(st.tuples(whole, whole), min_size=1, max_size=30),
    st.integers(1, 35),
    st.sampled_from(["dot", "manhattan"]),
)
def test_blocks_find_what_the_whole_matrix_holds_and_break_ties_by_number(
    queries: list[tuple[int, int]], documents: list[tuple[int, int]], depth: int, name: SimilarityName
) -> None:
    """Whole numbers, so that similarities are exact and often equal."""
    asked, known = np.array(queries, dtype=np.float32), np.array(documents, dtype=np.float32)
    with patch.object(retrieval, "_QUERIES", 4), patch.object(retrieval, "_DOCUMENTS", 7):
        found = retrieval.nearest(name, asked, known, depth)
    everything = BY_NAME[name].block(asked, known)
    expected = np.argsort(-everything, axis=1, kind="stable")[:, :depth]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_rows_and_blocks_agree_on_what_similarity_is(name: SimilarityName) -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(20, 12)).astype(np.float32) for _ in range(2))
    similarity = BY_NAME[name]
    block = similarity.block(similarity.ready(a), similarity.ready(b))
    at = np.arange(20)
    assert block.dtype == np.float32
    assert np.allclose(pairwise(name, a, b, (at, at)), np.diag(block), atol=1e-5)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_an_embedding_of_zeros_has_a_finite_similarity(name: SimilarityName) -> None:
    nothing, something = np.zeros((1, 4), dtype=np.float32), np.ones((1, 4), dtype=np.float32)
    at = np.zeros(1, dtype=np.int64)
    assert np.isfinite(pairwise(name, nothing, something, (at, at))).all()
    assert retrieval.nearest(name, nothing, something, 3).tolist() == [[0]]


def test_a_text_compared_with_itself_has_cosine_exactly_one() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 33)).astype(np.float32)
    at = np.arange(500)
    assert set(pairwise("cosine", vectors, vectors, (at, at)).tolist()) == {1.0}


def test_a_corpus_smaller_than_the_depth_gives_metrics_all_the_same() -> None:
    relevant = Relevant(np.array([0, 1, 3]), np.array([1, 0, 1]))
    values = retrieval.ranking_items(np.array([[0, 1], [1, 0]]), relevant)
    assert values["accuracy@1"].tolist() == [0, 1]
    assert values["recall@10"].tolist() == [1, 1]
    assert values["precision@10"].tolist() == [0.1, 0.2]
    assert values["mrr@10"].tolist() == [0.5, 1]
    assert values["map@100"].tolist() == [0.5, 1]
    assert values["ndcg@10"] == pytest.approx([1 / np.log2(3), 1])
