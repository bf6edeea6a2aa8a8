"""The ladder of remedies: which rung comes next, what regime it makes, and what keeps it from being taken."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.recipe.remedying import RUNGS, Rung, ladder_of
from embertune.training.regime import Regime
from embertune.training.remedies import Means, Remedy, next_rung

LADDER = ladder_of(tuple(RUNGS))
START = Regime(64, 0.01, dropout={"hidden": 0.1, "attention": 0.0})
MEANS = Means(blocks=6)


def taken(ladder: tuple[Rung, ...], regime: Regime = START, means: Means = MEANS) -> list[tuple[str, Regime]]:
    """All rungs one after the other, with the regimes that they make."""
    place, found = -1, list[tuple[str, Regime]]()
    while (step := next_rung(ladder, place, regime, means)) is not None:
        place, regime = step.place, step.change.regime
        found.append((step.rung.name, regime))
    return found


def test_rungs_come_in_their_order_round_and_round_until_all_are_at_their_limits() -> None:
    found = taken(LADDER)
    assert [name for name, _ in found] == [
        "rate", "dropout", "weight_decay", "freeze", "augment", "batch_size",
        "rate", "dropout", "batch_size", "rate", "dropout", "batch_size",
    ]  # fmt: skip
    assert found[-1][1] == Regime(8, 0.1, 0.125, {"hidden": 0.3, "attention": 0.3}, 3, 0.1)


@given(
    st.lists(st.sampled_from(sorted(RUNGS)), unique=True, min_size=1),
    st.integers(2, 256),
    st.floats(0, 0.5),
    st.floats(0, 0.9),
    st.integers(0, 24),
)
def test_no_rung_goes_beyond_its_limit_or_back_and_the_ladder_ends(
    names: list[str], batch: int, decay: float, dropout: float, blocks: int
) -> None:
    start = Regime(batch, decay, dropout={"hidden": dropout})
    found = taken(ladder_of(names), start, Means(blocks))
    regimes = [start, *(regime for _, regime in found)]
    for (name, after), before in zip(found, regimes, strict=False):
        changed = {key for key, value in after.record().items() if value != before.record()[key]}
        own = {"freeze": "frozen_blocks", "augment": "augmented", "batch_size": "batch"}.get(name, name)
        assert changed == {own}
        assert after.rate <= before.rate
        assert after.dropout["hidden"] >= before.dropout["hidden"]
    last = regimes[-1]
    assert last.rate >= 0.125
    assert last.dropout["hidden"] <= max(0.3, dropout)
    assert last.weight_decay <= max(0.1, decay)
    assert last.batch >= min(8, batch)
    assert last.frozen_blocks <= blocks / 2


@pytest.mark.parametrize(
    ("name", "regime", "means"),
    [
        ("rate", replace(START, rate=0.125), MEANS),
        ("dropout", replace(START, dropout={}), MEANS),
        ("dropout", replace(START, dropout={"hidden": 0.3}), MEANS),
        ("weight_decay", replace(START, weight_decay=0.0), MEANS),
        ("weight_decay", replace(START, weight_decay=0.2), MEANS),
        ("freeze", START, Means(blocks=0)),
        ("freeze", START, Means(blocks=6, frozen=3)),
        ("freeze", START, Means(blocks=6, thawing="train.unfreeze gives layers back")),
        ("augment", replace(START, augmented=0.1), MEANS),
        ("augment", START, Means(blocks=6, rows="data.augment made copies already")),
        ("batch_size", replace(START, batch=8), MEANS),
        ("batch_size", START, Means(blocks=6, passes="data.negatives.every needs passes of a known length")),
    ],
)
def test_a_rung_that_cannot_be_taken_is_passed_over_with_its_reason(name: str, regime: Regime, means: Means) -> None:
    ladder = ladder_of((name, "rate")) if name != "rate" else ladder_of((name, "dropout"))
    step = next_rung(ladder, -1, regime, means)
    assert step is not None
    assert step.rung == ladder[1]
    assert step.passed[0].startswith(f"{name}: ")
    assert next_rung(ladder[:1], -1, regime, means) is None


def test_a_regime_is_the_same_after_json() -> None:
    for _, regime in taken(LADDER):
        assert Regime(**json.loads(json.dumps(regime.record()))) == regime


def test_a_remedy_tells_whether_dev_became_better_afterwards() -> None:
    remedy = Remedy(10, "rate", "dev fell", "half the rate", 8, 0.5)
    assert remedy.result == "dev was not looked at any more"
    assert replace(remedy, later=0.625).result == "dev became better, 0.625 after 0.5"
    assert replace(remedy, later=0.5).result == "dev did not become better than 0.5 (0.5 at most)"
    assert replace(remedy, best=-2.0, later=-1.5).result == "dev became better, 1.5 after 2"
