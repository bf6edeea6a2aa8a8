"""Gradual unfreezing: which layers when, what is refused, and what it does to weights and rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.errors import RecipeError
from embertune.model.freezing import Frozen
from embertune.recipe.freezing import ThawSection
from embertune.training.course import Phase
from embertune.training.thaw import ramp, thaw_steps, thawed, thaws
from tests import tiny
from tests.training import made
from tests.training.test_fit import steered

Loader = Callable[[], SentenceTransformer]
HALF = {"train__epochs": 2, "train__batch_size": 8, "train__learning_rate": 1e-3}


@given(st.integers(1, 24), st.integers(1, 5), st.data())
def test_thaws_go_down_from_the_top_to_the_floor_and_the_embeddings_come_last(
    blocks: int, layers: int, data: st.DataObject
) -> None:
    until = data.draw(st.integers(0, blocks - 1))
    embeddings = until == 0 and data.draw(st.booleans())
    section = ThawSection(layers=layers, until=until, embeddings=embeddings)
    frozen = Frozen(blocks, embeddings=True)
    found = [thawed(frozen, section, times) for times in range(thaws(frozen, section) + 2)]
    assert found[0] == frozen
    assert found[-1] == found[-2] == Frozen(until, embeddings=not embeddings)
    for before, after in pairwise(found[:-1]):
        assert before != after
        assert before.blocks - after.blocks in (layers, before.blocks - until)
        assert after.embeddings or before.blocks == after.blocks == 0


@given(st.integers(1, 12), st.integers(1, 50), st.integers(2, 500))
def test_a_thaw_comes_every_so_many_steps_until_the_run_ends(blocks: int, every: int, steps: int) -> None:
    section = ThawSection(every=f"{every} steps")
    if every >= steps:
        with pytest.raises(RecipeError, match=r"unfreeze.every: found '?\d+ steps'?, and training ends after"):
            thaw_steps(Frozen(blocks, embeddings=True), section, round, steps)
        return
    found = thaw_steps(Frozen(blocks, embeddings=True), section, round, steps)
    assert found == tuple(step for step in range(every, steps, every))[:blocks]


def test_a_floor_that_leaves_nothing_to_thaw_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"until: found 3, and 2 layers are frozen: none would be thawed; write less"):
        thaw_steps(Frozen(2, embeddings=True), ThawSection(until=3), round, 100)


@given(st.integers(0, 100), st.integers(1, 50))
def test_the_rate_of_what_was_thawed_rises_from_nothing_to_its_whole(since: int, length: int) -> None:
    shares = [ramp(since + step, since, length) for step in range(length + 3)]
    assert shares[0] == 0
    assert shares[length:] == [1.0] * 3
    assert shares == sorted(shares)


def test_frozen_weights_stay_bit_for_bit_and_the_others_move(tiny_model: Loader) -> None:
    plan = made.planned(tiny_model(), tiny.toy_pairs(24), train__freeze=1, **HALF)
    before = made.weights(plan.built.model)
    _, history = made.trained(plan)
    after = made.weights(plan.built.model)
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still == {name for name in before if "embeddings" in name or "layer.0" in name or "pooler" in name}
    assert all(set(line["rates"]) == {"block 1", "top of the backbone"} for line in history)
    assert all(p.requires_grad for p in plan.built.model.parameters())


def test_frozen_layers_are_trained_on_without_their_dropout(tiny_model: Loader) -> None:
    """All the randomness that is left is that of the layers in training, where dropout is switched off here."""
    losses = []
    for seed in (0, 1):
        model = tiny_model()
        for module in model[0].model.encoder.layer[1].modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        plan = made.planned(model, tiny.toy_pairs(24), train__freeze=1, train__max_steps=1, train__batch_size=24)
        torch.manual_seed(seed)
        losses.append(made.trained(plan)[1][0]["loss"])
    assert losses[0] == losses[1]


def thaw(model: SentenceTransformer, **settings: object) -> tuple[made.Fit, list[dict[str, object]], list[set[str]]]:
    """A run of two passes of five steps with the first block and the embeddings frozen; what moves in each step."""
    plan = made.planned(model, tiny.toy_pairs(40), train__freeze=1, train__unfreeze=settings, **HALF)
    moved: list[set[str]] = []
    last = made.weights(model)

    def watched(score: Mapping[str, float] | None = None) -> Mapping[str, float]:
        nonlocal last
        now = made.weights(model)
        moved.append({name for name in now if not torch.equal(now[name], last[name])})
        last = now
        return {}

    with pytest.MonkeyPatch.context() as patch:
        from embertune.training.session import Session

        original = Session._after

        def after(session: Session, step: int, phase: Phase) -> bool:
            watched()
            return original(session, step, phase)

        patch.setattr(Session, "_after", after)
        fitted, history = made.trained(plan)
    return fitted, history, moved


def test_thawed_weights_move_only_after_the_thaw_and_begin_with_a_warm_up(tiny_model: Loader) -> None:
    _, history, moved = thaw(tiny_model(), every="1 epoch", warmup="2 steps")
    [at] = [line for line in history if "thawed" in line]
    assert (at["step"], at["thawed"]) == (5, ["block 0"])
    lower = [any("layer.0" in name for name in names) for names in moved]
    assert lower == [False] * 6 + [True] * 4  # the first step after the thaw is at a rate of zero
    rates = [line["rates"] for line in history if "rates" in line]
    assert ["block 0" in of_step for of_step in rates] == [False] * 5 + [True] * 5
    shares = [of_step["block 0"] / of_step["block 1"] for of_step in rates[5:]]
    assert shares == pytest.approx([0, 0.5, 1, 1, 1])
    assert not any("embeddings" in name for names in moved for name in names)


def test_the_embeddings_are_thawed_last_where_it_is_asked(tiny_model: Loader) -> None:
    _, history, moved = thaw(tiny_model(), every="3 steps", warmup="1 step", embeddings=True)
    assert [(line["step"], line["thawed"]) for line in history if "thawed" in line] == [
        (3, ["block 0"]),
        (6, ["embeddings"]),
    ]
    assert [any("embeddings" in name for name in names) for names in moved] == [False] * 7 + [True] * 3


def test_the_table_of_layers_tells_what_is_thawed_when(tiny_model: Loader) -> None:
    leaves = {"train__freeze": 1, "train__layer_decay": 0.5, **HALF}
    plan = made.planned(tiny_model(), tiny.toy_pairs(40), train__unfreeze="1 epoch", **leaves)
    by_steps = ["frozen", "from step 6", "trained", "trained"]
    assert [line.state for line in plan.layers] == by_steps
    assert [line.rate for line in plan.layers] == [2.5e-4, 5e-4, 1e-3, 1e-3]
    assert sum(line.parameters for line in plan.layers) == sum(p.numel() for p in plan.built.model.parameters())
    assert [line.state for line in made.trained(plan)[0].layers] == by_steps
    whole = made.planned(tiny_model(), tiny.toy_pairs(40), **HALF)
    assert {line.state for line in whole.layers} == {"trained"}


def test_a_head_of_the_loss_is_in_the_table_and_can_have_a_rate(tiny_model: Loader) -> None:
    leaves = {"train__loss": "softmax", "train__layer_rates": {"loss": 1e-2}, **HALF}
    plan = made.planned(tiny_model(), tiny.toy_nli(24), **leaves)
    assert (plan.layers[-1].name, plan.layers[-1].rate) == ("loss", 1e-2)
    assert plan.layers[-1].parameters == 3 * 3 * 32 + 3
    assert next(iter(made.trained(plan)[1][1]["rates"])) == "loss"


PLATEAU = {"train__freeze": 1, "train__unfreeze": "plateau", "train__warmup": 0.0, "train__max_steps": 20}


def test_dev_that_stalls_thaws_and_its_patience_begins_anew_until_the_last_thaw(tiny_model: Loader) -> None:
    """Looks are two steps apart: two without a gain thaw, and three after the thaw end training."""
    thaw = {"every": "plateau", "warmup": "1 step"}
    leaves = PLATEAU | {"train__unfreeze": thaw, "guard__patience": "3 evaluations"}
    plan, fitted, dev, history = steered(tiny_model, [0.5] + [0.1] * 20, **leaves)
    assert [(line["step"], line["thawed"]) for line in history if "thawed" in line] == [(4, ["block 0"])]
    assert fitted.steps == 10
    assert fitted.stopped.startswith("no improvement on dev for 3 evaluations")
    lower = [name for name in dev.seen[0] if "layer.0" in name]
    still = [all(torch.equal(dev.seen[0][name], seen[name]) for name in lower) for seen in dev.seen]
    assert still == [True, True, False, False, False]
    assert [line.state for line in plan.layers[:2]] == ["frozen", "once dev stalls"]
    assert [line.state for line in fitted.layers[:2]] == ["frozen", "from step 5"]


def test_training_does_not_end_before_the_last_thaw_that_is_planned(tiny_model: Loader) -> None:
    leaves = PLATEAU | {"train__unfreeze": {"every": "4 steps", "warmup": "1 step"}, "guard__patience": "1 evaluation"}
    _, fitted, _, history = steered(tiny_model, [0.5] + [0.1] * 20, **leaves)
    assert [line["step"] for line in history if "thawed" in line] == [4]
    assert fitted.steps == 6


def test_dev_that_goes_on_improving_thaws_nothing(tiny_model: Loader) -> None:
    _, fitted, _, history = steered(tiny_model, [n / 20 for n in range(20)], **PLATEAU)
    assert not [line for line in history if "thawed" in line]
    assert (fitted.steps, fitted.layers[1].state) == (20, "frozen")


def test_a_plateau_ends_in_the_same_place_every_time_and_loses_no_step(tiny_model: Loader) -> None:
    runs = [steered(tiny_model, [0.5] + [0.1] * 20, **PLATEAU, guard__patience=None) for _ in range(2)]
    assert made.distance(*(made.weights(plan.built.model) for plan, _, _, _ in runs)) == 0.0
    steps = [line["step"] for line in runs[0][3] if "loss" in line]
    assert steps == list(range(1, 21))


def test_a_run_with_thaws_ends_in_the_same_place_every_time(tiny_model: Loader) -> None:
    ends = []
    for _ in range(2):
        model = tiny_model()
        thaw(model, every="0.4 epoch", warmup="1 step")
        ends.append(made.weights(model))
    assert made.distance(*ends) == 0.0
