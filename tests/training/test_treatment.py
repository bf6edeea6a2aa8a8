"""Remedies and rollbacks in runs: what they change, what they put back, and what is left alone."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.data.augment import Tools, augment
from embertune.data.prepared import Prepared
from embertune.model.dropout import dropout_of
from embertune.plan import Plan
from embertune.recipe.augmenting import AugmentSection
from embertune.training.caching import prefix_cache
from embertune.training.checkpoint import Checkpoints
from embertune.training.diagnosis import Diagnosis
from embertune.training.fit import Fit, fit
from embertune.training.looking import Dev, paired_error
from embertune.training.session import Session, Surroundings
from embertune.watch import Progress, Silent
from tests import tiny
from tests.training.made import distance, planned, weights

Loader = Callable[[], SentenceTransformer]
METRIC = "cosine_accuracy"
FELL = Diagnosis("overfitting", "dev fell")


class Listens(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Told:
    """A run whose looks have the values of a script, and which is told at some of its steps that it overfits."""

    def __init__(self, made: Plan, values: Sequence[float], overfits: Sequence[int], **more: Any) -> None:
        self.made, self.values, self.overfits = made, list(values), overfits
        self.file, self.watch = io.StringIO(), Listens()
        self.weights: dict[int, dict[str, torch.Tensor]] = {}
        self.rows: dict[int, int] = {}
        base = Dev({METRIC: self.values[0]})
        around = Surroundings(self.score, None, self.watch, {}, base, encode=made.encode, **more)
        self.session = Session(
            made.built.model, made.data.sides.train, made.resolved.recipe, made.course, around, self.file
        )

    def score(self) -> Dev:
        step = self.session.done
        self.weights[step] = weights(self.made.built.model)
        value = self.values[len(self.weights)]
        if step in self.overfits:
            self.session.treatment.hears(FELL, value)
        return Dev({METRIC: value})

    def train(self) -> Told:
        self.session.look(0)
        for phase in self.made.course.phases:
            self.session.run(phase)
        self.session.treatment.finish()
        return self

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.getvalue().splitlines()]

    def steps(self) -> list[dict[str, Any]]:
        return [line for line in self.history if "loss" in line]


SETTINGS: dict[str, Any] = {
    "guard__eval_every": "2 steps", "guard__metric": METRIC, "guard__patience": None, "train__batch_size": 8,
    "train__max_steps": 10, "train__learning_rate": 1e-3, "train__schedule": "constant", "train__warmup": 0.0,
    "data__dev": 0.2, "guard__on_overfit": "regularise",
}  # fmt: skip


def told(
    tiny_model: Loader, remedies: list[str], values: Sequence[float], overfits: Sequence[int], **leaves: Any
) -> Told:
    made = planned(tiny_model(), tiny.toy_triplets(60), **SETTINGS | {"guard__remedies": remedies} | leaves)
    return Told(made, values, overfits, augment=enlarged).train()


def enlarged(train: Prepared, share: float) -> Prepared:
    return augment(train, AugmentSection(delete=share, swap=share), Tools(), 0)


VALUES = [0.1, 0.5, 0.4, 0.6, 0.3, 0.2]


def test_a_remedy_goes_back_to_the_best_state_and_on_at_another_rate_without_giving_back_steps(
    tiny_model: Loader,
) -> None:
    run = told(tiny_model, ["rate"], VALUES, [4])
    steps = run.steps()
    assert [line["step"] for line in steps] == list(range(1, 11))
    assert [line["rates"]["block 0"] for line in steps] == pytest.approx([1e-3] * 4 + [5e-4] * 6)
    (line,) = [line for line in run.history if "remedy" in line]
    assert line == {
        "step": 4, "epoch": line["epoch"], "remedy": "rate", "reason": "dev fell", "back_to": 2, "result": None,
        "text": "every rate is 0.5 of what the recipe gives",
    }  # fmt: skip
    (line,) = [line for line in run.history if "remedy_result" in line]
    assert (line["remedy_result"], line["value"]) == ("rate", 0.6)
    assert line["text"] == "dev became better, 0.6 after 0.5"
    assert [(remedy.rung, remedy.step, remedy.back_to) for remedy in run.session.treatment.remedies] == [("rate", 4, 2)]
    assert run.session.looking.stopping.best is not None
    assert run.session.looking.stopping.best.step == 6


def test_after_a_remedy_weights_and_optimizer_are_those_of_the_best_look(tiny_model: Loader) -> None:
    """The same as a run that is put back by hand."""
    leaves = {"train__average": 0.9, "model__dropout": 0.0}  # each phase has dropout of its own
    run = told(tiny_model, ["rate"], VALUES, [4], **leaves)
    made = planned(tiny_model(), tiny.toy_triplets(60), **SETTINGS | {"guard__remedies": ["rate"]} | leaves)
    other = Told(made, VALUES, [])
    session = other.session
    session.look(0)
    (phase,) = made.course.phases
    session.run(replace(phase, last=2))
    kept = session.learned().copied()
    session.run(replace(phase, first=2, last=4))
    session.put_back(kept)
    session.treatment.regime = replace(session.treatment.regime, rate=0.5)
    session.run(replace(phase, first=4))
    assert distance(run.weights[4], other.weights[4]) == 0.0
    assert distance(run.weights[6], other.weights[6]) == 0.0
    assert distance(run.weights[10], other.weights[10]) == 0.0


def test_dropout_decay_and_frozen_layers_change_with_their_rung(tiny_model: Loader) -> None:
    run = told(tiny_model, ["dropout", "weight_decay", "freeze"], VALUES, [2, 4, 6])
    model = run.made.built.model
    assert set(dropout_of(model).values()) == {0.2}
    assert {group["weight_decay"] for group in run.session.optimizer.param_groups} == {0.0, 0.1}
    now, then = run.weights[10], run.weights[6]
    changed = {name for name in now if not torch.equal(now[name], run.weights[8][name])}
    assert not [name for name in changed if "embeddings" in name or "layer.0" in name]
    assert [name for name in changed if "layer.1" in name]
    assert [name for name in then if not torch.equal(then[name], run.weights[2][name]) and "layer.0" in name]
    assert "block 0" not in run.steps()[-1]["rates"]
    told_of = {line.name: line.state for line in run.session.layers.lines(done=True)}
    top = {"block 1": "trained", "top of the backbone": "trained"}
    assert told_of == {"embeddings": "until step 6", "block 0": "until step 6"} | top


def test_copies_join_the_rows_and_batches_become_smaller_in_a_pass_of_their_own(tiny_model: Loader) -> None:
    sizes: list[int] = []

    class Counts(nn.Module):
        def __init__(self, model: SentenceTransformer) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Any, _labels: Any) -> torch.Tensor:
            made = [self.model(dict(column))["sentence_embedding"] for column in features]
            if self.training:
                sizes.append(len(made[0]))
            return (made[0] - made[1]).square().mean()

    settings = SETTINGS | {"guard__remedies": ["augment", "batch_size 4"], "data__dev": 0.2}
    made = planned(tiny_model(), tiny.toy_triplets(60), **settings)
    run = Told(made, VALUES, [2, 4], augment=enlarged, loss=Counts).train()
    assert max(sizes[:4]) == 8
    assert max(sizes[4:]) == 4
    assert len(run.session.train) == 2 * len(made.data.sides.train)
    assert len(run.steps()) == 10


def test_rows_that_cannot_be_copied_leave_the_next_rung(tiny_model: Loader) -> None:
    made = planned(tiny_model(), tiny.toy_triplets(60), **SETTINGS | {"guard__remedies": ["augment", "rate"]})
    run = Told(made, VALUES, [4]).train()
    assert [remedy.rung for remedy in run.session.treatment.remedies] == ["rate"]


def test_training_ends_when_no_remedy_is_left(tiny_model: Loader) -> None:
    run = told(tiny_model, ["rate 0.5"], VALUES, [4, 6])
    assert run.session.done == 6
    assert run.session.stopped == "overfitting, and no remedy is left: dev fell"


def test_at_the_last_step_no_remedy_is_taken(tiny_model: Loader) -> None:
    assert not told(tiny_model, ["rate"], VALUES, [10]).session.treatment.remedies


def test_a_treatment_goes_on_as_it_was_after_json(tiny_model: Loader) -> None:
    run = told(tiny_model, ["dropout", "freeze", "augment"], VALUES, [2, 4, 6])
    made = planned(
        tiny_model(), tiny.toy_triplets(60), **SETTINGS | {"guard__remedies": ["dropout", "freeze", "augment"]}
    )
    other = Told(made, VALUES, [], augment=enlarged).session
    state = run.session.treatment.state()
    other.treatment.restore(replace(state, facts=json.loads(json.dumps(dict(state.facts)))))
    assert other.treatment.state() == state
    assert dropout_of(made.built.model) == dropout_of(run.made.built.model)
    assert other.layers.deeper == 1
    assert other.train.rows.to_list() == run.session.train.rows.to_list()


# Steps that are not finite

#: The second look is the best.
FALLING = [0.1, 0.5, *(0.4 - 0.01 * n for n in range(20))]


def broken(at: Sequence[int]) -> Callable[[SentenceTransformer], nn.Module]:
    """Makes a loss that is NaN at the steps `at`."""

    class Breaks(nn.Module):
        def __init__(self, model: SentenceTransformer) -> None:
            super().__init__()
            self.model, self.calls = model, 0

        def forward(self, features: Any, _labels: Any) -> torch.Tensor:
            made = [self.model(dict(column))["sentence_embedding"] for column in features]
            self.calls += self.training
            bad = self.training and self.calls in at
            return (made[0] - made[1]).square().mean() * (math.nan if bad else 1.0)

    return Breaks


def run_broken(tiny_model: Loader, at: Sequence[int], **leaves: Any) -> Told:
    made = planned(tiny_model(), tiny.toy_triplets(60), **SETTINGS | {"guard__on_overfit": "stop"} | leaves)
    return Told(made, FALLING, [], loss=broken(at)).train()


def test_a_step_whose_loss_is_no_number_changes_nothing_and_is_counted(tiny_model: Loader) -> None:
    run = run_broken(tiny_model, [3], guard__eval_every="1 step", train__average=0.9)
    assert distance(run.weights[2], run.weights[3]) == 0.0
    assert distance(run.weights[3], run.weights[4]) > 0.0
    assert [line.get("skipped") for line in run.steps()[:4]] == [None, None, "loss is nan", None]
    assert run.steps()[2]["loss"] is None
    assert run.session.treatment.skips.total == 1
    assert run.watch.notes == ["a step was skipped, and nothing is learnt from it: loss is nan"]


def test_three_in_a_row_put_the_best_state_back_at_half_the_rate(tiny_model: Loader) -> None:
    run = run_broken(tiny_model, [5, 6, 7])
    assert [line["rates"]["block 0"] for line in run.steps()] == pytest.approx([1e-3] * 7 + [5e-4] * 3)
    (remedy,) = run.session.treatment.remedies
    assert (remedy.rung, remedy.step, remedy.back_to) == ("rate", 7, 2)
    assert remedy.reason == "3 steps in a row were skipped: loss is nan"
    assert run.session.stopped == ""


def test_at_the_third_time_training_ends_and_the_model_has_its_best_state(tiny_model: Loader, tmp_path: Any) -> None:
    made = planned(
        tiny_model(), tiny.toy_triplets(60), **SETTINGS | {"guard__on_overfit": "stop"} | {"train__max_steps": 20}
    )
    values = iter(FALLING[1:])
    kept: list[dict[str, torch.Tensor]] = []

    def score() -> Dev:
        kept.append(weights(made.built.model))
        return Dev({METRIC: next(values)})

    around = Surroundings(score, tmp_path / "h.jsonl", Silent(), {}, Dev({METRIC: 0.1}), loss=broken(range(3, 99)))
    fitted = fit(made.built.model, made.data.sides.train, made.resolved.recipe, around, made.course)
    assert (fitted.steps, fitted.best_step, fitted.skipped) == (11, 2, 9)
    assert fitted.stopped == "3 times 3 steps in a row were skipped, at last at 0.25 of the recipe's rate: loss is nan"
    assert distance(weights(made.built.model), kept[0]) == 0.0
    assert [note.text for note in fitted.notes] == ["9 steps changed nothing: loss or gradients were not finite"]


def test_without_dev_training_goes_on_from_where_it_is(tiny_model: Loader, tmp_path: Any) -> None:
    made = planned(tiny_model(), tiny.toy_triplets(60), train__max_steps=6, train__batch_size=8)
    around = Surroundings(None, tmp_path / "h.jsonl", Silent(), {}, loss=broken([2, 3, 4]))
    fitted: Fit = fit(made.built.model, made.data.sides.train, made.resolved.recipe, around, made.course)
    assert (fitted.steps, fitted.skipped, fitted.stopped) == (6, 3, "")
    assert all(tensor.isfinite().all() for tensor in weights(made.built.model).values())


# From the diagnosis to the end, also across a break


class Cut(Listens):
    """Breaks a run off after the step `after`."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, progress: Progress) -> None:
        if progress.step == self.after:
            raise KeyboardInterrupt


#: Of 200 dev items so many are right at the steps 2, 4, …: a fall beyond chance at 4 and at 8.
RIGHT = {0: 20, 2: 120, 4: 40, 6: 130, 8: 30, 10: 140, 12: 150}


def overfitted(
    tiny_model: Loader, folder: Path, *afters: int, **leaves: Any
) -> tuple[dict[str, torch.Tensor], Fit, Any]:
    """A run whose dev falls twice, broken off after so many steps; and its history."""
    for after in (*afters, 0):
        settings = SETTINGS | {"train__max_steps": 12, "train__average": 0.9} | leaves
        made = planned(tiny_model(), tiny.toy_triplets(60), **settings)
        history = folder / "history.jsonl"

        def score(history: Path = history) -> Dev:
            lines = map(json.loads, history.read_text(encoding="utf-8").splitlines())
            return looked(max(line["step"] for line in lines))

        around = Surroundings(
            score, history, Cut(after), {}, looked(0), encode=made.encode, augment=enlarged, error=paired_error,
            checkpoints=Checkpoints(folder / "checkpoints", 3, 2),
        )  # fmt: skip
        with suppress(KeyboardInterrupt):
            fitted = fit(made.built.model, made.data.sides.train, made.resolved.recipe, around, made.course)
    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    return weights(made.built.model), fitted, lines


def looked(step: int) -> Dev:
    items = np.arange(200) < RIGHT[step]
    return Dev({METRIC: float(items.mean())}, items[None, :].astype(float))


def test_overfitting_is_met_with_the_next_rung_each_time_it_is_found(tiny_model: Loader, tmp_path: Path) -> None:
    _, fitted, history = overfitted(tiny_model, tmp_path)
    assert [(r.step, r.rung, r.back_to) for r in fitted.remedies] == [(4, "rate", 2), (8, "dropout", 6)]
    assert [r.result for r in fitted.remedies] == [
        "dev became better, 0.65 after 0.6",
        "dev became better, 0.75 after 0.65",
    ]
    assert (fitted.steps, fitted.best_step, fitted.stopped) == (12, 12, "")
    of_looks = {line["step"]: line["diagnosis"] for line in history if "dev" in line}
    assert [step for step, name in of_looks.items() if name == "overfitting"] == [4, 8]
    assert [line["stop"] for line in history if "dev" in line] == [""] * 7


@pytest.mark.parametrize("on_overfit", ["stop", "warn"])
def test_otherwise_overfitting_ends_training_or_is_only_told(
    tiny_model: Loader, tmp_path: Path, on_overfit: str
) -> None:
    _, fitted, history = overfitted(tiny_model, tmp_path, guard__on_overfit=on_overfit)
    assert fitted.remedies == ()
    assert (fitted.steps, fitted.best_step) == ((4, 2) if on_overfit == "stop" else (12, 12))
    assert fitted.stopped.startswith("overfitting: cosine_accuracy from 0.6 (step 2) to 0.2") == (on_overfit == "stop")
    assert [line["stop"] for line in history if "dev" in line][-1] == fitted.stopped


@pytest.mark.parametrize(
    ("ladder", "afters"),
    [(["augment", "rate"], (4, 7)), (["batch_size 4"], (3, 5, 6, 11)), (["freeze", "dropout"], (4, 8))],
    ids=str,
)
def test_a_run_with_remedies_that_is_broken_off_ends_as_the_one_left_alone(
    tiny_model: Loader, tmp_path: Path, ladder: list[str], afters: tuple[int, ...]
) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "broken").mkdir()
    alone, fitted, history = overfitted(tiny_model, tmp_path / "alone", guard__remedies=ladder)
    broken, again, other = overfitted(tiny_model, tmp_path / "broken", *afters, guard__remedies=ladder)
    assert fitted.remedies[0].rung == ladder[0].split()[0]
    assert fitted.remedies == again.remedies
    assert history == other
    assert distance(alone, broken) == 0.0


@pytest.mark.parametrize("remedies", [["augment", "batch_size 4"], ["freeze 0.5", "rate"]], ids=str)
def test_a_remedy_beside_frozen_layers_that_are_read_from_the_cache_learns_the_same(
    deep: Loader, remedies: list[str]
) -> None:
    ends = []
    for storage in (None, "float32"):
        leaves = {
            "guard__remedies": remedies,
            "train__freeze": 1,
            "train__average": 0.9,
            "train__prefix_cache": storage,
        }
        made = planned(deep(), tiny.toy_triplets(60), **SETTINGS | leaves)
        cache = prefix_cache(made.prefix, made.built.model, made.resolved.recipe, Silent())
        run = Told(made, VALUES, [2, 4], augment=enlarged, prefix=cache, tokens=made.tokens).train()
        assert len(run.session.treatment.remedies) == 2
        assert (cache is not None) == (storage is not None)
        ends.append(run.weights[10])
    assert distance(*ends) < 1e-4
