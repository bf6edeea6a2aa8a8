"""The leaf `train.optimizer`: what a recipe must know of each optimizer before torch is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from embertune.errors import Problem
from embertune.recipe.options import Option, filled, problems_of_options
from embertune.recipe.section import AS_TUPLE, Section, leaf

OptimizerName = Literal["adamw", "adam", "sgd", "rmsprop"]
WHERE = "train.optimizer_options"


@dataclass(frozen=True)
class OptimizerRow:
    """An optimizer as the recipe sees it.

    `decoupled` tells that weight decay is taken off the weights by itself; otherwise it is added to the gradient, and
    an optimizer that divides by the size of gradients divides it too. `published` tells that `auto` knows a rate,
    `tried` from where to where a range test goes. `kept` is how many numbers are kept for each weight, at most.
    """

    means: str
    options: Mapping[str, Option]
    source: str
    decoupled: bool = False
    published: bool = True
    tried: tuple[float, float] = (1e-7, 1e-2)
    kept: int = 2


_BETAS = Option((0.9, 0.999), "how slowly the averages of gradients and of their squares forget")
_EPSILON = Option(1e-8, "added to what is divided by", usual=(1e-10, 1e-4))
_ADAM: dict[str, Option] = {"betas": _BETAS, "epsilon": _EPSILON}

OPTIMIZERS: dict[OptimizerName, OptimizerRow] = {
    "adamw": OptimizerRow(
        means="Adam with weight decay apart from the gradient",
        options=_ADAM,
        source="Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2",
        decoupled=True,
    ),
    "adam": OptimizerRow(
        means="steps of about the rate's size for every weight",
        options=_ADAM,
        source="Kingma & Ba 2015, arXiv:1412.6980, algorithm 1",
    ),
    "sgd": OptimizerRow(
        means="steps along the gradient, with momentum; wants far higher rates than the others",
        options={
            "momentum": Option(0.9, "the share of the last step that goes on in the next", usual=(0.5, 0.99)),
            "nesterov": Option(False, "look ahead along the momentum"),
        },
        source="Sutskever et al. 2013, On the importance of initialization and momentum in deep learning, section 2",
        published=False,
        tried=(1e-4, 10.0),
        kept=1,
    ),
    "rmsprop": OptimizerRow(
        means="gradients divided by the root of the average of their squares",
        options={
            "alpha": Option(0.99, "how slowly the average of squares forgets", usual=(0.9, 0.999)),
            "epsilon": _EPSILON,
            "momentum": Option(0.0, "the share of the last step that goes on in the next", usual=(0.0, 0.99)),
        },
        source="Hinton 2012, Neural Networks for Machine Learning, lecture 6e",
    ),
}
assert set(OPTIMIZERS) == set(get_args(OptimizerName))

Share = Annotated[float, Field(ge=0, lt=1)]
Pair = Annotated[tuple[Share, Share], AS_TUPLE]


class OptimizerOptions(Section):
    """Settings of the optimizer; each takes only its own."""

    betas: Pair | None = leaf(
        None, "how slowly the averages of gradients and of their squares forget", "two numbers from 0 to below 1"
    )
    epsilon: Annotated[float, Field(gt=0)] | None = leaf(None, "added to what is divided by", "a number above 0")
    momentum: Share | None = leaf(
        None, "the share of the last step that goes on in the next", "a number from 0 to below 1"
    )
    nesterov: bool | None = leaf(None, "look ahead along the momentum", "true or false")
    alpha: Share | None = leaf(None, "how slowly the average of squares forgets", "a number from 0 to below 1")


def problems_of_optimizer(name: OptimizerName, given: OptimizerOptions | None, rate: object) -> Iterator[Problem]:
    """Options without effect, and a rate that nobody has published."""
    row = OPTIMIZERS[name]
    yield from problems_of_options(WHERE, name, row.options, given)
    if given is not None and given.nesterov and given.momentum == 0 and name == "sgd":
        yield Problem(f"{WHERE}.nesterov", "has no effect without momentum", "leave it out, or give momentum")
    if rate == "auto" and not row.published:
        found = f"found auto, and no rate is published for {name} on such models"
        yield Problem("train.learning_rate", found, "write a number; `embertune init DATA --find-rate` proposes one")


def optimizer_options(name: OptimizerName, given: OptimizerOptions | None) -> dict[str, Any]:
    """All options of the optimizer, the table's defaults filled in."""
    return filled(OPTIMIZERS[name].options, given)


def reasons_of_decay(name: OptimizerName, decay: float) -> dict[str, str]:
    """What weight decay means to an optimizer that does not keep it apart, as a comment in the resolved recipe."""
    if OPTIMIZERS[name].decoupled or not decay:
        return {}
    return {"train.weight_decay": f"{name} adds it to the gradient; adamw takes it off the weights (arXiv:1711.05101)"}
