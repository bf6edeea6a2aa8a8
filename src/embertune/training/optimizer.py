"""The parameter groups of a run, and the optimizer over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from embertune.recipe.optimizers import OptimizerName
from embertune.training.rates import Row


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a decay; `row` is that of the table of layers to which they belong."""

    row: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float
    weight_decay: float


def groups(known: Mapping[str, nn.Parameter], rows: Iterable[Row], decay: float) -> list[Group]:
    """Each row with and without decay: vectors (norms, biases) have none (Devlin et al. 2019, A.2).

    The highest rate comes first. Parameters that need no gradient as the model comes are left out.
    """
    made = []
    for row in sorted(rows, key=lambda row: -row.rate):
        parameters = [known[name] for name in row.parameters if known[name].requires_grad]
        for chosen, own in (
            ([p for p in parameters if p.ndim > 1], decay),
            ([p for p in parameters if p.ndim <= 1], 0.0),
        ):
            if chosen:
                made.append(Group(row.name, tuple(chosen), row.rate, own))
    return made


def optimizer_of(name: OptimizerName, chosen: Iterable[Group], options: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The named optimizer over the groups, fused where torch can; `options` are all those of the recipe's table."""
    parameters = [
        {"params": list(g.parameters), "lr": g.learning_rate, "weight_decay": g.weight_decay, "row": g.row}
        for g in chosen
    ]
    return OPTIMIZERS[name](parameters, **{_OF_TORCH.get(option, option): value for option, value in options.items()})


#: Torch has no fused RMSprop.
OPTIMIZERS: Mapping[OptimizerName, Callable[..., torch.optim.Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, fused=True),
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, fused=True),
    "rmsprop": torch.optim.RMSprop,
}
_OF_TORCH = {"epsilon": "eps"}


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """What keeps the gradients of float16 in range; idle in other precisions (Micikevicius et al. 2018, section 3.2).

    A step whose gradients overflow is passed over, and the scale is halved; it doubles after 2,000 steps without.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
