"""Whether a model on its fast path gives what the plain path gives: vectors, loss and gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from embertune.engine.paths import attach, detach, path_of

#: Short, long, empty, one word and beyond any limit: what a check is made of where no texts are given.
SAMPLE = (
    "embeddings",
    "A man is playing a guitar on the stage of a small theatre.",
    "",
    "Where can I hand in the form?",
    "The weather",
    "a " * 40,
    "Two dogs run across a field after a ball that somebody has thrown far too far for them to catch. " * 3,
    "no",
)
#: Norm below which a vector is not brought to length 1, so that gradients of an empty text's zeros stay small.
_LEAST = 1e-2


@dataclass(frozen=True)
class _Bounds:
    """Relative difference of the loss; gradients of a tensor, by its own norm and by all; vectors, by the largest."""

    loss: float
    own: float
    all: float
    vectors: float


#: Those of the design, and what rounding to 8 bits leaves of them: enough to tell a wrong neighbour.
_WHOLE, _HALF = _Bounds(1e-5, 1e-4, 1e-7, 1e-4), _Bounds(1e-2, 1e-1, 1e-2, 1e-1)


@dataclass(frozen=True)
class Parity:
    """How far the path `path` is from the plain one.

    `embeddings` is the greatest difference of any component, `loss` the relative difference of a ranking loss,
    `gradients` the worst tensor's distance as a multiple of what is allowed (up to 1 passes), `worst` its name.
    """

    path: str
    embeddings: float
    loss: float
    gradients: float
    worst: str
    passed: bool


def check(model: SentenceTransformer, texts: Sequence[str] = SAMPLE) -> Parity:
    """Compare the path `model` is on with the plain one on `texts`; the model is left as it was, gradients included.

    Without dropout. On the plain path all differences are zero.
    """
    path = path_of(model)
    with _still(model):
        features = _features(model, texts)
        fast = _step(model, features)
        detach(model)
        try:
            plain = _step(model, features)
        finally:
            if path is not None:
                attach(model, path)
    return _compare(path.name if path else "plain", fast, plain, dict(model.named_parameters()))


def _features(model: SentenceTransformer, texts: Sequence[str]) -> dict[str, Any]:
    """Features of the texts on the model's device, without rows of no token: batches with such run with padding."""
    with _untouched(model.tokenizer):
        made = model.preprocess(list(texts))
    features = {key: value.to(model.device) if isinstance(value, Tensor) else value for key, value in made.items()}
    if "attention_mask" not in features:
        return features
    some = features["attention_mask"].any(1)
    return {
        key: value[some] if isinstance(value, Tensor) and value.ndim == 2 else value for key, value in features.items()
    }


@dataclass(frozen=True)
class _Step:
    embeddings: Tensor
    loss: float
    gradients: dict[str, Tensor]


@contextmanager
def _still(model: SentenceTransformer) -> Iterator[None]:
    """Without dropout, with gradients on; every module's own mode comes back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _untouched(tokenizer: Any) -> Iterator[None]:
    """A fast tokenizer remembers how it cut and padded last, and saves it: as if it had not been used."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield
        return
    cut, padded = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.enable_truncation(**cut) if cut else backend.no_truncation()
        backend.enable_padding(**padded) if padded else backend.no_padding()


def _step(model: SentenceTransformer, features: dict[str, Any]) -> _Step:
    """One forward and backward pass of a ranking loss in which every text's neighbour is its positive."""
    vectors = model(dict(features))["sentence_embedding"]
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1, eps=_LEAST)
    loss = torch.nn.functional.cross_entropy(20 * unit @ unit.roll(1, 0).T, torch.arange(len(unit), device=unit.device))
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad and loss.requires_grad}
    found = torch.autograd.grad(loss, list(learnt.values()), allow_unused=True) if learnt else ()
    gradients = {name: g.float() for name, g in zip(learnt, found, strict=True) if g is not None}
    return _Step(vectors.detach().float(), loss.item(), gradients)


def _compare(path: str, fast: _Step, plain: _Step, parameters: dict[str, Tensor]) -> Parity:
    half = any(p.dtype in (torch.float16, torch.bfloat16) for p in parameters.values())
    bounds = _HALF if half else _WHOLE
    whole = torch.stack([g.norm() for g in plain.gradients.values()]).norm().item() if plain.gradients else 0.0
    ratios = {
        name: (fast.gradients[name] - g).norm().item() / (bounds.own * g.norm().item() + bounds.all * whole + 1e-30)
        for name, g in plain.gradients.items()
        if name in fast.gradients
    }
    lost = set(plain.gradients) ^ set(fast.gradients)
    worst = max(ratios, key=lambda name: ratios[name], default="")
    gradients = float("inf") if lost else ratios.get(worst, 0.0)
    loss = abs(fast.loss - plain.loss) / max(abs(plain.loss), 1e-12)
    embeddings = (fast.embeddings - plain.embeddings).abs().max().item()
    near = embeddings <= bounds.vectors * max(1.0, plain.embeddings.abs().max().item())
    passed = loss <= bounds.loss and gradients <= 1 and near
    return Parity(path, embeddings, loss, gradients, min(lost, default=worst), passed)
