"""Attention among flat texts: a batched product for every run of equal lengths, as one node of the graph.

`NAME` is registered with transformers for both the attention and its mask. Inside `within(layout)` the mask function
answers with a `FlatMask`, which transformers hands through the layers to the attention function; outside, both are
those of SDPA, so padded calls stay what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from embertune.engine.dropout import dropped
from embertune.engine.layout import Layout, Run
from embertune.errors import ModelError

NAME = "embertune"

#: What else an attention may do to its scores; none of it is done here, so a model that asks for it is not packed.
_UNKNOWN = ("softcap", "s_aux", "position_bias", "head_mask", "cache")

_layout: ContextVar[Layout | None] = ContextVar("layout", default=None)


@dataclass(frozen=True)
class FlatMask:
    """Who attends to whom among flat texts: only tokens of one text, and of those what `allowed` says.

    `allowed` (longest, longest), boolean, query by key, holds for positions in any text; None allows all.
    """

    runs: tuple[Run, ...]
    longest: int
    allowed: Tensor | None = None

    def of(self, length: int) -> Tensor | None:
        """`allowed` for a text of `length` tokens; None where it allows all."""
        if self.allowed is None:
            return None
        part = self.allowed[:length, :length]
        return None if bool(part.all()) else part


@contextmanager
def within(layout: Layout) -> Iterator[None]:
    """Calls of a backbone in here are about flat tokens laid out so."""
    token = _layout.set(layout)
    try:
        yield
    finally:
        _layout.reset(token)


def flat_mask(*args: Any, mask_function: Callable[..., Tensor], **kwargs: Any) -> FlatMask | Tensor | None:
    """The mask function: the family's own rule, read off for positions within one text."""
    layout = _layout.get()
    if layout is None:
        mask: Tensor | None = sdpa_mask(*args, mask_function=mask_function, **kwargs)
        return mask
    place = torch.arange(layout.longest, device=layout.index.device)
    zero = place.new_zeros(())
    allowed = mask_function(zero, zero, place[:, None], place[None, :]).expand(layout.longest, layout.longest)
    return FlatMask(layout.runs, layout.longest, None if bool(allowed.all()) else allowed)


def flat_attention(  # noqa: PLR0913 transformers decides what an attention function takes
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: FlatMask | Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function. query (1, heads, T, d), key and value perhaps with fewer heads -> (1, T, heads, d)."""
    if not isinstance(attention_mask, FlatMask):
        if _layout.get() is not None:
            raise ModelError("pack", f"{type(module).__name__} makes masks of its own", "use the model without packing")
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return plain
    if asked := [name for name in _UNKNOWN if kwargs.get(name) is not None]:
        raise ModelError("pack", f"the attention asks for {asked[0]}", "use the model without packing")
    query, key, value = (part.squeeze(0).transpose(0, 1) for part in (query, key, value))
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attend(query, key, value, attention_mask, scaling, dropout).unsqueeze(0), None


def attend(  # noqa: PLR0913 the terms of one formula
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: FlatMask,
    scaling: float,
    dropout: float = 0.0,
    bias: Tensor | None = None,
) -> Tensor:
    """softmax(query keyᵀ · scaling + bias) value within each text, with dropout on the weights; all (T, heads, d).

    key and value may have fewer heads, each shared by as many neighbouring query heads. `bias` (heads, longest,
    longest) is added for positions within a text.
    """
    window = _window(mask) if bias is None and _kernel_fits(query, dropout) else None
    if window is not None:
        return _varlen(query, key, value, mask, scaling, window)
    if (shared := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    attention: Any = _Attention
    made: Tensor = attention.apply(query, key, value, bias, mask, scaling, dropout)
    return made


def _kernel_fits(query: Tensor, dropout: float) -> bool:
    return query.is_cuda and query.dtype in (torch.float16, torch.bfloat16) and not dropout and query.shape[-1] <= 256


def _window(mask: FlatMask) -> tuple[int, int] | None:
    """How far left and right a token sees, -1 for without end; None where that does not say it all."""
    if mask.allowed is None:
        return (-1, -1)
    allowed, place = mask.allowed, torch.arange(mask.longest, device=mask.allowed.device)
    left, right = int(allowed[-1].flip(0).int().cumprod(0).sum()) - 1, int(allowed[0].int().cumprod(0).sum()) - 1
    gap = place[None, :] - place[:, None]
    if not bool(torch.equal(allowed, (gap <= right) & (gap >= -left))):
        return None
    return (-1 if left == mask.longest - 1 else left, -1 if right == mask.longest - 1 else right)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, mask: FlatMask, scaling: float, window: tuple[int, int]
) -> Tensor:
    """torch's variable-length attention (FlashAttention kernels): CUDA, half precision, no dropout."""
    lengths = torch.tensor([0, *(run.length for run in mask.runs for _ in range(run.count))], device=query.device)
    ends = lengths.cumsum(0).int()
    made = varlen_attn(
        query.contiguous(), key.contiguous(), value.contiguous(), ends, ends, mask.longest, mask.longest,
        scale=scaling, window_size=window, enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    assert isinstance(made, Tensor)
    return made


class _Attention(torch.autograd.Function):
    """`attend` run by run. Keeps the weights of every text for the way back, as any attention without a kernel does."""

    @staticmethod
    def forward(  # noqa: PLR0913 the terms of one formula
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        mask: FlatMask,
        scaling: float,
        dropout: float,
    ) -> Tensor:
        out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        kept: list[Tensor] = []
        factor = 1.0
        with torch.autocast(query.device.type, enabled=False):
            for run in mask.runs:
                q, k, v = (_heads(part, run) for part in (query, key, value))
                weights = _weights(q, k, run, mask.of(run.length), scaling, bias)
                used = weights
                if dropout:
                    out_of, factor = _fallen(weights, dropout)
                    used = (weights * factor).masked_fill_(out_of, 0.0)
                    kept.append(out_of)
                kept.append(weights)
                _put(out, torch.bmm(used, v), run)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.mask, ctx.scaling, ctx.dropout, ctx.factor = mask, scaling, dropout, factor
        ctx.bias = None if bias is None else (bias.shape, bias.dtype)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        made = tuple(torch.empty(query.shape, dtype=query.dtype, device=query.device) for _ in range(3))
        of_bias = None
        if ctx.bias is not None:
            of_bias = torch.zeros(ctx.bias[0], dtype=ctx.bias[1], device=query.device)
        saved = iter(kept)
        for run in ctx.mask.runs:
            out_of = next(saved) if ctx.dropout else None
            weights = used = next(saved)
            q, k, v, g = (_heads(part, run) for part in (query, key, value, gradient))
            scores = torch.bmm(g, v.transpose(1, 2))
            if out_of is not None:
                used = (weights * ctx.factor).masked_fill_(out_of, 0.0)
                scores.mul_(ctx.factor).masked_fill_(out_of, 0.0)
            _put(made[2], torch.bmm(used.transpose(1, 2), g), run)
            scores = torch._softmax_backward_data(scores, weights, -1, weights.dtype)
            if of_bias is not None:
                _add(of_bias, scores, run)
            _put(made[0], torch.bmm(scores, k).mul_(ctx.scaling), run)
            _put(made[1], torch.bmm(scores.transpose(1, 2), q).mul_(ctx.scaling), run)
        return *made, of_bias, None, None, None


def _fallen(weights: Tensor, rate: float) -> tuple[Tensor, float]:
    """Which weights fall out, and the factor of the others."""
    if weights.device.type == "cpu" and rate < 1:
        return dropped(tuple(weights.shape), rate)
    return torch.rand_like(weights) < rate, 1 / (1 - rate) if rate < 1 else 1.0


def _heads(part: Tensor, run: Run) -> Tensor:
    """The run's share of (T, heads, d) as (texts x heads, length, d)."""
    piece = part.narrow(0, run.start, run.tokens).view(run.count, run.length, *part.shape[1:])
    return piece.transpose(1, 2).reshape(-1, run.length, part.shape[2])


def _put(whole: Tensor, piece: Tensor, run: Run) -> None:
    """The opposite of `_heads`: writes into `whole`."""
    heads, dimension = whole.shape[1:]
    target = whole.narrow(0, run.start, run.tokens).view(run.count, run.length, heads, dimension)
    target.copy_(piece.view(run.count, heads, run.length, dimension).transpose(1, 2))


def _weights(q: Tensor, k: Tensor, run: Run, allowed: Tensor | None, scaling: float, bias: Tensor | None) -> Tensor:
    """Attention weights of a run, (texts x heads, length, length)."""
    scores = torch.baddbmm(q.new_empty(()), q, k.transpose(1, 2), beta=0, alpha=scaling)
    if bias is not None:
        parts = scores.view(run.count, -1, run.length, run.length)
        parts += bias[:, : run.length, : run.length]
    if allowed is not None:
        scores.masked_fill_(~allowed, float("-inf"))
    return torch.softmax(scores, -1)


def _add(of_bias: Tensor, scores: Tensor, run: Run) -> None:
    """Add the run's share to the gradient of the bias."""
    length = run.length
    of_bias[:, :length, :length] += scores.view(run.count, -1, length, length).sum(0)


AttentionInterface.register(NAME, flat_attention)
AttentionMaskInterface.register(NAME, flat_mask)
