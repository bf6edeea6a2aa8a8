"""Which parameters are trained at which rate and decay, and how their gradients are clipped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.training.losses import build_loss, head_parameters
from embertune.training.optimizer import adamw, groups
from embertune.training.trainer import Adapter
from tests import tiny
from tests.training.made import planned, trained

Loader = Callable[[], SentenceTransformer]


def test_every_trainable_parameter_is_in_exactly_one_group(tiny_model: Loader) -> None:
    model = tiny_model()
    frozen = next(model.parameters())
    frozen.requires_grad = False
    heads = head_parameters(build_loss("softmax", model, {}, 0), model)
    held = [p for group in groups(model, heads, 1e-3, 0.1) for p in group.parameters]
    wanted = [p for p in model.parameters() if p is not frozen] + list(heads.values())
    assert sorted(map(id, held)) == sorted(map(id, wanted))


def test_vectors_have_no_decay_and_matrices_have(tiny_model: Loader) -> None:
    model = tiny_model()
    heads = head_parameters(build_loss("softmax", model, {}, 0), model)
    made = groups(model, heads, 1e-3, 0.1)
    assert [(g.name, g.weight_decay) for g in made] == [
        ("encoder.matrices", 0.1),
        ("encoder.vectors", 0.0),
        ("head.matrices", 0.1),
        ("head.vectors", 0.0),
    ]
    assert all((p.ndim > 1) == (g.weight_decay > 0) for g in made for p in g.parameters)
    named = dict(model.named_parameters())
    vectors = {id(p) for p in made[1].parameters}
    assert all((id(p) in vectors) == (name.endswith("bias") or "LayerNorm" in name) for name, p in named.items())


def test_the_optimizer_is_adamw_with_the_usual_constants(tiny_model: Loader) -> None:
    model = tiny_model()
    made = adamw(groups(model, {}, 3e-4, 0.02))
    assert {(g["lr"], g["betas"], g["eps"], g["weight_decay"]) for g in made.param_groups} == {
        (3e-4, (0.9, 0.999), 1e-8, 0.02),
        (3e-4, (0.9, 0.999), 1e-8, 0.0),
    }


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
            self.of_head.append(self._norm(optimizer, "head"))

        monkeypatch.setattr(Adapter, "on_pre_optimizer_step", watched)

    @staticmethod
    def _norm(optimizer: object, name: str = "") -> float:
        held = [p for g in optimizer.param_groups if g["name"].startswith(name) for p in g["params"]]  # type: ignore[attr-defined]
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
