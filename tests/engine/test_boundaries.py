"""Stores are kept where counting says so: never at a loss, never deeper than what is frozen, and always the same."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from embertune.engine.boundaries import Stretch, cost, depths

STRETCHES = st.lists(st.builds(Stretch, st.integers(0, 6), st.integers(0, 1000)), min_size=1, max_size=5)


@given(STRETCHES, st.integers(1, 1000))
def test_no_other_way_costs_less(stretches: list[Stretch], tokens: int) -> None:
    found = depths(stretches, tokens)
    assert all(depth <= stretch.frozen for depth, stretch in zip(found, stretches, strict=True))
    others = itertools.product(*(range(stretch.frozen + 1) for stretch in stretches))
    assert cost(stretches, found, tokens) == min(cost(stretches, other, tokens) for other in others)


@given(STRETCHES, st.integers(1, 1000))
def test_going_on_from_what_was_decided_keeps_to_it(stretches: list[Stretch], tokens: int) -> None:
    found = depths(stretches, tokens)
    later = depths(stretches[1:], tokens, there={found[0]} - {0})
    paid = tokens * sum(set(later) - {found[0]})
    spent = sum(s.tokens * (s.frozen - d) for s, d in zip(stretches[1:], later, strict=True))
    first = tokens * found[0] + stretches[0].tokens * (stretches[0].frozen - found[0])
    assert first + paid + spent == cost(stretches, found, tokens)


@given(STRETCHES, st.integers(1, 1000))
def test_the_order_of_phases_changes_nothing(stretches: list[Stretch], tokens: int) -> None:
    assert depths(stretches[::-1], tokens) == depths(stretches, tokens)[::-1]


def test_a_store_that_only_breaks_even_is_not_made() -> None:
    assert depths([Stretch(4, 100)], 100) == (0,)
    assert depths([Stretch(4, 101)], 100) == (4,)


def test_with_a_thaw_after_every_pass_two_stores_serve_five_phases() -> None:
    assert depths([Stretch(frozen, 100) for frozen in (5, 4, 3, 2, 1, 0)], 100) == (3, 3, 3, 1, 1, 0)


def test_a_long_phase_after_a_short_one_keeps_the_store_of_the_long_one() -> None:
    assert depths([Stretch(5, 100), Stretch(3, 1000)], 100) == (3, 3)


def test_where_nothing_is_frozen_there_is_no_store() -> None:
    assert depths([Stretch(0, 100), Stretch(0, 10)], 5) == (0, 0)
