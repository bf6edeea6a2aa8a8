"""Blocks give what one big product gives, and no more is held at once than a block."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.mining.lists import lists
from embertune.mining.search import cut, nearest, unit_length

pairs_of_numbers = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=40)


def vectors(count: int, seed: int) -> np.ndarray:
    return unit_length(np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32))


def brute_force(
    queries: np.ndarray, documents: np.ndarray, depth: int, barred: set[tuple[int, int]]
) -> list[list[int]]:
    made = []
    for number, query in enumerate(queries):
        scores = documents @ query
        order = [n for n in np.argsort(-scores, kind="stable").tolist() if (number, n) not in barred]
        made.append(order[:depth])
    return made


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 60),
    st.integers(1, 12),
    st.integers(1, 16),
    st.integers(1, 7),
    st.integers(0, 99),
)
def test_blocks_find_what_a_single_product_finds(
    queries: int, documents: int, depth: int, width: int, block: int, seed: int
) -> None:
    asked, offered = vectors(queries, seed), vectors(documents, seed + 1)
    chance = np.random.default_rng(seed + 2)
    marks = np.argwhere(chance.random((queries, documents)) < 0.3)
    forbidden = lists(marks[:, 0], marks[:, 1], queries)
    ranges = cut(forbidden.counts, queries=block, barred=20)
    found = list(nearest(asked, offered, depth, forbidden.of, ranges, width))
    expected = brute_force(asked, offered, depth, set(map(tuple, marks.tolist())))
    assert [near.first for near in found] == np.cumsum([0, *(len(near.scores) for near in found)])[:-1].tolist()
    for near in found:
        for row, (scores, places) in enumerate(zip(near.scores, near.places, strict=True)):
            there = scores > -np.inf
            best = expected[near.first + row]
            np.testing.assert_allclose(scores[there], (offered @ asked[near.first + row])[best], atol=1e-6)
            assert set(places[there].tolist()) == set(best)


@given(pairs_of_numbers)
def test_lists_hold_each_pair_once_in_order(pairs: list[tuple[int, int]]) -> None:
    made = lists(np.array([a for a, _ in pairs], np.int64), np.array([b for _, b in pairs], np.int64), 6)
    assert len(made) == 6
    for owner in range(6):
        assert made[owner].tolist() == sorted({b for a, b in pairs if a == owner})
    places, members = made.of(np.array([3, 0, 3]))
    assert list(zip(places.tolist(), members.tolist(), strict=True)) == [
        *((0, m) for m in made[3]), *((1, m) for m in made[0]), *((2, m) for m in made[3])
    ]  # fmt: skip


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 60))
def test_ranges_cover_all_queries_and_keep_to_both_limits(counts: list[int], queries: int, barred: int) -> None:
    ranges = list(cut(np.array(counts), queries, barred))
    assert np.concatenate(ranges).tolist() == list(range(len(counts)))
    for wanted in ranges:
        assert len(wanted) <= queries
        assert len(wanted) == 1 or sum(counts[n] for n in wanted) <= barred


def test_similarities_are_never_held_for_more_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    widest = []
    plain = torch.Tensor.topk

    def noted(self: torch.Tensor, k: int, *rest: object) -> object:
        widest.append(self.numel())
        return plain(self, k, *rest)

    asked, offered = vectors(500, 0), vectors(3000, 1)
    nothing = lists(np.empty(0, np.int64), np.empty(0, np.int64), 500)
    monkeypatch.setattr(torch.Tensor, "topk", noted)
    found = list(nearest(asked, offered, 10, nothing.of, cut(nothing.counts, queries=64), width=256))
    assert sum(len(near.scores) for near in found) == 500
    assert max(widest) <= 64 * 256


def test_equal_scores_stand_in_the_order_of_the_documents() -> None:
    document = np.eye(1, 8, dtype=np.float32)
    nothing = lists(np.empty(0, np.int64), np.empty(0, np.int64), 1)
    (near,) = nearest(document, document.repeat(40, axis=0), 40, nothing.of, [np.array([0])], width=7)
    assert near.places[0].tolist() == list(range(40))
