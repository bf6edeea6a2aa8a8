"""Settings that a measurement decides: measured once, and the same when a run goes on."""

from __future__ import annotations

import json

import pytest

from embertune.recipe import Recipe, load_recipe
from embertune.recipe.guidance import Resolved
from embertune.recipe.measured import Measured, as_record, from_record
from embertune.recipe.settle import settle

FEW = Measured(2, "two took a second", {"seconds": 1.0}, "a machine")


def resolved(**leaves: object) -> Resolved:
    return Resolved(load_recipe(set={f"train.{name}": value for name, value in leaves.items()}), {"seed": "given"})


def never(_recipe: Recipe) -> Measured:
    raise AssertionError("was measured")


def test_what_is_still_auto_is_measured_and_says_why() -> None:
    settled = settle(resolved(), {}, {"train.epochs": lambda _: FEW})
    assert settled.recipe.train.epochs == 2
    assert settled.reasons == {"seed": "given", "train.epochs": "two took a second"}
    assert settled.measured == {"train.epochs": FEW}


def test_a_measurement_sees_the_recipe_with_what_was_measured_before_it() -> None:
    asks = {
        "train.epochs": lambda _: FEW,
        "train.batch_size": lambda recipe: Measured(16 * int(recipe.train.epochs), "by the epochs"),
    }
    assert settle(resolved(), {}, asks).recipe.train.batch_size == 32


def test_what_is_known_is_taken_and_nothing_is_measured() -> None:
    settled = settle(resolved(), {"train.epochs": FEW}, {"train.epochs": never})
    assert settled.recipe.train.epochs == 2
    assert settled.measured == {"train.epochs": FEW}


def test_what_is_written_is_neither_measured_nor_overruled() -> None:
    settled = settle(resolved(epochs=3), {"train.epochs": FEW}, {"train.epochs": never})
    assert settled.recipe.train.epochs == 3
    assert settled.measured == {}
    assert "train.epochs" not in settled.reasons


def test_what_is_known_is_not_forgotten_where_the_resolved_recipe_says_the_same() -> None:
    settled = settle(resolved(epochs=2), {"train.epochs": FEW}, {"train.epochs": never})
    assert settled.measured == {"train.epochs": FEW}


def test_a_decision_comes_back_from_json_as_it_was() -> None:
    assert from_record(json.loads(json.dumps(as_record({"train.epochs": FEW})))) == {"train.epochs": FEW}


@pytest.mark.parametrize("record", [[], {"train.epochs": {"speed": 3}}, {"train.epochs": 3}, {"train.epochs": {}}])
def test_a_record_of_something_else_is_refused(record: object) -> None:
    with pytest.raises(ValueError, match="not a record of measured settings"):
        from_record(record)
