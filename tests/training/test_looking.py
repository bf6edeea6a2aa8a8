"""A look: what counts as better, what later looks are compared with, and what it leaves in history and Fit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune.data.prepare import Given
from embertune.errors import RecipeError
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.run import look, teach
from embertune.rundir import RunDir
from embertune.training.looking import Dev, Looking, Moment, paired_error
from embertune.training.probes import Probed
from embertune.training.snapshot import Snapshot
from embertune.watch import LookLine, Silent
from tests import tiny
from tests.training.made import distance, planned, trained, weights

Loader = Callable[[], SentenceTransformer]
METRIC = "cosine_accuracy"


def looking(steps: int = 100, **guard: Any) -> Looking:
    leaves = {f"guard.{name}": value for name, value in {"metric": METRIC, "min_change": 0.0, **guard}.items()}
    return Looking(load_recipe(set=leaves).guard, steps, paired_error)


def dev(*items: float) -> Dev:
    """Dev of so many items, whose metric is their mean."""
    return Dev({METRIC: float(np.mean(items))}, np.array([items]))


def probed(train: list[float], of_dev: list[float]) -> Probed:
    return Probed(np.array(train), np.array(of_dev), 0.2, 30.0)


def see(run: Looking, place: int, look: Dev, probe: Probed | None = None) -> Any:
    return run.see(Moment(10 * place, place / 2), look, probe)


def test_a_gain_within_the_noise_of_dev_begins_no_patience_anew_and_gains_that_add_up_do() -> None:
    values = [dev(*([1.0] * (50 + more) + [0.0] * (50 - more))) for more in (0, 1, 2, 3)]
    of_noise = looking(min_change="2 standard errors", patience="9 evaluations")
    assert [see(of_noise, i, look).decision.better for i, look in enumerate(values)] == [True, False, False, False]
    assert see(of_noise, 4, dev(*([1.0] * 56 + [0.0] * 44))).decision.better  # six of six: 2.5 standard errors
    any_gain = looking(min_change=0.0)
    assert [see(any_gain, i, look).decision.better for i, look in enumerate(values)] == [True] * 4
    assert [see(looking(min_change=0.05), i, look).decision.best for i, look in enumerate(values)] == [True] * 4


def test_the_best_state_is_the_highest_however_small_the_gain_and_patience_may_end_there() -> None:
    run = looking(min_change=0.5, patience="1 evaluation")
    see(run, 0, dev(0.0, 1.0))
    decision = see(run, 1, dev(0.1, 1.0)).decision
    assert (decision.best, decision.better, decision.stop) == (True, False, True)
    assert decision.reason == "no improvement on dev beyond 0.5 for 1 evaluations; best at step 10"


def test_signs_compare_with_the_best_look_before() -> None:
    run = looking()
    see(run, 0, dev(0, 0, 1, 1), probed([2.0, 3.0], [2.0, 2.0]))
    run.stepped(4.0, 1.0)
    run.stepped(2.0, 5.0)
    run.stepped(math.nan, math.inf)
    signs = see(run, 1, dev(1, 0, 1, 1), probed([1.0, 1.0], [1.0, 2.0])).record["signs"]
    assert signs["error"] == pytest.approx(0.25)
    assert (signs["loss"], signs["gradient_norm"]) == (3.0, 5.0)
    assert (signs["train_loss"], signs["dev_loss"], signs["value"]) == (1.0, 1.5, 0.75)
    assert signs["train_error"] == pytest.approx(0.5)
    assert signs["dev_loss_error"] == pytest.approx(0.5)
    worse = see(run, 2, dev(0, 0, 0, 1), probed([1.0, 1.0], [1.0, 2.0])).record["signs"]
    assert worse["error"] == pytest.approx(paired_error(np.array([[1, 0, 1, 1]]), np.array([[0, 0, 0, 1]])))
    assert (worse["loss"], worse["gradient_norm"]) == (None, None)


def test_the_loss_on_dev_rows_can_steer_and_is_better_when_it_is_lower() -> None:
    run = looking(metric="loss")
    decisions = [
        see(run, i, dev(1.0), probed([1.0, 1.0], [loss, loss + 1])).decision for i, loss in enumerate([3, 2, 4])
    ]
    assert [decision.best for decision in decisions] == [True, True, False]
    assert (run.best, run.latest) == (2.5, 4.5)


def test_back_at_the_best_look_what_was_seen_after_it_is_forgotten() -> None:
    run = looking()
    for i, value in enumerate([0.1, 0.5, 0.3, 0.2]):
        see(run, i, dev(value, value))
    run.anew(2.0)
    assert [signs.step for signs in run.signs] == [0, 10]
    assert [look.step for look in run.looks] == [0, 10, 20, 30]


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=6), st.data())
def test_a_run_that_was_put_away_as_json_and_arrays_sees_what_one_that_went_on_sees(
    looks: list[list[float]], data: Any
) -> None:
    cut = data.draw(st.integers(1, len(looks) - 1))
    through, first, second = (looking(min_change="1 standard error") for _ in range(3))
    for i, items in enumerate(looks[:cut]):
        for run in (through, first):
            see(run, i, dev(*items), probed(items, items[:2]))
            run.stepped(items[0], items[1])
    state = first.state()
    second.restore(Snapshot(state.tensors, json.loads(json.dumps(state.facts))))
    for i, items in enumerate(looks[cut:], cut):
        seen = [see(run, i, dev(*items), probed(items, items[:2])) for run in (through, second)]
        assert seen[0] == seen[1]


def test_the_history_of_a_run_has_signs_and_the_diagnosis_of_every_look(tiny_model: Loader, tmp_path: Path) -> None:
    lines: list[LookLine] = []

    class Watches(Silent):
        def look(self, line: LookLine) -> None:
            lines.append(line)

    leaves = {
        "train.max_steps": 6, "train.batch_size": 8, "train.learning_rate": 1e-3, "guard.eval_every": "2 steps",
        "guard.patience": None, "data.dev": 0.3, "data.test": "none",
    }  # fmt: skip
    made = plan(load_recipe(set=leaves), Given(tiny.toy_triplets(80)), tiny_model(), Silent())
    fitted = teach(made, RunDir(tmp_path, finished=False), look(made), None, Watches())
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    seen = [line for line in history if "signs" in line]
    assert [line["step"] for line in seen] == [line.step for line in lines] == [0, 2, 4, 6]
    assert seen[0]["diagnosis"] == seen[0]["reason"] == ""
    assert all(line["diagnosis"] and line["reason"] for line in seen[1:])
    assert fitted.diagnosis is not None
    assert (fitted.diagnosis.name, fitted.diagnosis.reason) == (seen[-1]["diagnosis"], seen[-1]["reason"])
    for line in seen[1:]:
        signs = line["signs"]
        assert signs["value"] == line["dev"][METRIC]
        assert None not in (signs["train_loss"], signs["dev_loss"], signs["loss"], signs["rate"], signs["cosine"])
        assert signs["error"] >= 0


def test_looking_moves_no_weight(tiny_model: Loader) -> None:
    def run(every: str) -> dict[str, Any]:
        made = planned(
            tiny_model(), tiny.toy_triplets(60), data__dev=0.2, train__max_steps=6, train__batch_size=8,
            guard__eval_every=every, guard__patience=None,
        )  # fmt: skip
        made.built.model[0].model.embeddings.dropout.p = 0.2
        values = iter(range(100))
        trained(made, lambda: {METRIC: float(next(values))}, {METRIC: -1.0})
        return weights(made.built.model)

    assert distance(run("1 step"), run("6 steps")) == 0.0


def test_a_loss_that_dev_rows_do_not_bear_is_refused_before_anything_is_trained(tiny_model: Loader) -> None:
    recipe = et.load_recipe(set={"guard.metric": "loss", "data.test": "none", "train.epochs": 1})
    dev = [{"sentence1": f"a {i}", "sentence2": f"b {i}", "score": i / 20} for i in range(20)]
    with pytest.raises(RecipeError, match=r"guard\.metric: found loss, and multiple_negatives_ranking of triplets"):
        plan(recipe, Given(tiny.toy_triplets(60), dev), tiny_model(), Silent())
    plan(recipe, Given(tiny.toy_triplets(60), tiny.toy_triplets(20, start=100)), tiny_model(), Silent())
