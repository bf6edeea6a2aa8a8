"""A snapshot: all of a run is in it, and what is put back is what was there, bit for bit."""

from __future__ import annotations

import dataclasses
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embertune.training.keeper import Keeper
from embertune.training.looking import Dev
from embertune.training.session import Session, Surroundings
from embertune.training.snapshot import Chance, Snapshot
from embertune.watch import Silent
from tests import tiny
from tests.training.made import planned

Loader = Callable[[], SentenceTransformer]

#: Runs whose parts hold something: an optimizer with two moments, one with none, an average, a head, thaws, masks.
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"train__optimizer": "sgd", "train__optimizer_options": {"momentum": 0.9}},
    "no moments": {"train__optimizer": "sgd", "train__optimizer_options": {"momentum": 0.0}},
    "average": {"train__average": 0.9},
    "thaw": {"train__freeze": 1, "train__unfreeze": "2 steps"},
    "mask": {"train__known_positives": "mask"},
    "plateau": {"train__schedule": "plateau", "train__schedule_options": {"patience": "1 evaluation"}},
    "head": {"train__loss": "softmax"},
}


def begun(tiny_model: Loader, folder: Path, name: str) -> Session:
    """A session of a run with dev, of which nothing is done."""
    rows = tiny.toy_nli(60) if name == "head" else tiny.toy_pairs(60)
    made = planned(
        tiny_model(), rows, data__dev=0.2, guard__eval_every="1 step", guard__patience=None, train__max_steps=6,
        train__batch_size=8, train__learning_rate=1e-3, **RUNS[name],
    )  # fmt: skip
    values = iter([0.3, 0.2, 0.2, 0.4, 0.1, 0.1, 0.1] * 3)
    metric = made.resolved.recipe.guard.metric
    around = Surroundings(
        lambda: Dev({str(metric): next(values)}), folder / "history.jsonl", Silent(), {}, Dev({str(metric): 0.1})
    )
    train = made.data.sides.train
    session = Session(made.built.model, train, made.resolved.recipe, made.course, around, io.StringIO())
    session.look(0)
    return session


def train_to(session: Session, last: int) -> None:
    """Go on to the end of step `last`."""
    for phase in session.course.phases:
        first = max(phase.first, session.done)
        if first < min(phase.last, last):
            session.run(dataclasses.replace(phase, first=first, last=min(phase.last, last)))


def same(left: Snapshot, right: Snapshot) -> bool:
    if left.tensors.keys() != right.tensors.keys() or left.facts != right.facts:
        return False
    return all(torch.equal(left.tensors[name], right.tensors[name]) for name in left.tensors)


@pytest.mark.parametrize("name", RUNS)
def test_what_is_resumed_in_another_session_is_all_that_was_there(
    tiny_model: Loader, tmp_path: Path, name: str
) -> None:
    one = begun(tiny_model, tmp_path, name)
    train_to(one, 4)
    taken = one.snapshot().copied()
    assert json.loads(json.dumps(taken.facts)) == taken.facts
    other = begun(tiny_model, tmp_path, name)
    other.resume(Snapshot(taken.tensors, json.loads(json.dumps(taken.facts))))
    assert same(other.snapshot(), taken)
    train_to(other, 6)
    assert not same(other.snapshot(), taken)
    one.resume(taken)
    assert same(one.snapshot(), taken)


@pytest.mark.parametrize("name", ["plain", "average", "head"])
def test_a_rollback_puts_back_what_was_learnt_and_leaves_what_was_counted(
    tiny_model: Loader, tmp_path: Path, name: str
) -> None:
    session = begun(tiny_model, tmp_path, name)
    train_to(session, 2)
    learned = session.learned().copied()
    train_to(session, 4)
    assert not same(session.learned(), learned)
    session.put_back(learned)
    assert same(session.learned(), learned)
    assert (session.done, len(session.looking.looks)) == (4, 5)
    train_to(session, 6)
    assert not same(session.learned(), learned)


def test_a_snapshot_of_other_weights_is_refused(tiny_model: Loader, tmp_path: Path) -> None:
    pairs, head = (begun(tiny_model, tmp_path, name) for name in ("plain", "head"))
    with pytest.raises(ValueError, match=r"other weights: \['loss\.classifier"):
        pairs.resume(head.snapshot())


def test_chance_goes_on_where_it_stood() -> None:
    chance = Chance(torch.device("cpu"))

    def drawn() -> tuple[Any, ...]:
        return random.gauss(0, 1), float(np.random.standard_normal()), float(torch.randn(())), random.random()

    drawn()
    state = chance.state()
    kept = Snapshot(state.copied().tensors, json.loads(json.dumps(state.facts)))
    first = [drawn() for _ in range(3)]
    chance.restore(kept)
    assert [drawn() for _ in range(3)] == first


def test_the_keeper_keeps_what_was_best_and_not_what_came_after(tiny_model: Loader) -> None:
    model, keeper = tiny_model(), Keeper()
    keeper.keep(model)
    keeper.learn(Snapshot({"optimizer/a": torch.ones(2)}, {"scale": {"scale": 2.0}}))
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    other = Keeper()
    other.restore(keeper.state())
    other.give(model)
    assert all(torch.equal(tensor, best[name]) for name, tensor in model.state_dict().items())
    assert other.learned is not None
    assert other.learned.part("optimizer").tensors["a"].tolist() == [1.0, 1.0]
    assert other.learned.part("scale").facts == {"scale": 2.0}
