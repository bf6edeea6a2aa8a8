"""A side with the keys of its texts, exact and folded: what every comparison of texts rests on, made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embertune.data.hashing import Keys, folded, joined, keys_in_forms
from embertune.data.prepared import TARGET_COLUMN, Prepared, Sides
from embertune.data.store import batches

Targets = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Keyed:
    """`exact` and `folded` map each text column to a key per row; `targets` is the label or score of each row, if any.

    `side` is `train`, `dev` or `test NAME`.
    """

    side: str
    prepared: Prepared
    exact: Mapping[str, Keys]
    folded: Mapping[str, Keys]
    targets: Targets | None

    def __len__(self) -> int:
        return len(self.prepared)

    @property
    def first(self) -> str:
        """The column of anchors, or what stands in their place."""
        return self.prepared.text_columns[0]

    @property
    def others(self) -> tuple[str, ...]:
        """The text columns after the first."""
        return self.prepared.text_columns[1:]

    def texts(self) -> Keys:
        """The distinct folded keys of all text columns, ascending."""
        return np.unique(np.concatenate(list(self.folded.values())))

    def row_keys(self, of: Mapping[str, Keys]) -> Keys:
        """One key per row out of all texts in their order, and of the target."""
        columns = [of[column] for column in self.prepared.text_columns]
        return joined(columns if self.targets is None else [*columns, self.targets.view(np.int64)])


def keyed(side: str, prepared: Prepared) -> Keyed:
    """Read all texts of a side once."""
    rows, columns = prepared.rows, prepared.text_columns
    read = {column: keys_in_forms(rows, column, (str, folded)) for column in columns}
    exact, alike = ({column: found[form] for column, found in read.items()} for form in (0, 1))
    return Keyed(side, prepared, exact, alike, targets(prepared))


def keyed_sides(sides: Sides) -> tuple[Keyed, ...]:
    """All sides of a run: train, dev if there is one, then the tests."""
    return tuple(keyed(name, prepared) for name, prepared in named(sides))


def named(sides: Sides) -> tuple[tuple[str, Prepared], ...]:
    """Each side with its name: train, dev if there is one, then the tests."""
    dev = (("dev", sides.dev),) if sides.dev is not None else ()
    return (("train", sides.train), *dev, *((f"test {name}", prepared) for name, prepared in sides.tests.items()))


def targets(prepared: Prepared) -> Targets | None:
    """The label or score of every row, None for shapes without one."""
    if prepared.shape not in TARGET_COLUMN:
        return None
    pieces = [piece.to_numpy().astype(np.float64) for piece in batches(prepared.rows, TARGET_COLUMN[prepared.shape])]
    return np.concatenate(pieces) if pieces else np.empty(0)


def pair_keys(left: Keys, right: Keys, *, ordered: bool = False) -> Keys:
    """One key for each pair of texts; the same for either order unless `ordered`."""
    if ordered:
        return joined([left, right])
    return joined([np.minimum(left, right), np.maximum(left, right)])
