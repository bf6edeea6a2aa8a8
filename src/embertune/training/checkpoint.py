"""Snapshots on disk: written to one side, checked by sha256, moved into place; the newest whole one is gone on with.

A checkpoint is a folder `step-000120`: `state.json` has the facts, safetensors files the tensors. `sha256.json` names
all files with their sums and is written last. A part in `APART` has a file of its own: while its `times` stay the
same, the next checkpoint links to it instead of writing it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from embertune.model.save import told_by_the_system
from embertune.recipe.sections import TrainSection
from embertune.recipe.units import parse_span
from embertune.rundir import told_plainly
from embertune.training.snapshot import Snapshot

#: Parts of a snapshot that stay the same for long; their facts count in `times` how often they changed.
APART = ("best", "rows")
_STATE, _SUMS, _TENSORS = "state.json", "sha256.json", "state.safetensors"
#: Who can read a checkpoint: this version of embertune, and while it stays the same, of what is in `state.json`.
_WRITER = f"{version('embertune')}, format 1"
_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True)
class Found:
    """What there is to go on with: a snapshot from the folder `source`, and what was passed over to get to it."""

    snapshot: Snapshot | None
    source: str = ""
    passed_over: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of a run in `folder`, of which the newest `keep` stay; one is due `every` so many steps."""

    def __init__(self, folder: Path, keep: int, every: int) -> None:
        self.folder, self.keep, self.every = folder, keep, every
        self._last: Path | None = None  # that is known to be whole

    def due(self, step: int) -> bool:
        """Whether one is to be written after `step`."""
        return step % self.every == 0

    def newest(self) -> Found:
        """The newest whole one; what was being written or removed when a run was killed is cleared away."""
        if not self.folder.is_dir():
            return Found(None)
        for path in self.folder.iterdir():
            if path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)
        passed: list[str] = []
        for path in reversed(self._all()):
            if fault := _fault(path):
                passed.append(f"{path.name} {fault}")
                continue
            self._last = path
            return Found(_read(path), f"{self.folder.name}/{path.name}", tuple(passed))
        return Found(None, passed_over=tuple(passed))

    def write(self, step: int, snapshot: Snapshot) -> None:
        """Write one for `step`, and remove the oldest, and those of later steps, which were passed over.

        What is there already stays as it is until this one is on the disk; a full disk is a RunFolderError.
        """
        place = self.folder / f"step-{step:06}"
        beside = place.with_name(f".{place.name}.partial")
        with told_plainly(self.folder):
            self.folder.mkdir(exist_ok=True)
            beside.mkdir()
            try:
                _fill(beside, snapshot, self._last)
                _remove(place)
                beside.rename(place)
                _sync(self.folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            self._last, whole = place, self._all()
            here = whole.index(place)
            for old in (*whole[here + 1 :], *whole[: max(0, here + 1 - self.keep)]):
                _remove(old)

    def _all(self) -> list[Path]:
        """Those there are, whole or not, the oldest first."""
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def checkpoints_of(folder: Path, settings: TrainSection, per_epoch: float) -> Checkpoints | None:
    """The checkpoints that a resolved recipe asks for; None where it wants none."""
    if settings.save_every is None:
        return None
    assert settings.keep_checkpoints is not None
    return Checkpoints(folder, settings.keep_checkpoints, parse_span(settings.save_every).in_steps(per_epoch))


def _fill(folder: Path, snapshot: Snapshot, before: Path | None) -> None:
    """Write all files of a checkpoint, the list of their sums last, and sync them; `before` is the one before it."""
    sums: dict[str, str] = {}
    (folder / _STATE).write_text(json.dumps({"writer": _WRITER, "facts": snapshot.facts}), encoding="utf-8")
    for name, tensors in _files(snapshot):
        kept = _kept(before, name, snapshot.facts)
        if kept is None:
            with told_by_the_system():
                save_file(tensors, folder / name)
        else:
            _link(kept.path, folder / name)
            sums[name] = kept.sum
    for path in folder.iterdir():
        _sync(path)
        sums.setdefault(path.name, _sum(path))
    (folder / _SUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")
    _sync(folder / _SUMS)
    _sync(folder)


def _files(snapshot: Snapshot) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Tensors by file, each in memory of its own, as the format asks."""
    groups: dict[str, dict[str, torch.Tensor]] = {_TENSORS: {}}
    for name, tensor in snapshot.tensors.items():
        part = name.partition("/")[0]
        groups.setdefault(f"{part}.safetensors" if part in APART else _TENSORS, {})[name] = tensor
    for file, tensors in groups.items():
        seen: set[int] = set()
        for name, tensor in tensors.items():
            shared = tensor.untyped_storage().data_ptr() in seen
            seen.add(tensor.untyped_storage().data_ptr())
            tensors[name] = (
                tensor.detach().clone(memory_format=torch.contiguous_format) if shared else tensor.contiguous()
            )
        yield file, tensors


@dataclass(frozen=True)
class _Kept:
    path: Path
    sum: str


def _kept(before: Path | None, file: str, facts: Mapping[str, Any]) -> _Kept | None:
    """The file of the checkpoint before, where it holds the same."""
    part = file.partition(".")[0]
    if before is None or part not in APART:
        return None
    try:
        times, sums = _json(before / _STATE)["facts"][part]["times"], _json(before / _SUMS)
    except (OSError, ValueError, KeyError):
        return None
    return _Kept(before / file, sums[file]) if times == facts[part]["times"] and file in sums else None


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _fault(folder: Path) -> str:
    """What is wrong with a checkpoint; '' where it is whole."""
    try:
        sums = _json(folder / _SUMS)
        if _STATE not in sums:
            return "is damaged (its list of files is not what was written)"
        for name, wanted in sums.items():
            if _sum(folder / name) != wanted:
                return f"is damaged ({name} is not what was written)"
        if (writer := _json(folder / _STATE).get("writer")) != _WRITER:
            return f"was written by another version of embertune ({writer})"
    except (OSError, ValueError) as error:
        return f"is damaged ({error})" if isinstance(error, ValueError) else "is not complete"
    return ""


def _read(folder: Path) -> Snapshot:
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return Snapshot(tensors, _json(folder / _STATE)["facts"])


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(folder: Path) -> None:
    """Remove a checkpoint; it loses its name first, so that half of it is never taken for one."""
    if folder.exists():
        shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.old")), ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
