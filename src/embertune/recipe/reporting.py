"""The leaf `train.report_to`: trackers that can follow a run, and what each needs to be installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import AfterValidator

from embertune.errors import Problem
from embertune.recipe.section import AS_TUPLE

Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]

#: By tracker the packages of which one is needed, the one to install first.
PACKAGES: Mapping[Tracker, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
}


def _once(names: tuple[Tracker, ...]) -> tuple[Tracker, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names a tracker twice")
    return names


ReportTo = Annotated[tuple[Tracker, ...], AS_TUPLE, AfterValidator(_once)]


def problems_of_trackers(names: Sequence[Tracker]) -> Iterator[Problem]:
    """Trackers that are not installed here."""
    for name in names:
        packages = PACKAGES[name]
        if not any(find_spec(package) for package in packages):
            remedy = f"pip install {packages[0]}, or leave {name} out"
            yield Problem("train.report_to", f"{name} is not installed ({' or '.join(packages)})", remedy)
