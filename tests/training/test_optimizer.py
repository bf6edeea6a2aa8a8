"""Which parameters are trained at which rate and decay, and how their gradients are clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.model.layers import find_layers
from embertune.recipe.optimizers import OPTIMIZERS, OptimizerName, optimizer_options
from embertune.recipe.sections import TrainSection
from embertune.training.losses import build_loss, head_parameters
from embertune.training.optimizer import Group, groups, optimizer_of
from embertune.training.rates import rows_of
from embertune.training.trainer import Adapter
from tests import tiny
from tests.training.made import distance, planned, trained, weights

Loader = Callable[[], SentenceTransformer]


def grouped(model: SentenceTransformer, heads: dict[str, nn.Parameter], rate: float, decay: float) -> list[Group]:
    """The groups of a model that is trained at one rate all over."""
    rows = rows_of(find_layers(model), heads, TrainSection(learning_rate=rate))
    return groups({**dict(model.named_parameters()), **heads}, rows, decay)


def test_every_trainable_parameter_is_in_exactly_one_group(tiny_model: Loader) -> None:
    model = tiny_model()
    frozen = next(model.parameters())
    frozen.requires_grad = False
    heads = head_parameters(build_loss("softmax", model, {}, 0), model)
    held = [p for group in grouped(model, heads, 1e-3, 0.1) for p in group.parameters]
    wanted = [p for p in model.parameters() if p is not frozen] + list(heads.values())
    assert sorted(map(id, held)) == sorted(map(id, wanted))


def test_vectors_have_no_decay_and_matrices_have(tiny_model: Loader) -> None:
    model = tiny_model()
    heads = head_parameters(build_loss("softmax", model, {}, 0), model)
    made = grouped(model, heads, 1e-3, 0.1)
    rows = ("embeddings", "block 0", "block 1", "top of the backbone", "loss")
    assert [(g.row, g.weight_decay) for g in made] == [(row, decay) for row in rows for decay in (0.1, 0.0)]
    assert all((p.ndim > 1) == (g.weight_decay > 0) for g in made for p in g.parameters)
    named = dict(model.named_parameters())
    vectors = {id(p) for g in made if not g.weight_decay for p in g.parameters}
    assert all((id(p) in vectors) == (name.endswith("bias") or "LayerNorm" in name) for name, p in named.items())


def test_the_optimizer_is_adamw_with_the_usual_constants(tiny_model: Loader) -> None:
    train = TrainSection()
    options = optimizer_options(train.optimizer, train.optimizer_options)
    made = optimizer_of(train.optimizer, grouped(tiny_model(), {}, 3e-4, 0.02), options)
    assert type(made) is torch.optim.AdamW
    assert {(g["lr"], g["betas"], g["eps"], g["weight_decay"], g["fused"]) for g in made.param_groups} == {
        (3e-4, (0.9, 0.999), 1e-8, 0.02, True),
        (3e-4, (0.9, 0.999), 1e-8, 0.0, True),
    }


#: Each optimizer with options that are not its defaults, and torch's own with the same.
OF_TORCH = {
    "adamw": ({"betas": (0.8, 0.9), "epsilon": 1e-6}, torch.optim.AdamW, {"betas": (0.8, 0.9), "eps": 1e-6}),
    "adam": ({"betas": (0.8, 0.9), "epsilon": 1e-6}, torch.optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-6}),
    "sgd": ({"momentum": 0.8, "nesterov": True}, torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "rmsprop": (
        {"alpha": 0.9, "epsilon": 1e-6, "momentum": 0.5},
        torch.optim.RMSprop,
        {"alpha": 0.9, "eps": 1e-6, "momentum": 0.5},
    ),
}


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_an_optimizer_steps_as_that_of_torch_does_without_being_fused(name: OptimizerName) -> None:
    given, kind, same = OF_TORCH[name]
    assert set(given) == set(OPTIMIZERS[name].options)
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4)) for _ in range(2))
    stepping = optimizer_of(name, [Group("all", (ours,), 0.01, 0.1)], given)
    reference = kind([theirs], lr=0.01, weight_decay=0.1, foreach=False, **same)
    for seed in range(5):
        ours.grad = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))
        theirs.grad = ours.grad.clone()
        stepping.step()
        reference.step()
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_a_run_with_any_optimizer_learns_and_ends_in_the_same_place_every_time(tiny_model: Loader, name: str) -> None:
    rate = 0.1 if name == "sgd" else 1e-3
    ends = []
    for _ in range(2):
        made = planned(
            tiny_model(), tiny.toy_pairs(16), train__optimizer=name, train__learning_rate=rate, train__max_steps=6,
            train__batch_size=8,
        )  # fmt: skip
        _, history = trained(made)
        ends.append(weights(made.built.model))
        assert history[-1]["loss"] < history[0]["loss"]
    assert distance(*ends) == 0.0


def test_decay_that_is_added_to_the_gradient_is_told_in_the_resolved_recipe(tiny_model: Loader) -> None:
    rows, leaves = tiny.toy_pairs(16), {"train__max_steps": 1, "train__batch_size": 8}
    told = planned(tiny_model(), rows, train__optimizer="adam", **leaves).resolved.reasons
    assert "adam adds it to the gradient" in told["train.weight_decay"]
    assert "train.weight_decay" not in planned(tiny_model(), rows, **leaves).resolved.reasons


class Gradients:
    """Runs training and notes the norm of all gradients, head included, before and after each clipping."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: list[float] = []
        self.after: list[float] = []
        self.of_head: list[float] = []
        original = Adapter.on_pre_optimizer_step

        def watched(adapter: Adapter, args: object, state: object, control: object, **given: object) -> None:
            optimizer = given["optimizer"]
            self.before.append(self._norm(optimizer))
            original(adapter, args, state, control, **given)
            self.after.append(self._norm(optimizer))
            self.of_head.append(self._norm(optimizer, "loss"))

        monkeypatch.setattr(Adapter, "on_pre_optimizer_step", watched)

    @staticmethod
    def _norm(optimizer: object, name: str = "") -> float:
        held = [p for g in optimizer.param_groups if g["row"].startswith(name) for p in g["params"]]
        return float(nn.utils.get_total_norm([p.grad for p in held if p.grad is not None]))


def test_clipping_bounds_the_norm_of_all_gradients_head_of_the_loss_included(
    tiny_model: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = Gradients(monkeypatch)
    made = planned(
        tiny_model(), tiny.toy_nli(24), train__loss="softmax", train__max_steps=3, train__gradient_clip=0.01,
        train__batch_size=8,
    )  # fmt: skip
    _, history = trained(made)
    assert all(norm > 0.01 for norm in gradients.before)
    assert gradients.after == pytest.approx([0.01] * 3, rel=1e-3)
    assert all(0 < norm < 0.01 for norm in gradients.of_head)
    assert [line["gradient_norm"] for line in history] == pytest.approx(gradients.before, rel=1e-6)


@pytest.mark.parametrize("clip", [None, 1e6])
def test_gradients_below_the_limit_and_without_one_are_left_alone(
    tiny_model: Loader, monkeypatch: pytest.MonkeyPatch, clip: float | None
) -> None:
    gradients = Gradients(monkeypatch)
    trained(planned(tiny_model(), tiny.toy_pairs(16), train__max_steps=2, train__gradient_clip=clip))
    assert len(gradients.after) == 2
    assert gradients.after == gradients.before


def test_the_head_of_the_loss_is_trained(tiny_model: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    from embertune.training import session as module

    kept: list[nn.Module] = []
    build = module.build_loss
    monkeypatch.setattr(module, "build_loss", lambda *given: kept.append(build(*given)) or kept[-1])
    made = planned(tiny_model(), tiny.toy_nli(24), train__loss="softmax", train__max_steps=3, train__batch_size=8)
    start = build("softmax", made.built.model, {}, 0).get_parameter("classifier.weight").detach().clone()
    trained(made)
    assert not torch.equal(kept[0].get_parameter("classifier.weight"), start)


def test_an_optimizer_that_keeps_less_is_counted_to_need_less_memory(tiny_model: Loader) -> None:
    leaves = {"train__max_steps": 1, "train__batch_size": 8, "train__learning_rate": 1e-3}
    adamw, sgd = (
        planned(tiny_model(), tiny.toy_pairs(16), train__optimizer=name, **leaves) for name in ("adamw", "sgd")
    )
    trained = 4 * sum(p.numel() for p in adamw.built.model.parameters())
    assert adamw.memory.fixed - sgd.memory.fixed == trained
