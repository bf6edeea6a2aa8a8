"""The budget of looking at dev: what is kept, what gives way first, and that a resolved recipe gives the same again."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from embertune.recipe.budget import ENOUGH, FEW, FEWEST, FREE, LEAST, MOST, Cost, Spending


def spending(
    items: int, steps: int = 1_000, rows: int = 64, share: float | None = 0.15, beside: float = 0, item: float = 20
) -> Spending:
    """A run that trains on rows of 20 tokens, with dev items of as many."""
    return Spending(Cost(20, item, items, beside, min(beside, 1_000)), steps, steps * rows * 20, share)


def spent(made: Spending, every: int) -> float:
    """The share of the trained tokens that looks encode."""
    items, cost = made.items(every), made.cost
    look = cost.look if items is None else items * cost.item + cost.least
    return made.looks(every) * look / made.trained


MADE = st.builds(
    spending,
    items=st.integers(1, 100_000),
    steps=st.integers(1, 100_000),
    rows=st.sampled_from([8, 64, 256]),
    share=st.sampled_from([0.01, 0.15, 1.0, None]),
    beside=st.sampled_from([0, 500, 1_000_000]),
)


@given(MADE)
def test_looks_stay_within_the_budget_unless_few_are_free_or_two_at_the_least_items_are_too_many(
    made: Spending,
) -> None:
    every = made.interval()
    items = made.items(every)
    assert 1 <= every <= max(1, made.steps)
    few = made.looks(every) <= 1 + FEW and spent(made, every) * made.trained <= FREE
    if made.share is not None and spent(made, every) > made.share and not few:
        assert made.looks(every) <= 1 + FEWEST
        assert items == min(LEAST, made.cost.items)


@given(MADE)
def test_rarer_looks_measure_no_less_of_dev(made: Spending) -> None:
    every = made.interval()
    rarer = made.items(min(made.steps, 2 * every))
    assert (rarer or math.inf) >= (made.items(every) or math.inf)


def test_dev_is_sampled_before_looks_grow_rarer() -> None:
    made = spending(items=5_000, steps=3_000)
    every = made.interval()
    assert made.looks(every) == 1 + MOST
    assert made.items(every) == math.floor(0.15 * 3_000 * 64 / (1 + MOST))


def test_looks_grow_rarer_until_dev_tells_three_points() -> None:
    made = spending(items=5_000)
    assert (made.items(made.interval()) or 0) >= ENOUGH
    assert FEW < made.looks(made.interval()) - 1 < MOST


def test_dev_falls_to_the_least_items_before_patience_has_nothing_to_wait_for() -> None:
    made = spending(items=5_000, item=60)
    every = made.interval()
    assert made.looks(every) - 1 == FEW
    assert LEAST <= (made.items(every) or 0) < ENOUGH


def test_a_small_run_has_five_looks_of_which_all_together_encode_no_more_than_is_free() -> None:
    made = spending(items=150, steps=20)
    assert made.looks(made.interval()) - 1 == FEW
    assert made.items(made.interval()) is None
    assert 0.15 * made.trained < spent(made, made.interval()) * made.trained < FREE


def test_without_a_budget_all_of_dev_is_measured_as_often_as_it_is_ever() -> None:
    made = spending(items=100_000, share=None)
    assert made.items(made.interval()) is None
    assert made.looks(made.interval()) == 1 + MOST


def test_a_dev_set_that_costs_little_is_whole() -> None:
    assert spending(items=200, steps=10_000).items(500) is None


@given(MADE, st.integers(1, 4), st.none() | st.integers(1, 1_000))
def test_where_there_is_room_for_more_looks_there_is_room_for_fewer(
    made: Spending, later: int, every: int | None
) -> None:
    if made.room_for(later, every):
        assert made.room_for(later - 1, every)
