"""Whether a packed model gives what the unpacked one gives, within the bounds of the design's section on the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

Features = dict[str, Any]
Losses = Callable[[SentenceTransformer], Tensor]


@dataclass(frozen=True)
class Step:
    """The loss of one step and the gradients of all parameters that have one."""

    loss: float
    gradients: Mapping[str, Tensor]


def copied(features: Mapping[str, Any]) -> Features:
    """Features as they came from the tokenizer; a pass writes into those it is given."""
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in features.items()}


def vectors(model: SentenceTransformer, features: Mapping[str, Any]) -> Tensor:
    """The vectors of a batch, (rows, d)."""
    made: Tensor = model(copied(features))["sentence_embedding"]
    return made


def ranking(features: Mapping[str, Any], seen: list[Tensor] | None = None) -> Losses:
    """A loss in which all vectors, and all components of each, take part with weights of their own.

    The vectors themselves are put into `seen`.
    """

    def loss(model: SentenceTransformer) -> Tensor:
        made = vectors(model, features).float()
        if seen is not None:
            seen.append(made.detach())
        generator = torch.Generator().manual_seed(7)
        aims = torch.randn(made.shape, generator=generator)
        return (made * aims).sum() + (made @ made.T).tanh().sum()

    return loss


def step(model: SentenceTransformer, loss: Losses) -> Step:
    """One backward pass; the model's gradients are empty before and after."""
    model.zero_grad(set_to_none=True)
    value = loss(model)
    value.backward()
    found = {name: p.grad.float() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return Step(value.item(), found)


def assert_same(packed: Step, plain: Step, wider: float = 1.0) -> None:
    """The bounds of the design: 1e-5 of the loss, per tensor 1e-4 of its norm and 1e-7 of that of all."""
    assert abs(packed.loss - plain.loss) <= 1e-5 * wider * max(abs(plain.loss), 1e-6), (packed.loss, plain.loss)
    assert set(packed.gradients) == set(plain.gradients)
    whole = torch.stack([gradient.norm() for gradient in plain.gradients.values()]).norm()
    for name, gradient in plain.gradients.items():
        gap = (packed.gradients[name] - gradient).norm()
        assert gap <= wider * (1e-4 * gradient.norm() + 1e-7 * whole), (name, gap, gradient.norm(), whole)


def assert_packing_changes_nothing(
    packed: SentenceTransformer, plain: SentenceTransformer, features: Mapping[str, Any], wider: float = 1.0
) -> None:
    """Vectors, loss and every gradient on one batch."""
    seen: list[Tensor] = []
    steps = [step(model, ranking(features, seen)) for model in (packed, plain)]
    assert torch.allclose(*seen, rtol=1e-4, atol=2e-5 * wider)
    assert_same(*steps, wider)


def features_of(model: SentenceTransformer, texts: Sequence[str], **options: Any) -> Features:
    """The host's features of texts."""
    made: Features = model.preprocess(list(texts), **options)
    return made


def attributes(model: SentenceTransformer) -> dict[str, dict[str, Any]]:
    """What is written on every module and on every configuration, identities included."""
    kept = {name: {key: id(value) for key, value in vars(module).items()} for name, module in model.named_modules()}
    config = getattr(model[0].model, "config", None) if hasattr(model[0], "model") else None
    return {**kept, "config": dict(vars(config)) if config is not None else {}}
