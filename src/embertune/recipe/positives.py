"""What becomes of known positives within a batch: which settings can take effect."""

from __future__ import annotations

from collections.abc import Iterator

from embertune.errors import Problem
from embertune.recipe.losses import LOSSES, Sampler
from embertune.recipe.sections import TrainSection


def keeps_apart(train: TrainSection, shape: str) -> bool:
    """Whether the loss, named by now, takes negatives from batches in which no text may stand twice."""
    return train.loss != "auto" and LOSSES[train.loss].samplers.get(shape) == "distinct"


def sampler_of(train: TrainSection, shape: str) -> Sampler:
    """How batches are put together for rows of `shape`; the loss must accept them."""
    assert train.loss != "auto"
    sampler = LOSSES[train.loss].samplers[shape]
    return "shuffled" if sampler == "distinct" and train.known_positives in ("mask", "ignore") else sampler


def guide_conflicts(train: TrainSection) -> Iterator[Problem]:
    """Settings of the guide that have nothing to act on."""
    if train.guide is not None and train.known_positives != "mask":
        yield Problem(
            "train.guide", "has no effect unless known positives are masked", "write train.known_positives: mask"
        )
    if train.guide_margin is not None and train.guide is None:
        yield Problem("train.guide_margin", "has no effect without a guide", "write train.guide: base")


def misfits_of_known(train: TrainSection, shape: str) -> Iterator[Problem]:
    """`train.known_positives` where the loss, named by now, has no use for it, or cannot do without."""
    path, found = "train.known_positives", train.known_positives
    if keeps_apart(train, shape):
        if found is None:
            yield Problem(path, f"found null with {train.loss}", "write auto, apart, mask or ignore")
    elif found not in (None, "auto"):
        takes = "keeps classes apart in its batches" if shape == "classes" else "takes no negatives from the batch"
        yield Problem(path, f"has no effect: {train.loss} {takes}", "leave it out")
