"""Length buckets: a backbone that cannot run flat runs on a few trimmed batches of texts of nearly equal length."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sentence_transformers.base.modules import Transformer
from torch import Tensor

from embertune.engine.flat import MADE, OF_TOKENS, Features, counts_from, is_padded_text, own_forward
from embertune.engine.layout import extents

#: What one more pass of the backbone costs, in tokens: below this it does not pay to split.
_PASS = 256


class BucketForward:
    """Stands in for `forward` on one instance of the host's `Transformer`."""

    def __init__(self, module: Transformer) -> None:
        self.module = module
        self.counts_tokens = counts_from(module.model) is not None
        self.takes_positions = "position_ids" in inspect.signature(module.model.forward).parameters

    def __call__(self, features: Features, **kwargs: Any) -> Features:
        """The features with padded `token_embeddings` (rows, width, d), as the module's own forward gives them."""
        if not is_padded_text(features) or not features["attention_mask"].numel():
            return own_forward(self.module, features, kwargs)
        width = features["attention_mask"].shape[1]
        lengths, left = self._lengths(features["attention_mask"])
        order = torch.argsort(lengths, stable=True)
        parts = _slices(order, split(lengths[order].tolist()))
        done = [self._part(features, rows, max(length, 1), left, kwargs) for rows, length in parts]
        back = torch.argsort(order)
        for name in ("token_embeddings", "all_layer_embeddings"):
            if name in done[0]:
                features[name] = _joined([part[name] for part in done], width, left, back)
        return features

    def _lengths(self, mask: Tensor) -> tuple[Tensor, bool]:
        """How much of every row must stay, (rows,), and whether that is its right end.

        Rows are trimmed on the left only where all of them end at the border and their positions can be kept.
        """
        first, end = extents(mask)
        empty = ~mask.ne(0).any(1)
        left = bool((first > 0).any()) and bool((empty | (end == mask.shape[1])).all())
        if left and (self.counts_tokens or self.takes_positions):
            return (mask.shape[1] - first).masked_fill(empty, 0), True
        return end.masked_fill(empty, 0), False

    def _part(self, features: Features, rows: Tensor, width: int, left: bool, kwargs: Mapping[str, Any]) -> Features:
        part = {name: value for name, value in features.items() if name not in MADE}
        whole = features["attention_mask"].shape[1]
        for name in OF_TOKENS:
            if name in part:
                chosen = part[name].index_select(0, rows)
                part[name] = chosen[:, -width:] if left else chosen[:, :width]
        if left and not self.counts_tokens:
            places = torch.arange(whole - width, whole, device=rows.device)
            part["position_ids"] = places.expand(len(rows), width)
        return own_forward(self.module, part, kwargs)


def _slices(order: Tensor, cuts: Sequence[tuple[int, int]]) -> list[tuple[Tensor, int]]:
    start, made = 0, []
    for end, width in cuts:
        made.append((order[start:end], width))
        start = end
    return made


def _joined(parts: Sequence[Any], width: int, left: bool, back: Tensor) -> Any:
    """Parts (rows, own width, d) as one (all rows, width, d) in the first order; tuples layer by layer."""
    if isinstance(parts[0], tuple):
        return tuple(_joined(layer, width, left, back) for layer in zip(*parts, strict=True))
    padded = []
    for part in parts:
        gap = width - part.shape[1]
        padded.append(torch.nn.functional.pad(part, (0, 0, gap, 0) if left else (0, 0, 0, gap)))
    return torch.cat(padded).index_select(0, back)


def split(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Where to cut sorted `lengths`, as (end, width) of each bucket: the fewest tokens, real and padded, plus `_PASS`
    a bucket. Dynamic programming over the distinct lengths: at most a few hundred.
    """
    ends = [i + 1 for i in range(len(lengths)) if i + 1 == len(lengths) or lengths[i + 1] != lengths[i]]
    best: list[tuple[float, int]] = [(0.0, -1)]
    bounds = [0, *ends]
    for j in range(1, len(bounds)):
        width = lengths[bounds[j] - 1]
        costs = ((best[i][0] + (bounds[j] - bounds[i]) * width + _PASS, i) for i in range(j))
        best.append(min(costs))
    cuts, j = [], len(bounds) - 1
    while j > 0:
        cuts.append((bounds[j], lengths[bounds[j] - 1]))
        j = best[j][1]
    return cuts[::-1]
