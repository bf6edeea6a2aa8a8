"""Dropout whose random numbers cost little on a CPU: torch draws one double for every element, this sixteen bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

#: Rates are met to one part in this many; the scale is that of the rate met, so the expectation is exact.
_STEPS = 1 << 16


def survivors(shape: tuple[int, ...], rate: float) -> tuple[Tensor, float]:
    """Which elements stay, (shape) boolean, and what they are multiplied by; the others fall out at `rate` in (0, 1).

    Decided by torch's own generator, which gives the seed of a stream (SFC64) for each call.
    """
    limit = min(round(rate * _STEPS), _STEPS - 1)
    count = int(np.prod(shape, dtype=np.int64))
    seed = int(torch.empty((), dtype=torch.int64).random_())
    drawn = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.int16)[:count]
    stay = torch.from_numpy(drawn).view(shape) >= limit - _STEPS // 2
    return stay, _STEPS / (_STEPS - limit)


def thinned(x: Tensor, stay: Tensor, scale: float) -> Tensor:
    """x (any shape) times `scale` where it stays, zero elsewhere."""
    return stay.to(x.dtype).mul_(x).mul_(scale)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        stay, ctx.scale = survivors(tuple(x.shape), rate)
        ctx.save_for_backward(stay)
        return thinned(x, stay, ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (stay,) = ctx.saved_tensors
        return thinned(gradient, stay, ctx.scale), None


class QuickDropout:
    """Stands in for `forward` on an instance of `nn.Dropout`; off a CPU it is torch's own."""

    def __init__(self, module: nn.Dropout) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        """x (any shape), elements set to zero at the module's rate and the others scaled; outside training x itself."""
        own = self.module
        if not own.training or not own.p:
            return x
        if x.device.type != "cpu" or own.p >= 1 or not x.numel():
            return nn.functional.dropout(x, own.p, own.training)
        dropout: Any = _Dropout
        made: Tensor = dropout.apply(x, own.p)
        return made


def quicken(module: nn.Module) -> None:
    """Give every `nn.Dropout` inside the quick forward, in place."""
    for part in module.modules():
        if type(part) is nn.Dropout and "forward" not in vars(part):
            vars(part)["forward"] = QuickDropout(part)


def slow_down(module: nn.Module) -> None:
    """Undo `quicken`, in place."""
    for part in module.modules():
        if isinstance(vars(part).get("forward"), QuickDropout):
            del vars(part)["forward"]
