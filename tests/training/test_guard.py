"""When training stops: a decision from numbers alone."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from embertune.recipe.units import Span
from embertune.training.guard import Decision, EarlyStopping, Look


def seen(patience: Span | None, values: list[float], per_epoch: int = 4) -> list[Decision]:
    """The decisions about looks at steps 0, 10, 20 …, `per_epoch` of them to an epoch."""
    stopping = EarlyStopping(patience)
    return [stopping.see(Look(10 * i, i / per_epoch, value)) for i, value in enumerate(values)]


def stops(decisions: list[Decision]) -> list[int]:
    return [i for i, decision in enumerate(decisions) if decision.stop]


def test_the_model_as_it_came_is_a_best_to_beat() -> None:
    decisions = seen(Span(2, "evaluations"), [0.9, 0.5, 0.6])
    assert [decision.best for decision in decisions] == [True, False, False]
    assert stops(decisions) == [2]
    assert decisions[2].reason == "no improvement on dev for 2 evaluations; best at step 0"


def test_patience_counts_evaluations_since_the_best() -> None:
    assert stops(seen(Span(3, "evaluations"), [0.1, 0.2, 0.3, 0.3, 0.2, 0.1, 0.0])) == [5, 6]


def test_patience_begins_when_the_warm_up_ends() -> None:
    for patience in (Span(2, "evaluations"), Span(0.5, "epochs")):
        stopping = EarlyStopping(patience)
        values = [0.9, 0.5, 0.5, 0.5, 0.5, 0.5]
        looks = [Look(10 * i, i / 4, value, warming=i < 3) for i, value in enumerate(values)]
        assert stops([stopping.see(look) for look in looks]) == [4, 5]


def test_a_lower_rate_has_all_of_patience_and_a_second_one_in_vain_no_more() -> None:
    stopping, stopped = EarlyStopping(Span(3, "evaluations")), []
    for i, value in enumerate([0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5]):
        look = Look(10 * i, i / 4, value)
        stopped.append(stopping.see(look).stop)
        if i in (2, 5, 6, 7):
            stopping.lowered(look)
    assert stopped == [False] * 8 + [True]  # the best is look 3, the rate lower from look 5 on


def test_patience_counts_epochs_since_the_best() -> None:
    decisions = seen(Span(1.5, "epochs"), [0.1, 0.2] + [0.1] * 8)
    assert stops(decisions)[0] == 7
    assert decisions[7].reason == "no improvement on dev for 1.5 epochs; best at step 10"


def test_an_improvement_starts_the_waiting_anew() -> None:
    assert stops(seen(Span(2, "evaluations"), [0.1, 0.0, 0.2, 0.1, 0.3, 0.2, 0.4])) == []


def test_an_equal_value_is_no_improvement() -> None:
    decisions = seen(Span(2, "evaluations"), [0.5, 0.5, 0.5])
    assert [decision.best for decision in decisions] == [True, False, False]
    assert stops(decisions) == [2]


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=40))
def test_no_patience_at_all_never_stops_and_the_best_is_the_first_of_the_highest(values: list[float]) -> None:
    decisions = seen(None, values)
    assert stops(decisions) == []
    best = max(i for i, decision in enumerate(decisions) if decision.best)
    numbers = [value for value in values if not math.isnan(value)]
    assert best == (values.index(max(numbers)) if numbers else 0)


def test_a_value_that_is_no_number_is_beaten_by_any_number_and_beats_none() -> None:
    decisions = seen(Span(9, "evaluations"), [math.nan, math.nan, -0.5, math.nan, -0.4])
    assert [decision.best for decision in decisions] == [True, False, True, False, True]
