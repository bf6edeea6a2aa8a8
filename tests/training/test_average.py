"""The average of the weights: what it is, that dev and the saved model have it, that training goes on without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.data.prepared import Prepared
from embertune.training.average import Average
from embertune.training.fit import fit
from embertune.training.looking import Dev
from embertune.training.session import Surroundings
from embertune.watch import Silent
from tests import tiny
from tests.training import made
from tests.training.test_fit import steered

Loader = Callable[[], SentenceTransformer]
TEN = {"train__epochs": 2, "train__batch_size": 8, "train__learning_rate": 1e-3}


def named(*values: float) -> dict[str, nn.Parameter]:
    return {str(number): nn.Parameter(torch.tensor([value])) for number, value in enumerate(values)}


@given(st.floats(0.5, 0.999), st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_it_is_the_sum_of_all_values_with_falling_weights(decay: float, values: list[float]) -> None:
    parameters = named(values[0])
    average, expected = Average(decay), values[0]
    average.join(parameters)
    for step, value in enumerate(values[1:], 1):
        parameters["0"].data.fill_(value)
        average.update(parameters)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
    with average.worn(parameters):
        assert float(parameters["0"].detach()) == pytest.approx(expected, abs=1e-5)
    assert float(parameters["0"].detach()) == pytest.approx(values[-1])


def test_it_is_taken_off_bit_for_bit_whatever_happens() -> None:
    parameters = named(0.1, 0.2)
    average = Average(0.9)
    average.join(parameters)
    parameters["0"].data.fill_(1 / 3)
    average.update(parameters)
    with pytest.raises(KeyError), average.worn(parameters):
        raise KeyError
    assert torch.equal(parameters["0"].detach(), torch.tensor([1 / 3]))
    held = average.weights["0"].clone()
    average.settle(parameters)
    assert torch.equal(parameters["0"].detach(), held)


def test_what_joins_later_enters_with_its_value() -> None:
    first, second = named(1.0), {"late": nn.Parameter(torch.tensor([5.0]))}
    average = Average(0.9)
    average.join(first)
    average.update(first)
    average.join(first | second)
    assert float(average.weights["late"]) == 5.0


def test_dev_and_the_saved_model_have_the_average_and_training_goes_on_without_it(tiny_model: Loader) -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.3, 0.2]
    _, _, raw_dev, raw = steered(tiny_model, values, guard__patience=None)
    plan, fitted, dev, averaged = steered(tiny_model, values, guard__patience=None, train__average=0.9)
    losses = [[line["loss"] for line in history if "loss" in line] for history in (raw, averaged)]
    assert losses[0] == losses[1]
    assert fitted.best_step == 6
    assert all(made.distance(*pair) > 0 for pair in zip(dev.seen, raw_dev.seen, strict=True))
    assert made.distance(made.weights(plan.built.model), dev.seen[2]) == 0.0


def test_without_dev_the_average_of_the_end_is_left_and_what_was_frozen_is_not_touched(tiny_model: Loader) -> None:
    start, ends = made.weights(tiny_model()), []
    for decay in (None, 0.9, 0.9):
        model = tiny_model()
        leaves = {"train__average": decay, "train__freeze": 1, "train__unfreeze": "1 epoch", **TEN}
        made.trained(made.planned(model, tiny.toy_pairs(40), **leaves))
        ends.append(made.weights(model))
    raw, average, again = ends
    assert made.distance(average, again) == 0.0
    assert made.distance(raw, average) > 0
    embeddings = [name for name in start if "embeddings" in name]
    assert all(torch.equal(start[name], average[name]) for name in embeddings)
    lower = "0.model.encoder.layer.0.output.dense.weight"
    assert not torch.equal(start[lower], average[lower])


def test_negatives_are_mined_anew_with_the_average_that_dev_measures(tiny_model: Loader, tmp_path: Path) -> None:
    leaves = {"data__dev": 0.2, "data__negatives": {"every": 1}, "train__average": 0.9, "guard__eval_every": "1 epoch"}
    plan = made.planned(tiny_model(), tiny.toy_pairs(40), **leaves, **TEN)
    measured, mined = list[dict[str, torch.Tensor]](), list[dict[str, torch.Tensor]]()

    def score() -> Dev:
        measured.append(made.weights(plan.built.model))
        return Dev({plan.scene.dev_headline: 0.5})

    def renew(train: Prepared) -> Prepared:
        mined.append(made.weights(plan.built.model))
        return train

    base = Dev({plan.scene.dev_headline: 0.4})
    around = Surroundings(score, tmp_path / "history.jsonl", Silent(), {}, base, renew=renew)
    fit(plan.built.model, plan.data.sides.train, plan.resolved.recipe, around, plan.course)
    assert made.distance(mined[0], measured[0]) == 0.0
