"""Files that several processes share: published whole or not at all, and locked while somebody writes or reads."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":  # no locks there, but a mapped file cannot be removed either
    import fcntl

#: The ending of a file that is being written, or that was when its writer was killed.
HALF = ".half"


def publish(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, sync it, move it into place. On any error `path` is as it was."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=HALF)
    half = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


@dataclass(frozen=True)
class Lock:
    """A lock that is held until `release`, or until the process ends, however it ends."""

    handle: int

    def release(self) -> None:
        """Let others go on; to be called once."""
        os.close(self.handle)


def locked(path: Path, *, alone: bool, wait: bool = True) -> Lock | None:
    """A lock on the file `path`, which is made if it is missing: shared with others, or `alone`.

    None where another has it and `wait` is false, and for `alone` without `wait` also where the file system knows no
    locks. OSError where the file cannot be opened.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform != "win32":
            fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if not wait and (alone or error.errno in (errno.EWOULDBLOCK, errno.EACCES)):
            os.close(handle)
            return None
    return Lock(handle)
