"""What a row of the table is, and what its measurement is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from table.texts import Texts


@dataclass(frozen=True)
class Options:
    """How a row is measured.

    `steps` are those that are timed, one more is done. `rows` bounds what is read or encoded, `batch` takes the place
    of the row's own batch size; None leaves both as the row has them. `folder` is empty, and goes afterwards.
    """

    texts: Texts
    rounds: int
    steps: int
    rows: int | None
    batch: int | None
    folder: Path

    def at_most(self, rows: int) -> int:
        """`rows`, or fewer where the command line says so."""
        return rows if self.rows is None else min(rows, self.rows)


@dataclass(frozen=True)
class Row:
    """One line of the table: `work` is what is done, `against` what by, `target` what is to be reached.

    `minutes` is about how long it takes with the defaults on two cores without bfloat16 units.
    """

    name: str
    work: str
    against: str
    target: str
    minutes: int
    measure: Callable[[Options], dict[str, Any]]
