"""Where rows live: memory-mapped tables in the cache; the host's progress bars and log kept quiet."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset

from embertune import caches
from embertune.engine.published import publish
from embertune.errors import DataError

BATCH = 10_000

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)

#: Part of every cache key: raise it when what a cached table holds changes its meaning.
VERSION = 1


def check_room(error: BaseException | None) -> None:
    """Raise DataError if an error, or one that caused it, says that the host's cache is full or cannot be written."""
    while error is not None:
        if isinstance(error, OSError) and (error.errno in _NO_ROOM or "disk space" in str(error)):
            raise _no_cache(error, str(datasets.config.HF_DATASETS_CACHE), "HF_DATASETS_CACHE") from None
        error = error.__cause__ or error.__context__


def _no_cache(error: OSError, folder: str, variable: str) -> DataError:
    remedy = f"make room there, or name another folder in the environment variable {variable}"
    return DataError(folder, f"the cache of data cannot be written: {error}", remedy)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the host's progress bars, log lines and warnings off the screen, and put its settings back afterwards."""
    bars = datasets.are_progress_bars_disabled()
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()


def batches(rows: Dataset, column: str, size: int = BATCH) -> Iterator[pa.ChunkedArray]:
    """A column in pieces, in order, as Arrow: memory stays that of one piece."""
    for table in rows.select_columns([column]).with_format("arrow").iter(size):
        yield table.column(0)


def whole(rows: Dataset, column: str) -> pa.Array:
    """A text column as one Arrow array in memory, for picking rows out of it in any order."""
    parts = [piece.cast(pa.large_string()) for piece in batches(rows, column)]
    return pa.concat_arrays([chunk for part in parts for chunk in part.chunks] or [pa.array([], pa.large_string())])


def cache_key(*parts: object) -> str:
    """A name for a table that is a function of `parts` alone, each of which has a stable `str`."""
    return hashlib.sha256("\0".join(str(part) for part in (VERSION, *parts)).encode()).hexdigest()[:32]


def mapped(pieces: Iterator[pa.Table], name: str, about: str) -> Dataset:
    """The rows of `pieces` as a memory-mapped Dataset, written once to the cache under `name` (see `cache_key`).

    The file appears complete or not at all. `pieces` must yield at least one table; all have one schema. `about` says
    to people what it is. Raises DataError where the cache cannot be written.
    """
    try:
        path = caches.keep("tables", name, about) / "rows.arrow"
        if not path.exists():
            publish(path, lambda file: _write(pieces, file))
            caches.trim()
    except OSError as error:
        raise _no_cache(error, str(caches.root()), caches.FOLDER) from None
    return Dataset.from_file(str(path))


def _write(pieces: Iterator[pa.Table], sink: BinaryIO) -> None:
    first = next(pieces)
    with pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)


def picked(columns: Mapping[str, tuple[pa.Array, npt.NDArray[np.int64]]], name: str, about: str) -> Dataset:
    """A memory-mapped Dataset whose column `c` holds `columns[c] = (values, places)`: the values at those places.

    `name` and `about` as for `mapped`.
    """
    total = len(next(iter(columns.values()))[1])

    def pieces() -> Iterator[pa.Table]:
        for start in range(0, max(total, 1), BATCH):
            part = slice(start, start + BATCH)
            yield pa.table({c: values.take(pa.array(places[part])) for c, (values, places) in columns.items()})

    with quiet():
        return mapped(pieces(), name, about)


def fingerprint(rows: Dataset) -> str:
    """sha256 over the content of the rows: the same for the same values in any file format, cache or machine."""
    digest = hashlib.sha256()
    for table in rows.with_format("arrow").iter(BATCH):
        for row in table.to_pylist():
            digest.update(json.dumps(row, sort_keys=True, default=_plain).encode())
    return digest.hexdigest()


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
