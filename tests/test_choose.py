"""Which model is saved is decided on dev, and on what the model could do before."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from embertune.choose import Candidate, Choice, best_on_dev, choose, choose_among, keeping_most, within_noise

FIRST = Choice("tuned", "best accuracy on dev, at step 20 of 30")


def candidates(**dev: tuple[float, float]) -> list[Candidate]:
    """By name: what dev says, and the standard error of the difference to the best."""
    return [Candidate(name.replace("half", "interpolated(0.5)"), *values) for name, values in dev.items()]


def nothing(_names: Sequence[str]) -> None:
    """Nothing was lost."""


def test_without_dev_the_last_state_is_taken() -> None:
    assert choose(0, 30, None) == Choice("tuned", "no dev rows: the state after the last of 30 steps")


def test_where_nothing_beat_the_untouched_model_it_is_kept() -> None:
    reason = "no evaluation during training beat the untouched model's cosine_accuracy on dev"
    assert choose(0, 30, "cosine_accuracy") == Choice("base", reason)


def test_the_best_state_on_dev_is_taken_with_its_step() -> None:
    assert choose(20, 30, "cosine_accuracy") == Choice("tuned", "best cosine_accuracy on dev, at step 20 of 30")


def test_a_mixture_that_does_better_on_dev_than_the_best_state_is_taken() -> None:
    tried = candidates(base=(0.6, 0.02), tuned=(0.8, 0.01), half=(0.82, 0.0))
    found = choose_among(tried, "accuracy", FIRST, nothing)
    assert (found.chosen, found.reason) == ("interpolated(0.5)", "best accuracy on dev of 3 states")
    assert found.candidates == tuple(tried)


def test_of_states_that_reach_the_same_the_best_state_of_training_comes_first() -> None:
    found = choose_among(candidates(base=(0.6, 0.02), tuned=(0.8, 0.0), half=(0.8, 0.0)), "accuracy", FIRST, nothing)
    assert (found.chosen, found.reason) == (FIRST.chosen, FIRST.reason)


def test_a_state_that_dev_cannot_tell_from_the_best_is_taken_where_it_wins_back_what_was_lost() -> None:
    tried = candidates(base=(0.6, 0.02), tuned=(0.80, 0.0), average=(0.79, 0.02), half=(0.79, 0.02))

    def keeping(names: Sequence[str]) -> list[tuple[float, float]]:
        assert list(names) == ["tuned", "average", "interpolated(0.5)"]
        return [(0.03, 0.01), (0.05, 0.01)]

    found = choose_among(tried, "accuracy", FIRST, keeping)
    assert found.chosen == "interpolated(0.5)"
    assert "(+0.0500), at -0.0100 of accuracy on dev, 0.0200 being one standard error" in found.reason
    assert [one.kept for one in found.candidates] == [None, None, 0.03, 0.05]


def test_nothing_is_given_up_for_a_state_that_keeps_no_more_than_chance_may_have_given_it() -> None:
    tried = candidates(base=(0.6, 0.02), tuned=(0.80, 0.0), half=(0.79, 0.01))
    assert choose_among(tried, "accuracy", FIRST, lambda _: [(0.009, 0.01)]).chosen == "tuned"


def test_a_state_that_dev_tells_from_the_best_is_not_even_asked_about() -> None:
    def asked(_names: Sequence[str]) -> None:
        raise AssertionError

    tried = candidates(base=(0.79, 0.1), tuned=(0.80, 0.0), half=(0.78, 0.01))
    assert choose_among(tried, "accuracy", FIRST, asked).chosen == "tuned"


VALUES = st.floats(0, 1, allow_nan=False)
ANY = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from(["base", "tuned", "average", "interpolated(0.5)"]),
        dev=VALUES,
        error=st.none() | VALUES,
        kept=st.none() | st.floats(-1, 1),
        kept_error=st.none() | VALUES,
    ),
    min_size=1,
    unique_by=lambda one: one.name,
)


@given(ANY)
def test_whatever_is_near_the_best_is_neither_the_base_nor_further_below_than_its_error(
    tried: list[Candidate],
) -> None:
    best = best_on_dev(tried)
    assert all(one.dev <= best.dev for one in tried)
    for one in within_noise(tried, best):
        assert one.name not in ("base", best.name)
        assert best.dev - one.dev <= (one.error or 0)


@given(ANY)
def test_what_keeps_most_keeps_more_than_its_own_error(tried: list[Candidate]) -> None:
    found = keeping_most(tried)
    if found is not None:
        assert found.kept is not None
        assert found.kept > (found.kept_error or 0)
        assert all(one.kept <= found.kept for one in tried if one.kept and one.kept > (one.kept_error or 0))
