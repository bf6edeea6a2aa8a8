"""The regime: the settings of a phase that may change while a run goes on, and putting them into force."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from embertune.model.dropout import dropout_of, set_dropout
from embertune.recipe import Recipe
from embertune.recipe.load import replace as with_leaves
from embertune.recipe.smaller import DropoutKind


@dataclass(frozen=True)
class Regime:
    """What holds in a phase beside its layers. All of it can be kept as JSON.

    `rate` is a factor of every rate, `dropout` the rate of each kind that the model has, `weight_decay` that of what
    decays at all. `frozen_blocks` from below are not trained, with the embeddings, whatever the recipe says (0: as it
    says). `augmented` is the share of words changed in the copies that joined the rows (0: none did), `batch` the rows
    in a batch. Passes over the rows are counted from batch `origin`, with which those of such rows or batches begin.
    """

    batch: int
    weight_decay: float
    rate: float = 1.0
    dropout: Mapping[DropoutKind, float] = field(default_factory=dict)
    frozen_blocks: int = 0
    augmented: float = 0.0
    origin: int = 0

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with the batches of this regime."""
        return recipe if self.batch == recipe.train.batch_size else with_leaves(recipe, {_BATCH: self.batch})

    def record(self) -> dict[str, Any]:
        """Ready for JSON; `Regime(**record)` is the same regime."""
        return dataclasses.asdict(self)


_BATCH = "train.batch_size"


def first_regime(model: SentenceTransformer, recipe: Recipe) -> Regime:
    """What holds when training begins: the model as it is built, and the recipe."""
    batch = recipe.train.batch_size
    assert isinstance(batch, int)
    return Regime(batch, recipe.train.weight_decay, dropout=dropout_of(model))


def enter(model: SentenceTransformer, optimizer: torch.optim.Optimizer, before: Regime, after: Regime) -> None:
    """Put dropout and weight decay into force, in place; nothing is touched that does not differ."""
    changed = {kind: rate for kind, rate in after.dropout.items() if rate != before.dropout.get(kind)}
    if changed:
        set_dropout(model, changed)
    if after.weight_decay != before.weight_decay:
        for group in optimizer.param_groups:
            group["weight_decay"] = after.weight_decay if group["weight_decay"] else 0.0
