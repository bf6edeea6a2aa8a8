"""A moving average of the weights over the steps: calmer than the last ones, and often better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from embertune.training.snapshot import Snapshot


class Average:
    """The exponential moving average of the trained weights (Polyak & Juditsky 1992; the averages of the last steps).

    It holds one more copy of what is trained. At first it follows faster, with (1 + steps) / (10 + steps) for a decay
    as long as that is less, so that it does not hang on to where training began. What is thawed enters as it is.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights: dict[str, Tensor] = {}

    def join(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Those of `parameters` that are not there yet enter with their value."""
        for name, parameter in parameters.items():
            if name not in self.weights:
                self.weights[name] = parameter.detach().clone()

    def update(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """A step is done."""
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, average in self.weights.items():
            average.lerp_(parameters[name].detach(), 1 - kept)

    @contextmanager
    def worn(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """Inside, the parameters have the values of the average; afterwards their own again, bit for bit."""
        self._exchange(parameters)
        try:
            yield
        finally:
            self._exchange(parameters)

    def settle(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Give the parameters the values of the average, for good."""
        with torch.no_grad():
            for name, average in self.weights.items():
                parameters[name].copy_(average)

    def state(self) -> Snapshot:
        """The average, and over how many steps."""
        return Snapshot(self.weights, {"steps": self.steps})

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then; what joined since is out again."""
        devices = {name: average.device for name, average in self.weights.items()}
        self.weights = {name: value.clone().to(devices.get(name)) for name, value in snapshot.tensors.items()}
        self.steps = snapshot.facts["steps"]

    @torch.no_grad()
    def _exchange(self, parameters: Mapping[str, nn.Parameter]) -> None:
        for name, average in self.weights.items():
            own = parameters[name].clone()
            parameters[name].copy_(average)
            average.copy_(own)
