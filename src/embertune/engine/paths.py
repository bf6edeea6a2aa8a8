"""The ways a model can run, fastest first, and how each is switched on and off on an instance."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling, WeightedLayerPooling

from embertune.engine.attention import NAME
from embertune.engine.buckets import BucketForward
from embertune.engine.dropout import quicken, slow_down
from embertune.engine.flat import FlatForward
from embertune.engine.mpnet import MPNetForward

PathName = Literal["packed", "buckets", "plain"]

#: Modules after the backbone that look at real tokens only.
_AFTER = (Pooling, Dense, Normalize, Dropout, LayerNorm, WeightedLayerPooling)
#: Where the attention that was there before is remembered, on the instance.
_BEFORE = "_embertune_attention"


@dataclass(frozen=True)
class Path:
    """One way to run. `fits` tells whether a model of a supported build can take it, `forward` is what stands in."""

    name: PathName
    means: str
    fits: Callable[[Any], bool]
    forward: type[FlatForward] | type[BucketForward]


def _has_interface(backbone: Any) -> bool:
    """Whether attention is a function that can be exchanged, and positions can be said."""
    return backbone._can_set_attn_implementation() and "position_ids" in inspect.signature(backbone.forward).parameters


PATHS: tuple[Path, ...] = (
    Path("packed", "no padding: texts laid end to end", _has_interface, FlatForward),
    Path("packed", "no padding: MPNet's attention written for flat texts", MPNetForward.fits, MPNetForward),
    Path("buckets", "little padding: a few batches of nearly equal length", lambda _: True, BucketForward),
)


def why_not(model: SentenceTransformer) -> str | None:
    """Why no path but the plain one is open to `model`; None where others are."""
    module = model[0]
    if type(module) is not Transformer:
        return f"its first module is {type(module).__name__}, not the host's Transformer"
    if module.backend != "torch" or module.module_output_name != "token_embeddings":
        return f"its backbone runs on {module.backend} and gives {module.module_output_name}"
    if other := next((part for part in list(model)[1:] if not isinstance(part, _AFTER)), None):
        return f"its module {type(other).__name__} looks at padding"
    if module.can_flatten_inputs:
        return "FlashAttention runs it without padding already"
    if sharded := [name for name in ("FSDP", "DEEPSPEED") if os.environ.get(f"ACCELERATE_USE_{name}") == "true"]:
        return f"it has not been tested without padding under {sharded[0]}"
    return None


def open_paths(model: SentenceTransformer) -> tuple[Path, ...]:
    """The paths that may be tried, fastest first."""
    return () if why_not(model) else tuple(path for path in PATHS if path.fits(model[0].model))


def attach(model: SentenceTransformer, path: Path) -> None:
    """Switch `path` on, in place."""
    detach(model)
    module: Any = model[0]
    if path.forward is FlatForward:
        setattr(module, _BEFORE, module.model.config._attn_implementation)
        module.model.set_attn_implementation(NAME)
    module.forward = path.forward(module)
    quicken(module)


def detach(model: SentenceTransformer) -> None:
    """Back to the plain path, in place."""
    module: Any = model[0]
    if (before := vars(module).pop(_BEFORE, None)) is not None:
        module.model.set_attn_implementation(before)
    if path_of(model) is not None:
        del module.forward
    slow_down(module)


def path_of(model: SentenceTransformer) -> Path | None:
    """The path that is switched on; None for the plain one."""
    forward = vars(model[0]).get("forward") if len(model) else None
    return next((path for path in PATHS if type(forward) is path.forward), None)
