"""What rules out the leaves `train.save_every` and `train.keep_checkpoints` together."""

from __future__ import annotations

from collections.abc import Iterator

from embertune.errors import Problem

#: `auto` saves so often in a run, and never after fewer steps: less is quickly done again.
TIMES, LEAST_STEPS = 10, 100
_KEEP = "train.keep_checkpoints"


def problems_of_saving(every: str | None, keep: int | None, *, written: bool) -> Iterator[Problem]:
    """A number of checkpoints and no checkpoints, or the reverse; `written` says that the number is not a default."""
    if every is None and written and keep is not None:
        yield Problem(_KEEP, f"found {keep} with train.save_every: null", "write null, or give train.save_every")
    if every is not None and keep is None:
        yield Problem(_KEEP, "found null with train.save_every", "write a whole number, or train.save_every: null")
