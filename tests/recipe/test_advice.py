"""Advice follows from what a run measured: few pieces, none that the recipe has, none that rests on test."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.recipe import Recipe, load_recipe, parse_setting
from embertune.recipe.advice import ADVICE, MOST, OF_RUNG, Advice, Outcome, advice
from embertune.recipe.load import replace as with_leaves

#: A run of five passes over 320 pairs that ended as one would wish.
WELL = Outcome(
    shape="pairs",
    rows=320,
    steps=100,
    best_step=90,
    passes=5.0,
    best_pass=4.5,
    loss=0.4,
    diagnosis="improving",
    reason="dev rose",
    dev_rows=200,
    dev_looked_at=200,
    test_rows=300,
    verdict="better",
    difference=0.03,
    low=0.01,
    high=0.05,
    reads=128,
    could_read=512,
)
UNCLEAR = {"verdict": "no clear change", "difference": 0.01, "low": -0.01, "high": 0.03}


def recipe(**leaves: Any) -> Recipe:
    """A recipe with all that guidance would have decided; a double underscore is a dot."""
    settled = {
        "train.loss": "multiple_negatives_ranking",
        "train.epochs": 5,
        "train.batch_size": 64,
        "train.learning_rate": 5e-5,
        "train.known_positives": "apart",
    }
    return load_recipe(set=settled | {path.replace("__", "."): value for path, value in leaves.items()})


#: What makes the advice on a setting, and what it says.
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("train.learning_rate", {"skipped": 3}, "2.5e-05 instead of 5e-05"),
    ("train.learning_rate", {"diagnosis": "diverging"}, "2.5e-05 instead of 5e-05"),
    ("train.learning_rate", {"diagnosis": "collapsing"}, "2.5e-05 instead of 5e-05"),
    ("train.learning_rate", {"best_step": 0, "fell_at_once": True}, "2.5e-05 instead of 5e-05"),
    ("train.learning_rate", {"helped": ("rate",)}, "2.5e-05 instead of 5e-05"),
    ("data.group", {"diagnosis": "leak suspected"}, "a column that says which rows belong together"),
    ("model.dropout", {"helped": ("dropout",)}, "0.1 more than the model has"),
    ("train.weight_decay", {"helped": ("weight_decay",)}, "0.1 instead of 0.01"),
    ("train.freeze", {"helped": ("freeze",)}, "0.5"),
    ("data.augment", {"helped": ("augment",)}, "{delete: 0.1, swap: 0.1}"),
    ("train.batch_size", {"helped": ("batch_size",)}, "32 instead of 64"),
    ("train.epochs", {"diagnosis": "overfitting", "best_pass": 1.3}, "2 instead of 5"),
    ("train.epochs", {"diagnosis": "underfitting"}, "10 instead of 5"),
    ("model.max_length", {"found": {"truncated": 0.2}}, "256 instead of 128"),
    ("data.negatives", {"loss": 0.01}, "{num_negatives: 1}"),
    ("train.known_positives", {"found": {"false_negatives": 0.03}}, "mask"),
    ("data.balance", {"found": {"imbalance": 0.2}}, "batches"),
    ("data.dev", {"diagnosis": "noisy dev"}, "more than 200 rows"),
    ("guard.budget", {"diagnosis": "noisy dev", "dev_looked_at": 120}, "0.3 instead of 0.15"),
    ("data.test", UNCLEAR, "about 1,500 rows instead of 300"),
]


@pytest.mark.parametrize(("setting", "measured", "what"), CASES)
def test_advice_names_what_to_write(setting: str, measured: dict[str, Any], what: str) -> None:
    found = advice(replace(WELL, **measured), recipe())
    assert (found[0].setting, found[0].what) == (setting, what)
    assert found[0].why


def test_every_rule_of_the_table_gives_its_advice_somewhere() -> None:
    without = [(replace(WELL, dev_rows=0), recipe(data__dev="none"))]
    without += [(replace(WELL, test_rows=0, verdict="unmeasured"), recipe(data__test="none"))]
    named = [(replace(WELL, diagnosis="noisy dev", dev_looked_at=50), recipe(guard__items=50))]
    seen = [(replace(WELL, **measured), recipe()) for _, measured, _ in CASES] + without + named
    idle = [r.when.words for r in ADVICE if not any(r.when.holds(*one) and r.try_.of(*one) for one in seen)]
    assert idle == []


def test_where_few_named_items_are_too_noisy_more_of_them_are_advised_and_no_larger_budget() -> None:
    (found,) = advice(replace(WELL, diagnosis="noisy dev", dev_looked_at=50), recipe(guard__items=50))
    assert (found.setting, found.what) == ("guard.items", "100 instead of 50")


def test_a_run_that_went_well_gets_no_advice() -> None:
    assert advice(WELL, recipe()) == ()


@pytest.mark.parametrize(
    ("measured", "leaves"),
    [
        ({"found": {"truncated": 0.2}, "reads": 512}, {}),
        ({"found": {"imbalance": 0.2}}, {"data__balance": "weights"}),
        ({"found": {"false_negatives": 0.03}}, {"train__known_positives": "mask"}),
        ({"loss": 0.01}, {"data__negatives": {"num_negatives": 2}}),
        ({"helped": ("freeze",)}, {"train__freeze": 2}),
        ({"helped": ("weight_decay",)}, {"train__weight_decay": 0.1}),
        ({"diagnosis": "overfitting", "best_pass": 1.3}, {"train__epochs": 2}),
        ({"diagnosis": "leak suspected"}, {"data__group": "topic"}),
        ({"found": {"false_negatives": 0.03}, "shape": "classes"}, {"train__known_positives": None}),
    ],
)
def test_what_the_recipe_has_is_not_advised(measured: dict[str, Any], leaves: dict[str, Any]) -> None:
    assert advice(replace(WELL, **measured), recipe(**leaves)) == ()


def test_of_much_to_say_the_three_most_important_things_are_said() -> None:
    worst = replace(
        WELL,
        skipped=2,
        diagnosis="overfitting",
        best_pass=1.0,
        found={"truncated": 0.5, "imbalance": 0.3, "false_negatives": 0.1},
        **UNCLEAR,
    )
    assert [one.setting for one in advice(worst, recipe())] == [
        "train.learning_rate",
        "train.epochs",
        "model.max_length",
    ]


def test_a_number_of_test_rows_that_nobody_would_give_is_not_asked_for() -> None:
    assert advice(replace(WELL, **{**UNCLEAR, "difference": 0.0001}), recipe()) == ()
    assert advice(replace(WELL, **{**UNCLEAR, "difference": 0.0}), recipe()) == ()


_outcomes = st.builds(
    replace,
    st.just(WELL),
    skipped=st.integers(0, 3),
    diagnosis=st.sampled_from(
        [
            "",
            "improving",
            "plateau",
            "overfitting",
            "diverging",
            "collapsing",
            "underfitting",
            "noisy dev",
            "leak suspected",
        ]
    ),
    helped=st.lists(st.sampled_from(list(OF_RUNG)), max_size=3).map(tuple),
    best_step=st.sampled_from([0, 20, 100]),
    best_pass=st.sampled_from([0.0, 1.0, 5.0]),
    fell_at_once=st.booleans(),
    loss=st.sampled_from([0.01, 1.0]),
    found=st.dictionaries(st.sampled_from(["truncated", "false_negatives", "imbalance"]), st.floats(0, 1)),
)
_tests = st.fixed_dictionaries(
    {
        "test_rows": st.integers(0, 5000),
        "verdict": st.sampled_from(["better", "worse", "no clear change", "too few to tell", "unmeasured"]),
        "difference": st.floats(-1, 1),
        "low": st.floats(-1, 0),
        "high": st.floats(0, 1),
    }
)


@given(_outcomes, _tests, _tests)
def test_test_rows_decide_over_no_advice_but_that_on_test_rows(
    outcome: Outcome, one: dict[str, Any], other: dict[str, Any]
) -> None:
    def on_settings(test: dict[str, Any]) -> list[Advice]:
        return [piece for piece in advice(replace(outcome, **test), recipe()) if piece.setting != "data.test"]

    assert on_settings(one) == on_settings(other)


@given(_outcomes)
def test_few_pieces_one_for_each_setting_and_each_can_be_written_into_the_recipe(outcome: Outcome) -> None:
    given = recipe()
    found = advice(outcome, given)
    assert len(found) <= MOST
    assert len({piece.setting for piece in found}) == len(found)
    for piece in found:
        value = piece.what.split(" instead of ")[0]
        if re.fullmatch(r"[\d.e-]+|\{.*\}|mask|batches|auto", value):
            changed = with_leaves(given, dict([parse_setting(f"{piece.setting}={value}")]))
            assert changed != given
