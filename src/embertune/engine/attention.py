"""Attention among flat texts: a batched product for every run of equal lengths, as one node of the graph.

`NAME` is registered with transformers for both the attention and its mask. Inside `within(layout)` the mask function
answers with a `FlatMask`, which transformers hands through the layers to the attention function; outside, both are
those of SDPA, so padded calls stay what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from embertune.engine.dropout import survivors, thinned
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
    device: torch.device | str = "cpu"
    _orders: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def squares(self) -> int:
        """Pairs of tokens that attend to each other, before `allowed`."""
        return sum(run.tokens * run.length for run in self.runs)

    def order(self, heads: int) -> tuple[Tensor, Tensor]:
        """Rows (T x heads,) of (T, heads) in the order of run, text, head, place, and the way back. Made once."""
        if heads not in self._orders:
            rows = [
                torch.arange(run.tokens * heads, device=self.device)
                .view(run.count, run.length, heads)
                .transpose(1, 2)
                .reshape(-1)
                .add_(run.start * heads)
                for run in self.runs
            ]
            there = torch.cat(rows)
            back = torch.empty_like(there)
            back[there] = torch.arange(len(there), device=self.device)
            self._orders[heads] = (there, back)
        return self._orders[heads]

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
    return FlatMask(layout.runs, layout.longest, None if bool(allowed.all()) else allowed, layout.index.device)


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
    query, key, value = _of_autocast(query, key, value)
    window = _window(mask) if bias is None and _kernel_fits(query, dropout) else None
    if window is not None:
        return _varlen(query, key, value, mask, scaling, window)
    if (shared := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    attention: Any = _Attention
    made: Tensor = attention.apply(query, key, value, bias, mask, scaling, dropout)
    return made


def _of_autocast(*parts: Tensor) -> tuple[Tensor, ...]:
    """The parts in the precision of autocast, as it gives them to SDPA: rotated or normed ones come in float32."""
    device = parts[0].device.type
    if not torch.is_autocast_enabled(device):
        return parts
    return tuple(part.to(torch.get_autocast_dtype(device)) for part in parts)


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
    """`attend` run by run. Keeps the weights of every text for the way back, as any attention without a kernel does.

    Query, key and value are put in the order of run, text, head, place at once, so that a run is a view of them.
    """

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
        heads, order = query.shape[1], mask.order(query.shape[1])
        with torch.autocast(query.device.type, enabled=False):
            q, k, v = (_ordered(part, order) for part in (query * scaling, key, value))
            out, kept = torch.empty_like(q), []
            stay, factor = _survivors(mask.squares * heads, dropout, q)
            at = 0
            for run in mask.runs:
                part = _Part(run, heads, at)
                weights = _weights(part.of(q), part.of(k), run, mask.of(run.length), bias)
                used = weights if stay is None else thinned(weights, part.square(stay), factor)
                torch.bmm(used, part.of(v), out=part.of(out))
                kept.append(weights)
                at = part.end
        ctx.save_for_backward(q, k, v, stay, *kept)
        ctx.mask, ctx.scaling, ctx.factor, ctx.heads = mask, scaling, factor, heads
        ctx.bias = None if bias is None else (bias.shape, bias.dtype)
        return _disordered(out, order, query.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, stay, *kept = ctx.saved_tensors
        order = ctx.mask.order(ctx.heads)
        g = _ordered(gradient, order)
        of_q, of_k, of_v = (torch.empty_like(q) for _ in range(3))
        of_bias = None if ctx.bias is None else torch.zeros(ctx.bias[0], dtype=ctx.bias[1], device=q.device)
        at = 0
        for run, weights in zip(ctx.mask.runs, kept, strict=True):
            part = _Part(run, ctx.heads, at)
            used, scores = weights, torch.bmm(part.of(g), part.of(v).transpose(1, 2))
            if stay is not None:
                used, scores = (thinned(x, part.square(stay), ctx.factor) for x in (weights, scores))
            torch.bmm(used.transpose(1, 2), part.of(g), out=part.of(of_v))
            scores = torch._softmax_backward_data(scores, weights, -1, weights.dtype)
            if of_bias is not None:
                length = run.length
                of_bias[:, :length, :length] += scores.view(run.count, -1, length, length).sum(0)
            torch.bmm(scores, part.of(k), out=part.of(of_q))
            torch.bmm(scores.transpose(1, 2), part.of(q), out=part.of(of_k))
            at = part.end
        of_q.mul_(ctx.scaling)
        made = (_disordered(of, order, gradient.shape) for of in (of_q, of_k, of_v))
        return *made, of_bias, None, None, None


@dataclass(frozen=True)
class _Part:
    """A run's share of ordered rows (heads x T, d), and of the squares of weights, from `at` on."""

    run: Run
    heads: int
    at: int

    @property
    def end(self) -> int:
        """Where the next run's squares begin."""
        return self.at + self.run.tokens * self.run.length * self.heads

    def of(self, rows: Tensor) -> Tensor:
        """(heads x T, d) -> (texts x heads, length, d), a view."""
        piece = rows.narrow(0, self.run.start * self.heads, self.run.tokens * self.heads)
        return piece.view(-1, self.run.length, rows.shape[1])

    def square(self, flat: Tensor) -> Tensor:
        """(all weights,) -> (texts x heads, length, length), a view."""
        return flat[self.at : self.end].view(-1, self.run.length, self.run.length)


def _ordered(part: Tensor, order: tuple[Tensor, Tensor]) -> Tensor:
    """(T, heads, d) -> (T x heads, d) in the order of run, text, head, place."""
    return part.reshape(-1, part.shape[2]).index_select(0, order[0])


def _disordered(rows: Tensor, order: tuple[Tensor, Tensor], shape: torch.Size) -> Tensor:
    """The opposite of `_ordered`."""
    return rows.index_select(0, order[1]).view(shape)


def _survivors(count: int, rate: float, like: Tensor) -> tuple[Tensor | None, float]:
    """Which of `count` weights stay, (count,) boolean, and their factor; None for all of them."""
    if not rate:
        return None, 1.0
    if like.device.type == "cpu" and rate < 1:
        return survivors((count,), rate)
    return torch.rand(count, device=like.device) >= rate, 1 / (1 - rate) if rate < 1 else 1.0


def _weights(q: Tensor, k: Tensor, run: Run, allowed: Tensor | None, bias: Tensor | None) -> Tensor:
    """Attention weights of a run, (texts x heads, length, length)."""
    scores = torch.bmm(q, k.transpose(1, 2))
    if bias is not None:
        parts = scores.view(run.count, -1, run.length, run.length)
        parts += bias[:, : run.length, : run.length]
    if allowed is not None:
        scores.masked_fill_(~allowed, float("-inf"))
    return torch.softmax(scores, -1)


AttentionInterface.register(NAME, flat_attention)
AttentionMaskInterface.register(NAME, flat_mask)
