"""A backbone with fewer blocks: some are taken out of it in place, its configuration follows; both can come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import WeightedLayerPooling
from torch import nn

from embertune.errors import ModelError
from embertune.model.layers import DEPTHS, find_layers
from embertune.recipe.smaller import LAYERS, Choice


def kept_blocks(depth: int, keep: int, choose: Choice) -> tuple[int, ...]:
    """Which of `depth` blocks stay, counted from below.

    Evenly spread ones have the first and the last among them. Of an encoder that gives good vectors as it comes they
    keep far more than the first ones (docs/lab.md); of a bare one, whose last blocks are about its pre-training, the
    first ones cost least in most of the tasks of Sajjad et al. 2023, arXiv:2004.03844, section 4.
    """
    if choose == "first" or keep == 1:
        return tuple(range(keep))
    return tuple(round(place * (depth - 1) / (keep - 1)) for place in range(keep))


@dataclass(frozen=True)
class Cut:
    """Blocks that can be taken out of a backbone and put back, in place; parameters stay the same objects.

    `settings` are those of the configuration that hang on the number of blocks: with all of them, and without.
    """

    place: nn.ModuleList
    config: Any
    blocks: tuple[nn.Module, ...]
    kept: tuple[int, ...]
    settings: tuple[Mapping[str, Any], Mapping[str, Any]]

    def take_out(self) -> None:
        """Only the kept blocks are left."""
        self._arrange([self.blocks[number] for number in self.kept], self.settings[1])

    def put_back(self) -> None:
        """The backbone is as it was."""
        self._arrange(self.blocks, self.settings[0])

    def _arrange(self, blocks: Sequence[nn.Module], settings: Mapping[str, Any]) -> None:
        del self.place[:]
        self.place.extend(blocks)
        for number, block in enumerate(blocks):
            for module in block.modules():
                if isinstance(vars(module).get("layer_idx"), int):
                    module.layer_idx = number  # type: ignore[assignment]  # not a parameter, whatever torch's stub says
        for name, value in settings.items():
            setattr(self.config, name, value)


def make_cut(model: SentenceTransformer, keep: int, choose: Choice) -> Cut:
    """How `model` comes to have `keep` blocks; nothing is changed yet. Raises ModelError where that cannot be."""
    blocks = find_layers(model).blocks
    if not blocks:
        raise ModelError(LAYERS, "the model has no blocks that could be told apart", "write model.layers: null")
    if blocks[0].repeated > 1:
        found = f"the model runs through {len(blocks)} block{'s' * (len(blocks) > 1)} {blocks[0].repeated} times"
        raise ModelError(LAYERS, f"{found}, so that none can be left out", "write model.layers: null")
    if keep >= len(blocks):
        found = f"found {keep}, and the model has {len(blocks)} blocks"
        raise ModelError(LAYERS, found, f"write at most {len(blocks) - 1}" if len(blocks) > 1 else "write null")
    if any(isinstance(module, WeightedLayerPooling) for module in model):
        raise ModelError(LAYERS, "the model's pooling has a weight for each block", "write model.layers: null")
    place = model.get_submodule(blocks[0].path.rpartition(".")[0])
    assert isinstance(place, nn.ModuleList)
    kept = kept_blocks(len(blocks), keep, choose)
    config = model.transformers_model.config.get_text_config()
    return Cut(place, config, tuple(place), kept, _settings(config, len(blocks), kept))


def _settings(config: Any, depth: int, kept: Sequence[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the configuration says of the number of blocks and of each of them, before and after."""
    there = config.to_dict()
    listed = {n: v for n, v in there.items() if "layer" in n and isinstance(v, list | tuple) and len(v) == depth}
    counted = {name: depth for name in DEPTHS if getattr(config, name, None) == depth}
    before = {name: getattr(config, name) for name in (*counted, *listed)}
    after = {name: len(kept) for name in counted} | {n: [v[place] for place in kept] for n, v in listed.items()}
    return before, after
