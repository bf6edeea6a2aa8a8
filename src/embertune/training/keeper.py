"""The best state of a run, and the average of those that were the best, in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embertune.training.snapshot import Snapshot


class Keeper:
    """Holds a copy of the best weights, as they would be saved; `trained` counts those that training made.

    Where they are to be averaged, `average` is the mean of the latter, None for fewer than two: each new one counts
    half, those before it the other half, so that early ones weigh little (a soup of the states of one run; Izmailov et
    al. 2018, arXiv:1803.05407, averages them evenly). `learned` is all that was learnt until the best state, optimizer
    included, where a run may have to go back to it.
    """

    def __init__(self, *, averaging: bool = False) -> None:
        self.averaging = averaging
        self.best: Snapshot | None = None
        self.average: Snapshot | None = None
        self.learned: Snapshot | None = None
        self.trained = 0

    def keep(self, model: nn.Module, *, trained: bool = True) -> None:
        """These weights are the best so far."""
        now = Snapshot(model.state_dict())
        if self.averaging and trained and self.trained:
            assert self.best is not None
            self.average = _halfway(self.average or self.best.copied(), now)
        self.best = now.copied(self.best)
        self.trained += trained

    def learn(self, learned: Snapshot) -> None:
        """All that was learnt until the best state was kept."""
        self.learned = learned.copied(self.learned)

    def give(self, model: nn.Module) -> None:
        """Leave `model` with the best weights, where there were any."""
        if self.best is not None:
            model.load_state_dict(dict(self.best.tensors), strict=True)

    def state(self) -> Snapshot:
        """The copies; `weights/…`, and `average/…` and `learned/…` where these are kept."""
        tensors: dict[str, Tensor] = {}
        for name, kept in (("weights", self.best), ("average", self.average), ("learned", self.learned)):
            tensors |= {f"{name}/{of}": tensor for of, tensor in kept.tensors.items()} if kept else {}
        learned = dict(self.learned.facts) if self.learned else {}
        return Snapshot(tensors, {"trained": self.trained, "learned": learned})

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then."""
        self.trained = snapshot.facts["trained"]
        best, average, learned = (snapshot.part(name) for name in ("weights", "average", "learned"))
        self.best = Snapshot(best.tensors).copied() if best.tensors else None
        self.average = Snapshot(average.tensors).copied() if average.tensors else None
        self.learned = learned.copied() if learned.tensors else None


@torch.no_grad()
def _halfway(kept: Snapshot, now: Snapshot) -> Snapshot:
    """`kept`, in place, halfway to `now`; what is no fraction is that of `now`."""
    for name, tensor in kept.tensors.items():
        if tensor.is_floating_point():
            tensor.lerp_(now.tensors[name], 0.5)
        else:
            tensor.copy_(now.tensors[name])
    return kept
