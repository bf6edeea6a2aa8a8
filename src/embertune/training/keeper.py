"""The best state of a run, in memory."""

from __future__ import annotations

from torch import Tensor, nn

from embertune.training.snapshot import Snapshot


class Keeper:
    """Holds a copy of the best weights, as they would be saved; `times` counts how often there were better ones.

    `learned` is all that was learnt until then, optimizer included, where a run may have to go back to it.
    """

    def __init__(self) -> None:
        self.best: Snapshot | None = None
        self.learned: Snapshot | None = None
        self.times = 0

    def keep(self, model: nn.Module) -> None:
        """These weights are the best so far."""
        self.best = Snapshot(model.state_dict()).copied(self.best)
        self.times += 1

    def learn(self, learned: Snapshot) -> None:
        """All that was learnt until the best state was kept."""
        self.learned = learned.copied(self.learned)

    def give(self, model: nn.Module) -> None:
        """Leave `model` with the best weights, where there were any."""
        if self.best is not None:
            model.load_state_dict(dict(self.best.tensors), strict=True)

    def state(self) -> Snapshot:
        """The copies; `weights/…`, and `learned/…` where that is kept."""
        tensors: dict[str, Tensor] = {}
        if self.best is not None:
            tensors |= {f"weights/{name}": tensor for name, tensor in self.best.tensors.items()}
        if self.learned is not None:
            tensors |= {f"learned/{name}": tensor for name, tensor in self.learned.tensors.items()}
        facts = {"times": self.times, "learned": dict(self.learned.facts) if self.learned else {}}
        return Snapshot(tensors, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then."""
        self.times = snapshot.facts["times"]
        best, learned = snapshot.part("weights").tensors, snapshot.part("learned")
        self.best = Snapshot(best).copied() if best else None
        self.learned = learned.copied() if learned.tensors else None
