"""All that training can go on from, as one value: kept in memory it is for a rollback, on disk it is a checkpoint."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Snapshot:
    """`tensors` by flat name, such as `optimizer/0.weight/exp_avg`, and `facts` ready for JSON.

    A snapshot just taken may hold tensors that are in use: it stays as it is only once it is `copied`.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def copied(self, into: Snapshot | None = None) -> Snapshot:
        """The same, in memory of its own; that of `into`, which is overwritten, where names and shapes agree."""
        old = into.tensors if into else {}
        return Snapshot({name: _copied(old.get(name), tensor) for name, tensor in self.tensors.items()}, self.facts)

    def part(self, name: str) -> Snapshot:
        """What `together` took under `name`."""
        first = f"{name}/"
        mine = {key.removeprefix(first): tensor for key, tensor in self.tensors.items() if key.startswith(first)}
        return Snapshot(mine, self.facts.get(name, {}))


class Part(Protocol):
    """Something in a run that changes while it goes on."""

    def state(self) -> Snapshot:
        """As it stands; the facts are copies, the tensors need not be."""

    def restore(self, snapshot: Snapshot) -> None:
        """Become as it was then; what is taken from `snapshot` is copied."""


def together(parts: Mapping[str, Part]) -> Snapshot:
    """The states of several parts, each under its name."""
    states = {name: part.state() for name, part in parts.items()}
    tensors = {f"{name}/{key}": tensor for name, state in states.items() for key, tensor in state.tensors.items()}
    return Snapshot(tensors, {name: dict(state.facts) for name, state in states.items() if state.facts})


def _copied(old: Tensor | None, tensor: Tensor) -> Tensor:
    if old is None or (old.shape, old.dtype, old.device) != (tensor.shape, tensor.dtype, tensor.device):
        return tensor.detach().clone()
    return old.copy_(tensor.detach())


class Weights:
    """The weights of a model, and what its loss has of its own: parameters, and buffers that are saved."""

    def __init__(self, model: nn.Module, loss: nn.Module) -> None:
        self.model, self.loss = model, loss

    def state(self) -> Snapshot:
        """`model.…` and `loss.…`."""
        return Snapshot({name: tensor.detach() for name, tensor in self._tensors().items()})

    def restore(self, snapshot: Snapshot) -> None:
        """Both as they were then, in place."""
        own = self._tensors()
        if own.keys() != snapshot.tensors.keys():
            raise ValueError(f"other weights: {sorted(own.keys() ^ snapshot.tensors.keys())[:3]}")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(snapshot.tensors[name])

    def _tensors(self) -> dict[str, Tensor]:
        of_model = self.model.state_dict(keep_vars=True)
        known = {id(tensor) for tensor in of_model.values()}
        of_loss = self.loss.state_dict(keep_vars=True)
        own = {f"loss.{name}": tensor for name, tensor in of_loss.items() if id(tensor) not in known}
        return {f"model.{name}": tensor for name, tensor in of_model.items()} | own


class Moments:
    """What an optimizer knows of each parameter, by the parameter's name."""

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
        self.optimizer, self.parameters = optimizer, parameters

    def state(self) -> Snapshot:
        """Tensors are called `name/what`; what is no tensor stands in the facts of the name."""
        tensors, facts = dict[str, Tensor](), dict[str, dict[str, Any]]()
        for name, parameter in self.parameters.items():
            for what, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"{name}/{what}"] = value
                else:
                    facts.setdefault(name, {})[what] = value
        return Snapshot(tensors, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then; rates and decays of the groups stay as they are."""
        kept: dict[str, dict[str, Any]] = {name: dict(values) for name, values in snapshot.facts.items()}
        for place, tensor in snapshot.tensors.items():
            name, _, what = place.rpartition("/")
            kept.setdefault(name, {})[what] = tensor.clone()
        whole = self.optimizer.state_dict()
        order = [p for group in self.optimizer.param_groups for p in group["params"]]
        numbers = {id(parameter): number for number, parameter in enumerate(order)}
        whole["state"] = {numbers[id(self.parameters[name])]: values for name, values in kept.items()}
        self.optimizer.load_state_dict(whole)


class Scale:
    """The scale of float16's gradients; nothing in other precisions."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self.scaler = scaler

    def state(self) -> Snapshot:
        """The scaler's own facts."""
        return Snapshot(facts=dict(self.scaler.state_dict()))

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then."""
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(dict(snapshot.facts))


class Chance:
    """Every source of random numbers: python's, numpy's, torch's, and that of the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def state(self) -> Snapshot:
        """Where each of them stands."""
        tensors = {"torch": torch.get_rng_state()}
        if self.device.type != "cpu":
            tensors["device"] = torch.get_device_module(self.device).get_rng_state(self.device)
        version, numbers, gauss = random.getstate()
        drawn: Any = np.random.get_state(legacy=False)
        drawn["state"] = {"key": drawn["state"]["key"].tolist(), "pos": drawn["state"]["pos"]}
        return Snapshot(tensors, {"python": [version, list(numbers), gauss], "numpy": drawn})

    def restore(self, snapshot: Snapshot) -> None:
        """All of them stand where they stood then."""
        version, numbers, gauss = snapshot.facts["python"]
        random.setstate((version, tuple(numbers), gauss))
        drawn = dict(snapshot.facts["numpy"])
        drawn["state"] = {**drawn["state"], "key": np.array(drawn["state"]["key"], dtype=np.uint32)}
        np.random.set_state(drawn)
        torch.set_rng_state(snapshot.tensors["torch"].cpu())
        if self.device.type != "cpu":
            torch.get_device_module(self.device).set_rng_state(snapshot.tensors["device"].cpu(), self.device)
