"""Precision: how fast each is here, whether a model bears it, and running a model's backbone in it.

Weights are float32 always; only the products inside the backbone are done in another precision (Micikevicius et al.
2018, arXiv:1710.03740, section 3). What the backbone gives is float32 again, so the mean over tokens, the modules after
it and the loss never add up in half precision: sixteen bits would blur a scaled cosine by about a tenth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor
from torch.nn import functional

Precision = Literal["float32", "bfloat16", "float16", "tf32"]

#: What a product must gain before a lower precision is worth its rounding: casts take some of it back.
CLEARLY = 1.5
#: Backbones narrower than this spend their time between the products, not in them.
NARROWEST = 128
#: The worst text's cosine between its two embeddings. bfloat16 rounds to 2^-8; a sound encoder keeps above 0.9999.
SAME_EMBEDDINGS = 0.999
#: The cosine between the two gradients. 0.99 is 8 degrees: far below what another choice of batch turns a gradient by,
#: and far above what is left of it where something overflows or cancels.
SAME_GRADIENT = 0.99
#: How much of how many texts a parity check reads: enough to tell, too little to fill the memory.
PARITY_TEXTS, PARITY_CHARACTERS = 16, 200

#: Tokens of the small product that finds out what is hopeless, and of the one whose figure counts.
_SMALL, _LARGE = {"cpu": 64, "cuda": 512}, {"cpu": 512, "cuda": 8192}
#: Seconds after which products are not repeated any more, and how often they are at most.
_PATIENCE, _REPEATS = 0.05, 5
_HALVES: Mapping[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Parity:
    """How near a precision comes to float32: cosine of the worst text's embeddings, and of the whole gradients."""

    embeddings: float
    gradient: float

    @property
    def fault(self) -> str:
        """What is wrong, in plain words; '' where nothing is. A number that is none is wrong too."""
        if not self.embeddings >= SAME_EMBEDDINGS:
            return f"changes embeddings (cosine {self.embeddings:.4f}, at least {SAME_EMBEDDINGS} is asked for)"
        if not self.gradient >= SAME_GRADIENT:
            return f"changes the gradient (cosine {self.gradient:.4f}, at least {SAME_GRADIENT} is asked for)"
        return ""


@dataclass(frozen=True)
class Decision:
    """The precision to train in, why in plain words, and the figures it rests on, their units in their names."""

    precision: Precision
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


def decide(products: Mapping[str, float], parity: Callable[[Precision], Parity]) -> Decision:
    """bfloat16, else tf32, where its products are clearly faster and the model bears it; else float32.

    `products` are GFLOP/s by precision, as `measure_products` gives them; `parity` is asked only about what is faster.
    float16 is never chosen: its range is small enough to need a loss scale, and it is no faster than bfloat16.
    """
    figures = {f"{precision}_gflops": speed for precision, speed in products.items()}
    reasons = []
    for precision in (p for p in _CANDIDATES if p in products):
        against = compared(precision, products)
        if products[precision] < CLEARLY * products["float32"]:
            reasons.append(against)
            continue
        found = parity(precision)
        figures |= {f"{precision}_embeddings_cosine": found.embeddings, f"{precision}_gradient_cosine": found.gradient}
        if not found.fault:
            agree = f"embeddings and gradient agree (cosine {found.embeddings:.5f} and {found.gradient:.4f})"
            return Decision(precision, f"{against}; {agree}", figures)
        reasons.append(f"{against}, but it {found.fault}")
    return Decision("float32", "; ".join(reasons), figures)


_CANDIDATES: tuple[Precision, ...] = ("bfloat16", "tf32")


def compared(precision: str, products: Mapping[str, float]) -> str:
    """In plain words, how fast products are in `precision`."""
    fast, plain = products[precision], products["float32"]
    return f"{precision} products are {fast / plain:.2g} times as fast ({fast:,.0f} against {plain:,.0f} GFLOP/s)"


def measure_products(device: torch.device | str, hidden: int) -> Mapping[str, float]:
    """GFLOP/s of a product of the model's shape, (tokens, hidden) x (hidden, 4 hidden), by precision that is there.

    Takes a few milliseconds, and well under a second where bfloat16 has no units of its own: a small product comes
    first, and where that is hopeless its figure stands. The best of some repeats, taken in turns.
    """
    device = torch.device(device)
    precisions: list[Precision] = ["float32", "bfloat16"]
    if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8:
        precisions.append("tf32")
    small = _best(device, hidden, _SMALL.get(device.type, 512), precisions)
    hopeful = [p for p in precisions if small[p] >= 0.8 * small["float32"]]
    if hopeful == ["float32"]:
        return small
    return small | _best(device, hidden, _LARGE.get(device.type, 8192), hopeful)


def _best(device: torch.device, hidden: int, tokens: int, precisions: Sequence[Precision]) -> dict[str, float]:
    """GFLOP/s by precision: the best of some products, which are fewer where they take long."""
    texts = torch.full((tokens, hidden), 0.5, device=device)
    weights = torch.full((4 * hidden, hidden), 0.25, device=device)
    seconds = dict.fromkeys(precisions, float("inf"))
    until = time.perf_counter() + _PATIENCE
    for repeat in range(_REPEATS):
        for precision in precisions if repeat < 2 or time.perf_counter() < until else ():
            seconds[precision] = min(seconds[precision], _seconds(texts, weights, precision))
    return {precision: 8e-9 * tokens * hidden * hidden / seconds[precision] for precision in precisions}


def _seconds(texts: Tensor, weights: Tensor, precision: Precision) -> float:
    dtype = _HALVES.get(precision, torch.float32)
    texts, weights = texts.to(dtype), weights.to(dtype)
    with context("tf32" if precision == "tf32" else "float32", texts.device), torch.inference_mode():
        _wait(texts.device)
        started = time.perf_counter()
        functional.linear(texts, weights)
        _wait(texts.device)
        return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def context(precision: Precision, device: torch.device | str) -> Iterator[None]:
    """Inside, products are done in `precision`; afterwards everything is set as it was. float32 sets nothing.

    bfloat16 and float16 are torch's autocast on the kind of `device`, tf32 is the setting for CUDA's products.
    """
    if precision in _HALVES:
        with torch.autocast(torch.device(device).type, dtype=_HALVES[precision]):
            yield
    elif precision == "tf32":
        with _tf32():
            yield
    else:
        yield


def in_use(device: torch.device) -> Precision:
    """The precision in which products are done at this moment."""
    if torch.is_autocast_enabled(device.type):
        return "float16" if torch.get_autocast_dtype(device.type) is torch.float16 else "bfloat16"
    return "tf32" if device.type == "cuda" and torch.backends.cuda.matmul.fp32_precision == "tf32" else "float32"


@contextmanager
def _tf32() -> Iterator[None]:
    """The setting has an old and a new name; the old one sets both, and reading it fails where they disagree."""
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    if before == "tf32":
        yield
        return
    products.allow_tf32 = True
    try:
        yield
    finally:
        products.allow_tf32 = False
        products.fp32_precision = before


@contextmanager
def applied(model: SentenceTransformer, precision: Precision) -> Iterator[None]:
    """Inside, the backbone of `model` (its first module) computes in `precision` and gives float32.

    It hangs on hooks of that module, which leave with the block: forward is not wrapped, weights are not touched. Holds
    however the module is run, packed or plain, in training and in `encode`. A block in a block is the inner one, but
    for float32, which changes nothing.
    """
    if precision not in _HALVES:
        with context(precision, model.device):
            yield
        return
    inside = _Inside(precision)
    handles = (
        model[0].register_forward_pre_hook(inside.begin),
        model[0].register_forward_hook(inside.end, prepend=True, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        inside.open.close()  # an interrupt between the hooks leaves the context open


class _Inside:
    """Opens the context before the module runs, and afterwards closes it and gives float32 (changes the features)."""

    def __init__(self, precision: Precision) -> None:
        self.precision, self.open = precision, ExitStack()

    def begin(self, module: Any, _arguments: Any) -> None:
        self.open.enter_context(context(self.precision, next(module.parameters()).device))

    def end(self, _module: Any, _arguments: Any, features: Any) -> None:
        self.open.close()
        for name, value in (features or {}).items():
            features[name] = _float32(value)


def _float32(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in _HALVES.values():
        return value.float()
    if isinstance(value, list | tuple):
        return type(value)(_float32(one) for one in value)
    return value


@contextmanager
def kept_casts(precision: Precision, device: torch.device | str) -> Iterator[None]:
    """Inside, autocast casts every weight once and not once a call. Only for blocks in which no weight changes."""
    with ExitStack() as stack:
        if precision in _HALVES:
            stack.enter_context(torch.autocast(torch.device(device).type, enabled=False))
        yield


def check_parity(model: SentenceTransformer, texts: Sequence[str], precision: Precision) -> Parity:
    """Embed `texts` and differentiate a ranking loss over them, without dropout, in `precision` and in float32.

    The first `PARITY_CHARACTERS` of at most `PARITY_TEXTS` texts are read. The model is left as it was, gradients and
    random state included.
    """
    chosen = [text[:PARITY_CHARACTERS] for text in texts[:PARITY_TEXTS]]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        plain, plain_gradient = _embedded(model, chosen, "float32")
        other, other_gradient = _embedded(model, chosen, precision)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return Parity(functional.cosine_similarity(plain, other).min().item(), _cosine(plain_gradient, other_gradient))


def _embedded(model: SentenceTransformer, texts: Sequence[str], precision: Precision) -> tuple[Tensor, list[Tensor]]:
    """The embeddings (n, d), and the gradient of a loss in which every text is to find the one after it."""
    features = {
        key: value.to(model.device) if isinstance(value, Tensor) else value
        for key, value in model.preprocess(list(texts)).items()
    }
    with applied(model, precision), torch.enable_grad():
        vectors = model(features)["sentence_embedding"].float()
        unit = functional.normalize(vectors, dim=-1)
        wanted = torch.arange(len(unit), device=unit.device).roll(-1)
        loss = functional.cross_entropy(20 * unit @ unit.T - 40 * torch.eye(len(unit), device=unit.device), wanted)
        learnt = [p for p in model.parameters() if p.requires_grad]
        found = torch.autograd.grad(loss, learnt, allow_unused=True) if learnt else ()
    return vectors.detach(), [torch.zeros(()) if g is None else g.float() for g in found]


def _cosine(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """The cosine of two gradients, each given tensor by tensor; 1 where there is none."""
    if not left:
        return 1.0
    product = sum(float((a * b).sum(dtype=torch.float64)) for a, b in zip(left, right, strict=True))
    sizes = [sum(float((a * a).sum(dtype=torch.float64)) for a in side) for side in (left, right)]
    return product / (sizes[0] * sizes[1]) ** 0.5 if sizes[0] * sizes[1] else float("nan")
