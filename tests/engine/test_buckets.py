"""Buckets are cut where the fewest tokens are computed."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from embertune.engine import buckets
from embertune.engine.buckets import split

lengths = st.lists(st.integers(0, 600), min_size=1, max_size=9).map(sorted)


def _cost(cuts: list[tuple[int, int]]) -> int:
    starts = [0, *(end for end, _ in cuts[:-1])]
    return sum((end - start) * width + buckets._PASS for start, (end, width) in zip(starts, cuts, strict=True))


def _least(given: list[int]) -> int:
    """By trying all ways to cut."""
    places = range(1, len(given))
    ways = (cut for count in range(len(given)) for cut in combinations(places, count))
    return min(_cost([(end, given[end - 1]) for end in (*way, len(given))]) for way in ways)


@settings(max_examples=80, deadline=None)
@given(lengths)
def test_no_other_way_to_cut_computes_fewer_tokens(given: list[int]) -> None:
    assert _cost(split(given)) == _least(given)


@settings(max_examples=80, deadline=None)
@given(lengths)
def test_buckets_hold_every_row_once_and_none_that_is_too_long(given: list[int]) -> None:
    cuts = split(given)
    ends = [end for end, _ in cuts]
    assert ends == sorted(set(ends))
    assert ends[-1] == len(given)
    for start, (end, width) in zip([0, *ends], cuts, strict=False):
        assert max(given[start:end]) == width


def test_rows_of_one_length_stay_together() -> None:
    assert split([7] * 50) == [(50, 7)]


def test_many_short_rows_are_not_padded_to_a_long_one() -> None:
    assert split([5] * 30 + [100]) == [(30, 5), (31, 100)]
    assert split([5] * 2 + [100]) == [(3, 100)]
