"""The run folder: who owns it, atomic writes, and whether a run has yet to begin, may begin again, or is finished."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embertune.errors import RunFolderError
from embertune.recipe import Recipe, load_recipe
from embertune.recipe.explain import to_yaml
from embertune.recipe.guidance import Resolved
from embertune.recipe.measured import Measured, as_record, from_record

RECIPE, MANIFEST, AUDIT, HISTORY, METRICS = (
    "recipe.yaml",
    "manifest.json",
    "audit.json",
    "history.jsonl",
    "metrics.json",
)
_HEADER = "The resolved recipe of this run, every decision with its reason.\nRunning it again reproduces the run."
MODEL, REPORT_MD, REPORT_HTML, FACTS = "model", "report.md", "report.html", "facts.json"
#: Where an unfinished run keeps what it goes on with.
CHECKPOINTS = "checkpoints"
#: A file of ours that was being written when the process was killed.
_FILES = (RECIPE, MANIFEST, AUDIT, HISTORY, METRICS, REPORT_MD, REPORT_HTML, FACTS)
_NAMES = "|".join(map(re.escape, _FILES))
_HALF = re.compile(rf"\.({_NAMES})\.[a-z0-9_]{{8}}")


@dataclass(frozen=True)
class RunDir:
    """A folder that belongs to one resolved recipe on one state of the data; `finished` once metrics are written."""

    path: Path
    finished: bool

    def file(self, name: str) -> Path:
        """The path of a file of this run."""
        return self.path / name


@dataclass(frozen=True)
class Asked:
    """What somebody asked for: the recipe as it was given, and one sha256 of rows, weights and loss handed over."""

    recipe: Recipe
    inputs: str

    def as_record(self) -> dict[str, str]:
        """What the manifest keeps of it."""
        return {"recipe": hashlib.sha256(to_yaml(self.recipe, {}).encode()).hexdigest(), "inputs": self.inputs}


def is_finished(out: Path, asked: Asked) -> bool:
    """Whether `out` holds the finished run of just this, told from what it keeps: nothing has to be planned for it.

    False says little: the recipe may be written otherwise and come to the same, which `claim` finds out. Raises
    RunFolderError where the same recipe ran on other rows, to its end or not.
    """
    if not (out / MANIFEST).is_file() or not (out / RECIPE).is_file():
        return False
    kept, wanted = read_json(out / MANIFEST).get("asked"), asked.as_record()
    if kept is None or (kept["recipe"] != wanted["recipe"] and load_recipe(out / RECIPE) != asked.recipe):
        return False
    if kept["inputs"] != wanted["inputs"]:
        raise _on_other_data(out)
    return (out / METRICS).is_file()


def claim(out: Path, resolved: Resolved, fingerprint: str) -> RunDir:
    """Make `out` the folder of this run, or find that it already is.

    A new or empty folder is claimed by writing the recipe, the data fingerprint and what was measured. A folder that
    holds the same recipe and fingerprint is gone on with, or is finished; what a killed run left half-written is
    removed. Anything else is `RunFolderError`; nothing in it is touched. `fingerprint` stands for the data, and for a
    model handed over.
    """
    if out.exists() and not out.is_dir():
        raise RunFolderError(str(out), "is a file", "choose a folder for --out")
    with told_plainly(out):
        out.mkdir(parents=True, exist_ok=True)
        halves = [path for path in out.iterdir() if _HALF.fullmatch(path.name)]
    if len(halves) == len(list(out.iterdir())):
        write_json(out / MANIFEST, {"fingerprint": fingerprint, "measured": as_record(resolved.measured)})
    elif not (out / MANIFEST).is_file():
        raise RunFolderError(str(out), "holds files that are not a run of embertune", "choose another --out")
    elif (out / RECIPE).is_file() and load_recipe(out / RECIPE) != resolved.recipe:
        raise RunFolderError(str(out), f"holds the run of another recipe ({RECIPE} differs)", "choose another --out")
    elif read_json(out / MANIFEST).get("fingerprint") != fingerprint:
        raise _on_other_data(out)
    with told_plainly(out):
        for half in halves:
            half.unlink(missing_ok=True)
    write_text(out / RECIPE, to_yaml(resolved.recipe, resolved.reasons, _HEADER))
    return RunDir(out, finished=(out / METRICS).is_file())


def forget_checkpoints(out: Path) -> None:
    """Remove what a finished run would have gone on with."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def _on_other_data(out: Path) -> RunFolderError:
    found = "was begun on other data or with another model handed over (its fingerprint differs)"
    return RunFolderError(str(out), found, "choose another --out")


def measured_in(out: Path) -> dict[str, Measured]:
    """The measured decisions of the run that `out` holds, by dotted path; none where it holds no run.

    They bind a run that goes on, also on another machine. `RunFolderError` for a manifest that cannot be read.
    """
    if not (out / MANIFEST).is_file():
        return {}
    try:
        return from_record(read_json(out / MANIFEST).get("measured", {}))
    except (AttributeError, ValueError):
        found = "does not say what was measured in a way that can be read"
        raise RunFolderError(str(out / MANIFEST), found, "choose another --out") from None


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a crash."""
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON, atomically; NaN is written as null, which JSON readers accept."""
    write_text(path, json.dumps(finite(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON mapping written by embertune; `RunFolderError` if it cannot be read."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunFolderError(str(path), "cannot be read as JSON", "choose another --out") from None
    return record


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it, and move it into place."""
    with told_plainly(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Inside, a full disk and a missing permission become one `RunFolderError`; everything else passes."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "make room and run the same command again"
            raise RunFolderError(str(path), "no space left on the disk", remedy) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            found = f"cannot be written ({error.strerror})"
            raise RunFolderError(str(path), found, "choose another --out") from None
        raise


def finite(value: Any) -> Any:
    """The same value with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value
