"""The parameter groups of a run, and the optimizer over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a decay. `name` appears in the history."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float
    weight_decay: float


def groups(model: nn.Module, heads: Mapping[str, nn.Parameter], rate: float, decay: float) -> list[Group]:
    """Encoder and head, each with and without decay: vectors (norms, biases) have none (Devlin et al. 2019, A.2)."""
    sets = {"encoder": [p for p in model.parameters() if p.requires_grad], "head": list(heads.values())}
    made = []
    for name, parameters in sets.items():
        for part, chosen, own in (
            ("matrices", [p for p in parameters if p.ndim > 1], decay),
            ("vectors", [p for p in parameters if p.ndim <= 1], 0.0),
        ):
            if chosen:
                made.append(Group(f"{name}.{part}", tuple(chosen), rate, own))
    return made


def adamw(chosen: Iterable[Group]) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), fused, with the usual betas and epsilon."""
    return torch.optim.AdamW(
        [
            {"params": list(g.parameters), "lr": g.learning_rate, "weight_decay": g.weight_decay, "name": g.name}
            for g in chosen
        ],
        betas=(0.9, 0.999),
        eps=1e-8,
        fused=True,
    )


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """What keeps the gradients of float16 in range; idle in other precisions (Micikevicius et al. 2018, section 3.2).

    A step whose gradients overflow is passed over, and the scale is halved; it doubles after 2,000 steps without.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
