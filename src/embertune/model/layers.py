"""The layers of a model from the texts upward, each parameter once: what can be frozen or given a rate of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import PreTrainedConfig

Kind = Literal["embeddings", "block", "backbone", "top", "head"]

#: Where families keep the number of their blocks. ALBERT's `num_hidden_groups` are the blocks that really exist.
DEPTHS = ("num_hidden_groups", "num_hidden_layers", "n_layers", "num_layers", "n_layer")
#: Parts of a backbone outside its blocks that the first block or all of them read: they belong to the bottom.
_BOTTOM = ("emb", "rel_", "relative", "wte", "wpe", "shared", "encoder.LayerNorm", "encoder.conv")


@dataclass(frozen=True)
class Layer:
    """One row of the table. `parameters` are names as in `model.named_parameters()`.

    Kinds from below: `embeddings` (with all that every block reads, as relative positions), `block`, `top` (what of the
    backbone comes after the blocks: final norm, pooler), `head` (modules after the backbone); `backbone` stands for a
    whole one without blocks. `path` is the dotted name of the module, "" where the row collects several. `repeated` is
    how often a forward pass runs through it.
    """

    name: str
    kind: Kind
    path: str
    parameters: tuple[str, ...]
    count: int
    repeated: int = 1


@dataclass(frozen=True)
class LayerTable:
    """All layers from the bottom up; every parameter of the model is in exactly one of them."""

    layers: tuple[Layer, ...]

    @property
    def blocks(self) -> tuple[Layer, ...]:
        """The transformer blocks, lowest first; empty where the family has none that can be told apart."""
        return tuple(layer for layer in self.layers if layer.kind == "block")

    @property
    def count(self) -> int:
        """The number of parameters of the model."""
        return sum(layer.count for layer in self.layers)


def find_layers(model: SentenceTransformer) -> LayerTable:
    """The layers of any Sentence Transformer; a backbone without recognisable blocks is one row."""
    left = dict(model.named_parameters())
    children = [name for name, _ in model.named_children()]
    backbone = _path_of(model, model.transformers_model) or next(iter(children), "")
    paths, repeated = _blocks(model.transformers_model, backbone)
    inside = _under(backbone)
    if paths:
        middle = [_claim(left, f"block {i}", "block", path, repeated) for i, path in enumerate(paths)]
        bottom = _claim(left, "embeddings", "embeddings", "", belongs=lambda name: _is_bottom(name, backbone + "."))
        top = _claim(left, "top of the backbone", "top", "", belongs=inside)
        rows = [bottom, *middle, top]
    else:
        rows = [_claim(left, "backbone", "backbone", backbone)]
    rows += [_claim(left, f"{name} {type(model.get_submodule(name)).__name__}", "head", name) for name in children]
    return LayerTable(tuple(row for row in rows if row.parameters))


def _is_bottom(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and any(mark in name.removeprefix(prefix) for mark in _BOTTOM)


def _under(path: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(path + ".")


def _claim(
    left: dict[str, nn.Parameter],
    name: str,
    kind: Kind,
    path: str,
    repeated: int = 1,
    *,
    belongs: Callable[[str], bool] | None = None,
) -> Layer:
    """Take out of `left` what belongs to a row (what lies under `path`, unless told otherwise) and make the row."""
    belongs = belongs or _under(path)
    taken = {key: left.pop(key) for key in list(left) if belongs(key)}
    count = sum(parameter.numel() for parameter in taken.values())
    return Layer(name, kind, path, tuple(taken), count, repeated)


def _path_of(model: nn.Module, wanted: nn.Module | None) -> str:
    return next((name for name, module in model.named_modules() if module is wanted and name), "")


def _blocks(backbone: nn.Module | None, prefix: str) -> tuple[list[str], int]:
    """The dotted names of the blocks and how often each is run: the outermost list as long as the backbone is deep."""
    if backbone is None:
        return [], 1
    config = getattr(backbone, "config", None)
    config = config.get_text_config() if isinstance(config, PreTrainedConfig) else config
    depths = [getattr(config, name) for name in DEPTHS if isinstance(getattr(config, name, None), int)]
    if not depths:
        return [], 1
    for name, module in backbone.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depths[0]:
            return [f"{prefix}.{name}.{i}" for i in range(depths[0])], _repeated(config, depths[0])
    return [], 1


def _repeated(config: object, blocks: int) -> int:
    shared = hasattr(config, "num_hidden_groups")
    return int(getattr(config, "num_hidden_layers", blocks)) // blocks if shared else 1
