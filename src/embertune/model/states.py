"""Weights of a model as values: copied, put back, and mixed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

#: Every tensor that is saved with a model, by name.
State = Mapping[str, Tensor]


def copied(model: nn.Module) -> State:
    """The model's weights as they stand, in memory of their own."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def put(state: State, model: nn.Module) -> None:
    """Give the model these weights, in place. Raises RuntimeError for those of another model."""
    model.load_state_dict(dict(state), strict=True)


@torch.no_grad()
def put_mixed(base: State, other: State, share: float, model: nn.Module) -> None:
    """Give the model, in place, `share` of `base` and the rest of `other` (Wortsman et al. 2022, section 3).

    What is equal in both stays so, bit for bit; what is no fraction is that of `other`.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            torch.lerp(other[name], base[name], share, out=tensor)
        else:
            tensor.copy_(other[name])
