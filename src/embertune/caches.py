"""What is kept between runs: a folder with entries by kind, a limit to its size, and locks on what is in use.

An entry is a folder `KIND/KEY`. Nothing in it decides over a result: without it, the same is worked out again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embertune.engine.published import HALF, Lock, locked, publish
from embertune.errors import CacheError

#: The kinds of entries, and what they hold.
KINDS: Mapping[str, str] = {
    "tokens": "texts as tokens",
    "prefix": "what frozen layers give for texts",
    "vectors": "embeddings of texts, for comparing models",
    "tables": "rows brought into shape",
    "translations": "texts in another language, for data.augment",
}
#: Environment variables for where the cache lies and how large it may get.
FOLDER, SIZE = "EMBERTUNE_CACHE", "EMBERTUNE_CACHE_SIZE"
#: Bytes that the cache may take unless told otherwise.
DEFAULT_SIZE = 20 * 10**9

_LOCK, _ABOUT, _GONE = "lock", "about.json", ".gone-"
#: How many entries of `keep` stay locked at most; each takes a file handle.
_KEPT = 64
_TRIES = 10
_UNITS: dict[str, int] = {"": 1, "B": 1} | {f"{u}B": 1000**i for i, u in enumerate("KMGT", 1)}
_UNITS |= {f"{u}IB": 1024**i for i, u in enumerate("KMGT", 1)}
_held: dict[Path, Held] = {}


@dataclass(frozen=True)
class Entry:
    """Something in the cache: what it is about, its bytes, when it was last used (seconds since 1970), if it is now."""

    kind: str
    path: Path
    about: str
    size: int
    used: float
    in_use: bool


@dataclass(frozen=True)
class Swept:
    """What was removed, in entries and bytes, and how many entries stayed because somebody uses them."""

    entries: int = 0
    size: int = 0
    in_use: int = 0


@dataclass(frozen=True)
class Held:
    """An entry's folder that nobody removes before `release`, or before the process ends."""

    path: Path
    lock: Lock | None

    def release(self) -> None:
        """Not needed any more; to be called once."""
        if self.lock is not None:
            self.lock.release()


@contextmanager
def placed(folder: str | None = None, size: str | None = None) -> Iterator[None]:
    """Inside, and in processes begun there, the cache lies in `folder` and may take `size`; None leaves it alone."""
    wanted = {name: value for name, value in ((FOLDER, folder), (SIZE, size)) if value is not None}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        limit()
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def root() -> Path:
    """The folder of the cache, there or not."""
    if own := os.environ.get(FOLDER):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "embertune"


def limit() -> int:
    """Bytes that the cache may take. Raises CacheError where the size given is none."""
    return parse_size(os.environ[SIZE]) if os.environ.get(SIZE) else DEFAULT_SIZE


def parse_size(text: str) -> int:
    """Bytes: `20 GB`, `500MB`, `1.5 GiB`, `0`. Raises CacheError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise CacheError("the size of the cache", f"{text!r} is no size", "write it like 20 GB or 500 MB")
    return round(float(match[1]) * _UNITS[match[2].upper()])


def take(kind: str, key: str, about: str) -> Held:
    """The folder of an entry, made if it is missing; it counts as used now, and stays until it is released.

    Raises OSError where it is not there and cannot be made.
    """
    path = root() / kind / key
    root().mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock_shared(path)
    while lock is not None and not _is_same(path / _LOCK, lock):  # removed by another process in this very moment
        lock.release()
        lock = _lock_shared(path)
    if lock is not None and not (path / _ABOUT).exists():
        publish(path / _ABOUT, lambda file: file.write(json.dumps({"about": about}).encode()))
    return Held(path, lock)


def keep(kind: str, key: str, about: str) -> Path:
    """Like `take`, for what this process uses until it ends, such as a memory-mapped file."""
    path = root() / kind / key
    _held[path] = _held.pop(path) if path in _held else take(kind, key, about)
    if len(_held) > _KEPT:
        _held.pop(next(iter(_held))).release()
    return path


def _lock_shared(path: Path) -> Lock | None:
    """None for an entry that is there and cannot be locked, such as one in a folder that can only be read."""
    for again in range(_TRIES, -1, -1):
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / _LOCK).touch(mode=0o600)  # used now
            return locked(path / _LOCK, alone=False)
        except FileNotFoundError:  # removed by another process in this very moment
            if not again:
                raise
        except OSError:
            if not path.is_dir():
                raise
            break
    return None


def _is_same(path: Path, lock: Lock) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock.handle))
    except FileNotFoundError:
        return False


def entries(kind: str | None = None) -> list[Entry]:
    """What the cache holds, used last first; of one kind, or of all."""
    found = [
        _entry(name, path)
        for name in KINDS
        if kind in (None, name)
        for path in (root() / name).glob("*")
        if path.is_dir() and not path.name.startswith(".")
    ]
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def _entry(kind: str, path: Path) -> Entry:
    try:
        about = str(json.loads((path / _ABOUT).read_text(encoding="utf-8"))["about"])
    except (OSError, ValueError, KeyError):
        about = KINDS[kind]
    stats = [file.stat() for file in _files(path)]
    lock = _only_user(path)
    if lock is not None:
        lock.release()
    used = (path / _LOCK).stat().st_mtime if (path / _LOCK).exists() else 0.0
    return Entry(kind, path, about, sum(stat.st_size for stat in stats), used, lock is None)


def _files(path: Path) -> Iterator[Path]:
    for file in path.rglob("*"):
        if file.is_file() and not file.name.endswith(HALF):
            yield file


def _only_user(path: Path) -> Lock | None:
    """A lock on an entry that nobody uses; None for one that somebody does, or that is not ours to change."""
    try:
        return locked(path / _LOCK, alone=True, wait=False)
    except OSError:
        return None


def clear(kind: str | None = None) -> Swept:
    """Remove everything of one kind, or all, but what is in use."""
    return _sweep(entries(kind), 0)


def trim() -> Swept:
    """Remove what was not used for longest until the cache keeps to its limit; what is in use stays."""
    return _sweep(entries(), limit())


def _sweep(found: list[Entry], allowed: int) -> Swept:
    """Remove entries from the end of the list until the rest takes no more than `allowed`."""
    total = sum(entry.size for entry in found)
    removed = freed = in_use = 0
    for entry in reversed(found):
        if total - freed <= allowed and allowed:
            break
        if _remove(entry.path):
            removed, freed = removed + 1, freed + entry.size
        else:
            in_use += 1
    for left in root().glob(f"*/{_GONE}*"):
        shutil.rmtree(left, ignore_errors=True)
    return Swept(removed, freed, in_use)


def _remove(path: Path) -> bool:
    """Remove an entry unless somebody uses it; others see the whole of it or nothing."""
    lock = _only_user(path)
    if lock is None:
        return False
    gone = path.with_name(f"{_GONE}{uuid.uuid4().hex}")
    try:
        path.rename(gone)
    except OSError:
        return False
    finally:
        lock.release()
    shutil.rmtree(gone, ignore_errors=True)
    return True
