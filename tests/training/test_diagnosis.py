"""What a run suffers from: a name and a reason from numbers alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.training.diagnosis import Diagnosis, Scope, diagnose
from embertune.training.signs import Signs

ACCURACY = Scope("cosine_accuracy", 200, 400)


def looks(values: list[float], error: float = 0.01, **series: list[float]) -> list[Signs]:
    """Looks at steps 0, 10, 20 …, each with the value of every series at its place; the train loss falls."""
    settings: dict[str, list[Any]] = {"train_loss": [1.0 - i / 50 for i in range(len(values))]} | series
    return [
        Signs(10 * i, i / 4, value=value, error=error if i else None, **{name: of[i] for name, of in settings.items()})
        for i, value in enumerate(values)
    ]


def name_of(signs: list[Signs], scope: Scope = ACCURACY) -> str:
    found = diagnose(signs, scope)
    assert found is not None
    return found.name


def test_the_first_look_has_nothing_to_be_compared_with() -> None:
    assert diagnose(looks([0.5]), ACCURACY) is None


def test_dev_that_falls_far_below_its_best_while_training_rows_are_learnt_is_overfitting() -> None:
    found = diagnose(looks([0.6, 0.7, 0.8, 0.76]), ACCURACY)
    assert found == Diagnosis(
        "overfitting",
        "cosine_accuracy from 0.8 (step 20) to 0.76 is a fall of 4.0 standard errors, while the loss on training rows "
        "still fell from 0.96 to 0.94",
    )


def test_two_smaller_falls_in_a_row_are_overfitting_and_one_is_not() -> None:
    assert name_of(looks([0.6, 0.7, 0.8, 0.782])) == "improving"
    assert name_of(looks([0.6, 0.7, 0.8, 0.782, 0.781])) == "overfitting"


def test_dev_that_falls_while_training_rows_are_not_learnt_is_no_overfitting() -> None:
    assert name_of(looks([0.6, 0.7, 0.8, 0.7], train_loss=[1.0, 0.9, 0.8, 0.85])) != "overfitting"


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_diverging(broken: float) -> None:
    signs = looks([0.6, 0.7])
    assert name_of([signs[0], replace(signs[1], loss=broken)]) == "diverging"
    assert name_of([signs[0], replace(signs[1], train_loss=broken)]) == "diverging"


def test_a_loss_on_training_rows_far_above_that_of_the_model_as_it_came_is_diverging() -> None:
    assert name_of(looks([0.6, 0.4, 0.3], train_loss=[1.0, 1.2, 1.6])) == "diverging"
    assert name_of(looks([0.6, 0.7, 0.8], train_loss=[1.0, 1.2, 1.4])) == "improving"


def test_three_steps_skipped_since_the_last_look_are_diverging() -> None:
    signs = [replace(look, skipped=count) for look, count in zip(looks([0.6, 0.7, 0.8]), [0, 2, 4], strict=True)]
    assert name_of(signs) == "improving"
    assert name_of([*signs[:-1], replace(signs[-1], skipped=5)]) == "diverging"


@pytest.mark.parametrize(("value", "loss", "said"), [
    (0.9, 2.0, "; the loss on dev rows says otherwise: it rose from 1 to 2"),
    (0.6, 0.5, "; the loss on dev rows says otherwise: it fell from 1 to 0.5"),
    (0.9, 0.5, ""), (0.6, 2.0, ""), (0.805, 2.0, ""), (0.9, 1.1, ""),
])  # fmt: skip
def test_a_dev_loss_that_says_the_opposite_of_the_metric_is_pointed_out(value: float, loss: float, said: str) -> None:
    signs = looks([0.6, 0.8, value], dev_loss=[1.5, 1.0, loss], dev_loss_error=[0.1, 0.1, 0.1])
    found = diagnose(signs, ACCURACY)
    assert found is not None
    assert found.reason.endswith(said) if said else "otherwise" not in found.reason


def test_embeddings_that_move_to_one_spot_are_collapsing_and_those_that_came_so_are_not() -> None:
    assert name_of(looks([0.6, 0.5], cosine=[0.3, 0.97], rank=[80.0, 2.0])) == "collapsing"
    assert name_of(looks([0.6, 0.7], cosine=[0.96, 0.97])) != "collapsing"


def test_a_metric_that_still_rises_at_the_last_step_is_underfitting() -> None:
    signs = looks([0.5, 0.6, 0.7, 0.8])
    assert name_of(signs, replace(ACCURACY, steps=30)) == "underfitting"
    assert name_of(signs, replace(ACCURACY, steps=31)) == "improving"


def test_looks_that_chance_may_tell_apart_are_a_noisy_dev_and_the_reason_says_how_many_rows_it_takes() -> None:
    found = diagnose(looks([0.6, 0.63, 0.58, 0.62, 0.61], error=0.03), replace(ACCURACY, items=60))
    assert found is not None
    assert found.name == "noisy dev"
    assert "60 dev items" in found.reason
    assert "about 540 would make it ±0.02" in found.reason


def test_a_metric_that_stands_still_on_a_dev_set_that_would_tell_is_a_plateau() -> None:
    assert name_of(looks([0.5, 0.8, 0.801, 0.8, 0.799], error=0.002)) == "plateau"


def test_dev_rows_that_are_learnt_as_well_as_training_rows_over_many_passes_may_have_leaked() -> None:
    loss = [1.0, 0.6, 0.4, 0.3]
    signs = [replace(look, epoch=2.0 * i) for i, look in enumerate(looks([0.5, 0.7, 0.8, 0.9], train_loss=loss))]
    as_train = [replace(look, dev_loss=value) for look, value in zip(signs, loss, strict=True)]
    behind = [replace(look, dev_loss=value) for look, value in zip(signs, [1.0, 0.7, 0.65, 0.6], strict=True)]
    assert name_of(as_train) == "leak suspected"
    assert name_of(behind) == "improving"
    no_better = [replace(look, value=0.5) for look in as_train]
    assert name_of(no_better) != "leak suspected"  # an easy loss is learnt by both sides alike


def test_a_loss_that_steers_is_better_when_it_is_lower() -> None:
    steered = Scope("loss", 200, 400)
    assert name_of(looks([0.8, 0.7, 0.6, 0.7]), steered) == "overfitting"
    assert name_of(looks([0.8, 0.7, 0.6, 0.5]), steered) == "improving"


numbers = st.none() | st.floats()


@st.composite
def any_looks(draw: Any) -> list[Signs]:
    names = ["loss", "train_loss", "dev_loss", "value", "error", "gradient_norm", "rate", "cosine", "rank"]
    count = draw(st.integers(2, 8))
    return [Signs(i, float(i), **{name: draw(numbers) for name in names}) for i in range(count)]


@given(any_looks())
def test_any_numbers_have_a_diagnosis_with_a_reason_in_one_line(signs: list[Signs]) -> None:
    found = diagnose(signs, Scope("spearman_cosine", 100, len(signs) - 1))
    assert found is not None
    assert found.reason
    assert "\n" not in found.reason


def test_a_value_that_did_not_move_is_not_told_as_a_way_from_itself_to_itself() -> None:
    found = diagnose(looks([0.8, 0.8]), ACCURACY)
    assert found is not None
    assert found.reason == f"{ACCURACY.metric} is 0.8, as at step 0; too early to say more"
