"""What rules out the leaf `train.prefix_cache` before a model is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from embertune.errors import Problem
from embertune.recipe.freezing import FREEZE, FreezeSection

WHERE = "train.prefix_cache"

#: Arguments of the trainer that compute activations anew, wrap the model, or cut it up.
NOT_WITH = (
    "gradient_checkpointing", "activation_checkpointing", "fsdp", "deepspeed", "parallelism_config", "torch_compile",
)  # fmt: skip


def problems_of_prefix(
    cache: str | None, freeze: FreezeSection | Literal["auto"] | None, extra: Mapping[str, Any]
) -> Iterator[Problem]:
    """What a cache that is written into a recipe cannot stand beside."""
    if cache in (None, "auto"):
        return
    if freeze != "auto" and (freeze is None or freeze.layers in (None, 0) or not freeze.with_embeddings):
        found = "and embeddings and layers are not frozen together" if freeze else f"and {FREEZE} is null"
        yield Problem(WHERE, f"found {cache}, {found}", f"freeze the embeddings and layers in {FREEZE}, or write auto")
    for name in (name for name in NOT_WITH if extra.get(name)):
        yield Problem(WHERE, f"found {cache} next to train.extra.{name}", "write null, or leave the other out")
