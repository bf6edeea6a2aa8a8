"""The rates of dropout of a backbone, by kind; each family keeps them elsewhere.

Where a rate is read is found by building the backbone's class once more, without weights, from a configuration whose
rates are all different: every module and every number that carries one of them is a place. So layers whose dropout is
left out at a rate of zero are found as well. Nothing is saved: a configuration on disk keeps the rates it came with.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.errors import ModelError
from embertune.model.layers import find_layers
from embertune.model.quiet import quiet
from embertune.recipe.smaller import DropoutKind

WHERE = "model.dropout"
KINDS: tuple[DropoutKind, ...] = get_args(DropoutKind)

#: What a class that cannot be built without weights may raise.
_BUILDING = (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, KeyError)


@dataclass(frozen=True)
class _Place:
    """Where a rate stands: a dropout module at `path`, or the number `name` of the module at `path`."""

    kind: DropoutKind
    path: str
    name: str = ""

    def get(self, backbone: nn.Module) -> float:
        """The rate; zero where a layer of dropout is left out."""
        module = backbone.get_submodule(self.path)
        return float(getattr(module, self.name) if self.name else getattr(module, "p", 0.0))

    def set(self, backbone: nn.Module, rate: float) -> None:
        """Change the rate, in place."""
        module = backbone.get_submodule(self.path)
        if self.name:
            setattr(module, self.name, rate)
        elif isinstance(module, nn.Dropout):
            module.p = rate
        elif rate:
            parent, _, own = self.path.rpartition(".")
            setattr(backbone.get_submodule(parent), own, nn.Dropout(rate).train(module.training))


def dropout_of(model: SentenceTransformer) -> dict[DropoutKind, float]:
    """The highest rate of each kind that the backbone has; empty without any."""
    backbone = model.transformers_model
    found: dict[DropoutKind, float] = {}
    for place in _places(model):
        found[place.kind] = max(found.get(place.kind, 0.0), place.get(backbone))
    return {kind: found[kind] for kind in KINDS if kind in found}


def set_dropout(model: SentenceTransformer, rates: float | Mapping[DropoutKind, float] | None) -> None:
    """Set the rates in place, all kinds that there are to a bare number; to be done before the model is packed.

    None is for a model without dropout. Raises ModelError for a kind that the backbone does not have.
    """
    places = list(_places(model))
    there = [kind for kind in KINDS if any(place.kind == kind for place in places)]
    if rates is None or not there:
        if there:
            raise ModelError(WHERE, f"found null, and the model has {_and(there)} dropout", "write a number, or auto")
        if rates is not None:
            raise ModelError(WHERE, "the model has no dropout whose rate could be set", "write auto")
        return
    if not isinstance(rates, Mapping):
        rates = dict.fromkeys(there, rates)
    if missing := [kind for kind in rates if kind not in there]:
        raise ModelError(
            f"{WHERE}.{missing[0]}", f"the model has no such dropout, but {_and(there)}", f"write {' or '.join(there)}"
        )
    for place in places:
        if place.kind in rates:
            place.set(model.transformers_model, float(rates[place.kind]))


def _and(kinds: list[DropoutKind]) -> str:
    return " and ".join(kinds)


def _places(model: SentenceTransformer) -> Iterator[_Place]:
    """All places of the backbone, each once."""
    backbone = model.transformers_model
    config = getattr(backbone, "config", None)
    rates = _rates_of(config) if config is not None else {}
    probe = _built(backbone, rates) if rates else None
    if probe is None:
        return
    names = {rate: name for name, rate in rates.items()}
    blocks = tuple(_within(model, block.path) + "." for block in find_layers(model).blocks)
    there = dict(backbone.named_modules())
    for path, module in probe.named_modules():
        if path not in there:
            continue
        if isinstance(module, nn.Dropout) and module.p in names:
            yield _Place(_kind(path, names[module.p], blocks), path)
        for name, value in vars(module).items():
            if isinstance(value, float) and value in names and not isinstance(module, nn.Dropout):
                yield _Place("attention", path, name)


def _within(model: SentenceTransformer, path: str) -> str:
    """A dotted name in the model as one in its backbone."""
    outer = next(name for name, module in model.named_modules() if module is model.transformers_model)
    return path.removeprefix(outer + ".")


def _kind(path: str, name: str, blocks: tuple[str, ...]) -> DropoutKind:
    """What a module sets to zero, by where it stands and by the setting that gives its rate."""
    if blocks and not path.startswith(blocks):
        return "embedding"
    return "attention" if "att" in name else "hidden"


def _rates_of(config: Any) -> dict[str, float]:
    """A rate of its own for every setting of dropout, by its name; odd ones, which no other number of a model has."""
    settings = [
        name
        for name, value in config.to_dict().items()
        if "dropout" in name and isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return {name: (place + 0.271828) / len(settings) for place, name in enumerate(sorted(settings))}


def _built(backbone: nn.Module, rates: Mapping[str, float]) -> nn.Module | None:
    """The backbone's class once more with these rates, without weights; None where it cannot be built so."""
    config = copy.deepcopy(backbone.config)
    for name, rate in rates.items():
        setattr(config, name, rate)
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                made: nn.Module = type(backbone)(config)
        except _BUILDING:
            return None
    return made
