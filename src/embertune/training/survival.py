"""A run that goes on where it was killed: when checkpoints are written, and how a session takes one up again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import torch

from embertune.errors import Interrupted
from embertune.signals import Ending
from embertune.training.checkpoint import Checkpoints, Found
from embertune.training.snapshot import Chance, Part, Snapshot, together
from embertune.watch import Watcher

if TYPE_CHECKING:
    from embertune.training.session import Session

#: What the thing is called that says where the run stood: how long its history was, how many threads it had.
PLACE = "place"


@contextmanager
def gone_on(history: Path, found: Found, watch: Watcher) -> Iterator[TextIO]:
    """Inside, the file `history` is written on from where it was at the checkpoint, with as many threads as then.

    Without a checkpoint it begins empty.
    """
    for text in found.passed_over:
        watch.note(f"checkpoint {text} and is passed over")
    place = found.snapshot.facts[PLACE] if found.snapshot else None
    if place is None:
        with history.open("w", encoding="utf-8") as file:
            yield file
        return
    watch.note(f"goes on from {found.source}")
    threads = torch.get_num_threads()
    if threads != place["threads"]:
        watch.note(f"with {place['threads']} threads, as it began, and not {threads}")
    torch.set_num_threads(place["threads"])
    try:
        if _cut(history, place["history"]):
            watch.note(f"{history.name} is shorter than it was: it goes on behind the last line that is there")
        with history.open("a", encoding="utf-8") as file:
            yield file
    finally:
        torch.set_num_threads(threads)


def _cut(history: Path, size: int) -> bool:
    """Cut the file back to `size` bytes; where fewer are there, to its last whole line, which is told by true."""
    lines = history.read_bytes() if history.is_file() else b""
    short = len(lines) < size
    end = lines.rfind(b"\n") + 1 if short else size
    with history.open("ab") as file:
        file.truncate(end)
    return short


class _Place:
    """Where a run stands beside the session."""

    def __init__(self, history: TextIO) -> None:
        self.history = history

    def state(self) -> Snapshot:
        """What was written until now is on the disk before a checkpoint counts on it."""
        os.fsync(self.history.fileno())
        return Snapshot(facts={"history": os.fstat(self.history.fileno()).st_size, "threads": torch.get_num_threads()})

    def restore(self, snapshot: Snapshot) -> None:
        """Done by `gone_on`, before there is a session."""


class Survival:
    """The checkpoints of a session. While steps are taken, a signal makes one and ends training: `interrupted`."""

    def __init__(self, session: Session, checkpoints: Checkpoints | None) -> None:
        self.session, self.checkpoints = session, checkpoints
        self.ending = Ending()
        self.interrupted = False
        self._chance: Snapshot | None = None

    def resume(self, found: Found) -> bool:
        """Make the session what it was at a checkpoint, where there is one."""
        if found.snapshot is None:
            return False
        self.session.resume(found.snapshot)
        if "chance" in found.snapshot.facts:
            self._chance = found.snapshot.part("chance")
        return True

    def heard(self) -> AbstractContextManager[object]:
        """Inside, signals wait until the step is done, where a checkpoint can be written then."""
        return nullcontext() if self.checkpoints is None else self.ending

    def step_begins(self) -> None:
        """In the middle of a phase chance goes on where it stood: to be called when the host has seeded it."""
        if self._chance is not None:
            Chance(self.session.model.device).restore(self._chance)
            self._chance = None

    def within(self, step: int, last: int) -> bool:
        """A step is done in the middle of a phase that ends at `last`; whether training is to end here."""
        if self.checkpoints is None or step == last:
            return False
        if self.ending.asked or self.checkpoints.due(step):
            self._write({"chance": Chance(self.session.model.device)})
        self.interrupted = self.ending.asked
        return self.interrupted

    def between(self) -> None:
        """A phase is over, and the next one begins with chance of its own."""
        if self.checkpoints is not None and not self.interrupted:
            self._write({})
            self.interrupted = self.ending.asked

    def finish(self) -> None:
        """Training is over, or `Interrupted`."""
        if self.interrupted:
            raise Interrupted("the same call")

    def _write(self, more: Mapping[str, Part]) -> None:
        assert self.checkpoints is not None
        parts = {**self.session.parts, PLACE: _Place(self.session.history), **more}
        self.checkpoints.write(self.session.done, together(parts))
