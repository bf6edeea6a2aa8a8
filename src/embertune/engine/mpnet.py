"""MPNet on flat tokens. Its attention is no exchangeable function and adds a bias for the distance of two tokens.

The bias depends on the distance alone, so that of the longest text holds the others': it is computed once a pass, and
its gradient reaches the table of distances. Song et al. 2020, arXiv:2004.09297;
Raffel et al. 2020, arXiv:1910.10683, section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.models.mpnet.modeling_mpnet import MPNetModel, MPNetSelfAttention

from embertune.engine.attention import FlatMask, attend
from embertune.engine.flat import Features, FlatForward, own_forward
from embertune.engine.layout import Layout


@dataclass(frozen=True)
class _Flat:
    """What travels through the layers in place of the bias: the bias (heads, longest, longest) and the texts' runs."""

    bias: Tensor
    mask: FlatMask


class MPNetForward(FlatForward):
    """As `FlatForward`, with attention and bias exchanged on the instances for the time of a call."""

    @staticmethod
    def fits(backbone: object) -> bool:
        """Whether this is an MPNet; recomputed layers (gradient checkpointing) it does not have."""
        return type(backbone) is MPNetModel

    def backbone(self, flat: Features, layout: Layout, kwargs: Mapping[str, Any]) -> Features:
        """The module's own forward on flat features (1, T)."""
        with _exchanged(self.module.model, layout):
            # Of four dimensions, a mask is handed through as it is; flat attention has no use for it.
            empty = flat["input_ids"].new_zeros(1, 1, 1, 1)
            return own_forward(self.module, {**flat, "attention_mask": empty}, kwargs)


@contextmanager
def _exchanged(backbone: Any, layout: Layout) -> Iterator[None]:
    """Flat attention in every layer, and a bias that carries the layout, on the instances."""
    encoder, own = backbone.encoder, backbone.encoder.compute_position_bias
    attentions = [layer.attention.attn for layer in encoder.layer]
    mask = FlatMask(layout.runs, layout.longest, device=layout.index.device)

    def bias(hidden: Tensor, *_: Any, **__: Any) -> _Flat:
        return _Flat(own(hidden.new_empty(1, layout.longest, 0))[0], mask)

    encoder.compute_position_bias = bias
    for attention in attentions:
        attention.forward = _FlatAttention(attention)
    try:
        yield
    finally:
        for module, name in ((encoder, "compute_position_bias"), *((a, "forward") for a in attentions)):
            del vars(module)[name]


class _FlatAttention:
    """MPNet's self-attention with `attend` in the middle."""

    def __init__(self, own: MPNetSelfAttention) -> None:
        self.own = own

    def __call__(
        self, hidden: Tensor, _mask: Tensor | None = None, position_bias: _Flat | None = None, **_: Any
    ) -> tuple[Tensor]:
        """hidden (1, T, d) -> (1, T, d)."""
        own: Any = self.own
        assert position_bias is not None
        q, k, v = (_split(part(hidden), own.num_attention_heads) for part in (own.q, own.k, own.v))
        rate = own.dropout.p if own.training else 0.0
        made = attend(q, k, v, position_bias.mask, own.attention_head_size**-0.5, rate, position_bias.bias)
        done: Tensor = own.o(made.reshape(1, -1, own.all_head_size))
        return (done,)


def _split(part: Tensor, heads: int) -> Tensor:
    """(1, T, d) -> (T, heads, d / heads)."""
    return part.view(part.shape[1], heads, -1)
