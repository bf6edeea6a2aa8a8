"""The leaves `train.freeze` and `train.unfreeze`: which layers stay as they are, and when they are given back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from embertune.errors import Problem
from embertune.recipe.losses import LOSSES, LossName
from embertune.recipe.section import AS_TUPLE, Section, leaf
from embertune.recipe.units import parse_span

FREEZE, UNFREEZE = "train.freeze", "train.unfreeze"
#: The key of `train.layer_rates` for what the loss brings along.
LOSS = "loss"
_ALL_BUT = re.compile(r"all but (\d+)")
_LAYERS = "a number of layers, a share such as 0.5, or 'all but 1'"


def all_but(layers: int | float | str | None) -> int | None:
    """How many layers on top go on training, where it is said so; None where the frozen ones are counted."""
    match = _ALL_BUT.fullmatch(layers) if isinstance(layers, str) else None
    return int(match.group(1)) if match else None


def _counted(layers: int | float | str) -> int | float | str:
    if isinstance(layers, str) and all_but(layers) is None:
        raise ValueError("needs a number, a share, or 'all but' and a number")
    return layers


def _ramp(text: str) -> str:
    if parse_span(text).unit == "evaluations":
        raise ValueError("counts in steps or epochs")
    return text


def _moment(text: str) -> str:
    return text if text == "plateau" else _ramp(text)


Layers = Annotated[
    Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)] | str,
    AfterValidator(_counted),
]
Patterns = Annotated[tuple[str, ...], AS_TUPLE]


class FreezeSection(Section):
    """What is not trained: layers counted from below, the embeddings, parameters by their names."""

    layers: Layers | None = leaf(None, "the lowest layers; 0 are the embeddings alone", f"null, {_LAYERS}")
    embeddings: bool | None = leaf(None, "the embeddings as well; null where layers are frozen", "true, false or null")
    patterns: Patterns = leaf(
        (),
        "parameters whose names, as in model.named_parameters(), fit one of these, for the whole run",
        "a list such as ['*.LayerNorm.*']",
    )

    @property
    def with_embeddings(self) -> bool:
        """Whether the embeddings are frozen."""
        return self.layers is not None if self.embeddings is None else self.embeddings


class ThawSection(Section):
    """How frozen layers are given back to training, from the top of them (Howard & Ruder 2018, section 3.3)."""

    every: Annotated[str, AfterValidator(_moment)] = leaf(
        "1 epoch",
        "how long it takes to the next thaw; plateau: until dev no longer improves",
        "'1 epoch', '200 steps' or plateau",
    )
    layers: Annotated[int, Field(ge=1)] = leaf(1, "so many layers at a time", "a whole number of at least 1")
    until: Annotated[int, Field(ge=0)] = leaf(
        0, "so many of the lowest layers stay frozen", "a whole number below the frozen layers"
    )
    embeddings: bool = leaf(False, "thaw the embeddings too, after the last layer", "true or false")
    warmup: Annotated[str, AfterValidator(_ramp)] = leaf(
        "0.1 epoch", "over which the rate of what was thawed rises from 0", "'20 steps' or '0.1 epoch'"
    )
    patience: Annotated[int, Field(ge=1)] | None = leaf(
        None,
        "with every: plateau, the evaluations without a gain after which layers are thawed; null is 2",
        "null or a whole number of at least 1",
    )

    @property
    def stall(self) -> int | None:
        """The evaluations without a gain after which layers are thawed; None where steps decide."""
        return (self.patience or 2) if self.every == "plateau" else None


def _shorthand(key: str, kinds: tuple[type, ...]) -> BeforeValidator:
    """A bare value other than auto stands for the mapping that has it at `key`."""

    def spelled(value: Any) -> Any:
        bare = isinstance(value, kinds) and not isinstance(value, bool) and value != "auto"
        return {key: value} if bare else value

    return BeforeValidator(spelled)


Freeze = Annotated[Literal["auto"] | FreezeSection | None, _shorthand("layers", (int, float, str))]
Unfreeze = Annotated[ThawSection | None, _shorthand("every", (str,))]


def problems_of_freezing(freeze: Freeze, thaw: ThawSection | None, dev: bool) -> Iterator[Problem]:
    """What cannot be in the two together, known before a model is there; `dev` where dev rows may come."""
    if freeze == "auto":
        if thaw is not None:
            yield Problem(FREEZE, f"found auto next to {UNFREEZE}, and auto may freeze nothing", f"write {_LAYERS}")
        return
    if freeze is not None and freeze.layers is None and not freeze.embeddings and not freeze.patterns:
        yield Problem(FREEZE, "names nothing to freeze", f"write {_LAYERS}, or null")
    if thaw is None:
        return
    if freeze is None or not freeze.layers:
        found = "found null" if freeze is None else "found no layers"
        yield Problem(FREEZE, f"{found} next to {UNFREEZE}, which thaws layers", f"write {_LAYERS}, or leave it out")
        return
    yield from _of_thaw(freeze, thaw, dev)


def problems_of_rates(rates: Mapping[str, float] | None, loss: Literal["auto"] | LossName) -> Iterator[Problem]:
    """A rate for weights that the named loss does not have."""
    if rates and LOSS in rates and loss != "auto" and not LOSSES[loss].fixed_length:
        found = f"found a rate, and {loss} has no weights of its own"
        yield Problem(f"train.layer_rates.{LOSS}", found, "leave it out")


def _of_thaw(freeze: FreezeSection, thaw: ThawSection, dev: bool) -> Iterator[Problem]:
    if type(freeze.layers) is int and thaw.until >= freeze.layers:
        found = f"found {thaw.until}, and {freeze.layers} layers are frozen: none would be thawed"
        yield Problem(f"{UNFREEZE}.until", found, f"write less than {freeze.layers}, or leave {UNFREEZE} out")
    if thaw.embeddings and not freeze.with_embeddings:
        yield Problem(f"{UNFREEZE}.embeddings", "found true, and they are not frozen", "leave it out")
    if thaw.embeddings and thaw.until:
        found = f"found true next to until: {thaw.until}; embeddings come after the last layer"
        yield Problem(f"{UNFREEZE}.embeddings", found, "leave one of them out")
    if thaw.every == "plateau" and not dev:
        yield Problem(f"{UNFREEZE}.every", "found plateau without dev rows", "give data.dev, or write '1 epoch'")
    if thaw.patience is not None and thaw.every != "plateau":
        found = f"has no effect with every: {thaw.every}"
        yield Problem(f"{UNFREEZE}.patience", found, "leave it out, or write every: plateau")
