"""Training in another precision: it learns, its weights stay float32, and the trained model is as plain as before."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace as vary
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.recipe import replace
from embertune.training.fit import fit
from embertune.training.optimizer import loss_scaler
from embertune.training.session import Surroundings, host_arguments
from embertune.watch import Silent
from tests import tiny
from tests.training.made import distance, planned, trained, weights

Loader = Callable[[], SentenceTransformer]
SETTINGS: dict[str, Any] = {
    "train__max_steps": 24, "train__batch_size": 8, "train__learning_rate": 2e-3, "train__schedule": "constant",
}  # fmt: skip


def run_in(tiny_model: Loader, precision: str, **leaves: Any) -> tuple[SentenceTransformer, list[dict[str, Any]]]:
    """A model trained in `precision`, past the refusal of float16 without a GPU, and the history.

    Training leaves nothing on the model: no wrapped forward, no hook, no mark.
    """
    made = planned(tiny_model(), tiny.toy_pairs(40), **(SETTINGS | leaves))
    recipe = replace(made.resolved.recipe, {"train.precision": precision})
    model = made.built.model
    before = set(vars(model)), set(vars(model[0])), model[0].forward
    history = trained(vary(made, resolved=vary(made.resolved, recipe=recipe)))[1]
    assert (set(vars(model)), set(vars(model[0])), model[0].forward) == before
    assert "forward" not in vars(model)
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks
    return model, history


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_lowers_the_loss_as_float32_does_and_leaves_a_plain_model(tiny_model: Loader, precision: str) -> None:
    model, history = run_in(tiny_model, precision)
    plain, usual = run_in(tiny_model, "float32")
    losses, wanted = [line["loss"] for line in history], [line["loss"] for line in usual]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    assert losses != wanted
    assert losses == pytest.approx(wanted, rel=0.1)
    assert distance(weights(model), weights(plain)) > 0
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    texts = ["how can i repair the car", "a word"]
    assert (copy.deepcopy(model).encode(texts) == model.encode(texts)).all()


def test_the_same_plan_in_bfloat16_twice_gives_the_same_weights_bit_for_bit(tiny_model: Loader) -> None:
    (one, first), (other, second) = run_in(tiny_model, "bfloat16"), run_in(tiny_model, "bfloat16")
    assert distance(weights(one), weights(other)) == 0.0
    assert first == second


def test_the_loss_is_computed_in_float32(tiny_model: Loader, tmp_path: Path) -> None:
    seen: list[tuple[torch.dtype, torch.dtype, bool]] = []

    class Looks(nn.Module):
        def __init__(self, model: SentenceTransformer) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Any, labels: Any) -> torch.Tensor:
            left, right = (self.model(column)["sentence_embedding"] for column in features)
            product = left @ right.T
            seen.append((left.dtype, product.dtype, torch.is_autocast_enabled("cpu")))
            return product.square().mean()

    made = planned(tiny_model(), tiny.toy_pairs(40), train__precision="bfloat16", train__max_steps=1)
    around = Surroundings(None, tmp_path / "history.jsonl", Silent(), {}, loss=Looks)
    fit(made.built.model, made.data.sides.train, made.resolved.recipe, around)
    assert seen == [(torch.float32, torch.float32, False)]


def test_steps_whose_float16_gradients_overflow_are_passed_over_and_the_scale_falls(tiny_model: Loader) -> None:
    """The first scale, 65,536, is too large for a loss multiplied by 100."""
    settings = {"train__loss": "multiple_negatives_ranking", "train__loss_options": {"scale": 2e4}}
    model, history = run_in(tiny_model, "float16", **settings)
    norms = [line["gradient_norm"] for line in history]
    assert norms[0] is None
    assert any(norm is not None for norm in norms)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert all(line["loss"] is not None for line in history)


def test_a_float16_gradient_that_no_scale_helps_stops_training(tiny_model: Loader, tmp_path: Path) -> None:
    class NoGradient(nn.Module):
        def __init__(self, model: SentenceTransformer) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Any, labels: Any) -> torch.Tensor:
            first = self.model(features[0])["sentence_embedding"]
            return (first.sum() * 0).sqrt()  # 0, and its gradient is no number

    made = planned(tiny_model(), tiny.toy_pairs(40), **SETTINGS | {"train__max_steps": 30})
    recipe = replace(made.resolved.recipe, {"train.precision": "float16"})
    around = Surroundings(None, tmp_path / "history.jsonl", Silent(), {}, loss=NoGradient)
    before = {name: tensor.clone() for name, tensor in made.built.model.state_dict().items()}
    fitted = fit(made.built.model, made.data.sides.train, recipe, around)
    assert (fitted.skipped, fitted.steps) == (9, 25)  # sixteen smaller scales first
    assert "gradient norm is nan" in fitted.stopped
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.built.model.state_dict().items())


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "tf32"])
def test_the_loss_is_scaled_for_float16_alone(precision: str) -> None:
    assert not loss_scaler(precision, torch.device("cpu")).is_enabled()
    assert loss_scaler("float16", torch.device("cpu")).is_enabled()


def test_the_environment_does_not_decide_over_precision(
    tiny_model: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = run_in(tiny_model, "float32", train__max_steps=3)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    model, _ = run_in(tiny_model, "float32", train__max_steps=3)
    assert distance(weights(model), weights(plain)) == 0.0


def test_the_host_changes_no_setting_of_products(tiny_model: Loader, tmp_path: Path) -> None:
    made = planned(tiny_model(), tiny.toy_pairs(40), train__extra={"torch_compile": True})
    before = torch.backends.fp32_precision
    assert host_arguments(made.resolved.recipe, str(tmp_path)).mixed_precision == "no"
    assert torch.backends.fp32_precision == before
