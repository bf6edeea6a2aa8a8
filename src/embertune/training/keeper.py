"""The best state of a run, in memory."""

from __future__ import annotations

from torch import Tensor, nn


class Keeper:
    """Holds a copy of the best weights in memory."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] | None = None

    def keep(self, model: nn.Module) -> None:
        if self.state is None:
            self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            return
        for name, tensor in model.state_dict().items():
            self.state[name].copy_(tensor)

    def restore(self, model: nn.Module) -> None:
        if self.state is not None:
            model.load_state_dict(self.state, strict=True)
