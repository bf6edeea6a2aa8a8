"""The forward pass of a backbone on flat tokens, and columns of a batch merged into one such pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn

from embertune.engine.attention import within
from embertune.engine.layout import Layout, lay_out

#: Features that have one value for each token, by the names of the host's tokenizers.
OF_TOKENS = ("input_ids", "attention_mask", "token_type_ids")
#: What an earlier pass leaves among the features; a loss may give the same ones to a model again.
MADE = ("token_embeddings", "all_layer_embeddings", "sentence_embedding")
#: Features that are about the batch and mean the same for flat tokens.
_OF_BATCH = ("modality", "prompt_length", "return_dict", "task")
#: Those of them that the backbone may ask about.
_KIND = ("modality", "task")
#: Leads from a column's `input_ids` tensor to the batch it was merged into.
_MARK = "_embertune_merged"

Features = dict[str, Any]
#: Runs a backbone on flat features (1, T) as `FlatForward.backbone` does, its lower blocks' states from elsewhere.
Prefix = Callable[[Features, Layout, Mapping[str, Any]], Features]


class FlatForward:
    """Stands in for `forward` on one instance of the host's `Transformer` and runs its backbone on flat tokens."""

    def __init__(self, module: Transformer) -> None:
        self.module = module
        self.prefix: Prefix | None = None
        self._padding = counts_from(module.model)

    def __call__(self, features: Features, **kwargs: Any) -> Features:
        """The features with padded `token_embeddings` (rows, width, d), as the module's own forward gives them."""
        merged: _Merged | None = getattr(features.get("input_ids"), _MARK, None)
        if merged is not None and (done := merged.of(features, self, kwargs)) is not None:
            return done
        layout = lay_out([features["attention_mask"]]) if is_padded_text(features) else None
        if layout is None:
            return own_forward(self.module, features, kwargs)
        return self.run([features], layout, kwargs)[0]

    def run(self, columns: Sequence[Features], layout: Layout, kwargs: Mapping[str, Any]) -> list[Features]:
        """All columns in one pass of the backbone; each comes back with its own part."""
        flat = self.flat(columns, layout)
        done = self.backbone(flat, layout, kwargs) if self.prefix is None else self.prefix(flat, layout, kwargs)
        tokens = layout.unlay(done["token_embeddings"])
        states = [layout.unlay(state) for state in done.get("all_layer_embeddings", ())]
        for index, column in enumerate(columns):
            column["token_embeddings"] = tokens[index]
            if states:
                column["all_layer_embeddings"] = tuple(state[index] for state in states)
        return list(columns)

    def flat(self, columns: Sequence[Features], layout: Layout) -> Features:
        """The features of all columns as flat ones, (1, T) each."""
        flat = {key: value for key, value in columns[0].items() if key not in (*OF_TOKENS, *MADE)}
        for name in OF_TOKENS:
            if name in columns[0]:
                flat[name] = layout.lay([column[name] for column in columns])
        flat["position_ids"] = layout.lay([self._positions(column["input_ids"]) for column in columns])
        return flat

    def backbone(self, flat: Features, layout: Layout, kwargs: Mapping[str, Any]) -> Features:
        """The module's own forward on flat features (1, T)."""
        with within(layout):
            return own_forward(self.module, flat, kwargs)

    @property
    def first_position(self) -> int:
        """The position of the first token of a row that is not padded on the left."""
        return 0 if self._padding is None else self._padding + 1

    def _positions(self, ids: Tensor) -> Tensor:
        """The position of every token in its padded row (rows, width), as the family counts."""
        if self._padding is None:
            return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        real = ids.ne(self._padding).long()
        return real.cumsum(1) * real + self._padding


def counts_from(backbone: nn.Module) -> int | None:
    """The padding id behind which RoBERTa's kin count positions; None for families that count from zero."""
    for module in backbone.modules():
        padding = getattr(module, "padding_idx", None)
        if isinstance(padding, int) and isinstance(getattr(module, "position_embeddings", None), nn.Embedding):
            return padding
    return None


def own_forward(module: Transformer, features: Features, kwargs: Mapping[str, Any]) -> Features:
    done: Features = type(module).forward(module, features, **kwargs)
    return done


def is_padded_text(features: Features) -> bool:
    """Whether these are the host's ordinary features of padded texts, and at most what a pass made of them."""
    ids, mask = features.get("input_ids"), features.get("attention_mask")
    plain = isinstance(ids, Tensor) and isinstance(mask, Tensor) and ids.ndim == 2 and ids.shape == mask.shape
    return plain and not set(features) - {*OF_TOKENS, *_OF_BATCH, *MADE}


class _Merged:
    """Columns of one batch that share a pass of the backbone: the first one asked for runs it for all.

    A pass belongs to one model in one state (with or without gradients, dropout, autocast); others run their own.
    """

    def __init__(self, columns: Sequence[Features]) -> None:
        self.columns = [dict(column) for column in columns]
        self.made: dict[tuple[Any, ...], list[Features | None]] = {}

    def of(self, features: Features, forward: FlatForward, kwargs: Mapping[str, Any]) -> Features | None:
        """The column's features with its part of the result; None where it must be computed for itself."""
        same = (all(features.get(n) is column.get(n) for n in OF_TOKENS) for column in self.columns)
        place = next((i for i, found in enumerate(same) if found), None)
        if place is None or kwargs:
            return None
        state = (forward, *_state(forward.module))
        if state not in self.made:
            layout = lay_out([column["attention_mask"] for column in self.columns])
            if layout is None:
                return None
            self.made[state] = [*forward.run([dict(column) for column in self.columns], layout, kwargs)]
        own, self.made[state][place] = self.made[state][place], None  # a second call computes anew: dropout is drawn
        if own is None:
            return None
        features.update({name: own[name] for name in MADE if name in own})
        return features


def _state(module: Transformer) -> tuple[Any, ...]:
    """All that decides what a pass gives for the same features."""
    device = next(module.parameters()).device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    hidden = module.model.config.output_hidden_states
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), module.training, autocast, hidden


def merges(model: SentenceTransformer) -> bool:
    """Whether `model` runs on flat tokens, so that merging columns saves passes."""
    return isinstance(vars(model[0]).get("forward"), FlatForward)


def merge(columns: Sequence[Features]) -> None:
    """Mark the columns of a batch, so that a packed model runs its backbone once for all of them.

    The mark sits on the `input_ids` tensors: a column that is copied, moved or sliced on the way is computed alone.
    Columns whose features differ in kind or task are not merged; prompts, about which only pooling asks, may differ.
    """
    same = len({(*sorted({*column} - {"prompt_length"}), *map(str, map(column.get, _KIND))) for column in columns}) == 1
    if len(columns) > 1 and same and all(is_padded_text(column) for column in columns):
        merged = _Merged(columns)
        for column in columns:
            setattr(column["input_ids"], _MARK, merged)
