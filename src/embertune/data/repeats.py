"""Rows that repeat or contradict each other: duplicates, conflicting labels, texts that are their own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from embertune.data.findings import Finding
from embertune.data.hashing import Keys
from embertune.data.keyed import Keyed, pair_keys
from embertune.data.nli import NAMES
from embertune.data.prepared import TARGET_COLUMN

Mask = npt.NDArray[np.bool_]

#: Scores of one pair, in [0, 1], that lie further apart than this contradict each other.
APART = 0.1
#: Examples of a finding, and the characters that are kept of each text in them.
EXAMPLES, LONGEST = 5, 200


def findings_of_repeats(side: Keyed) -> list[Finding]:
    """What repeats or contradicts itself within a side; what was not found is not told."""
    rows = len(side)
    exact, alike = side.row_keys(side.exact), side.row_keys(side.folded)
    again, nearly = rows - len(np.unique(exact)), len(np.unique(exact)) - len(np.unique(alike))
    mixed = family(alike) & ~family(exact)
    found = [
        _found("exact_duplicates", side, "rows repeat another row exactly", again, family(exact)),
        _found("normalised_duplicates", side, "rows repeat another but for case, spaces or punctuation", nearly, mixed),
    ]
    for kind, text, rule in _RULES:
        mask = rule(side)
        found.append(_found(kind, side, text, int(mask.sum()), mask))
    return [finding for finding in found if finding.count]


def findings_across(train: Keyed, side: Keyed) -> list[Finding]:
    """Whole rows of a side that stand in train, exactly or but for case, spaces and punctuation; same shapes only."""
    if train.prepared.shape != side.prepared.shape or train.prepared.text_columns != side.prepared.text_columns:
        return []
    exact = np.isin(side.row_keys(side.exact), train.row_keys(train.exact))
    alike = np.isin(side.row_keys(side.folded), train.row_keys(train.folded)) & ~exact
    where = f"train | {side.side}"
    said = f"rows of {side.side} stand in train"
    found = [
        _found("exact_duplicates", side, f"{said} exactly", int(exact.sum()), exact, where),
        _found("normalised_duplicates", side, f"{said} but for case or punctuation", int(alike.sum()), alike, where),
    ]
    return [finding for finding in found if finding.count]


def family(rows: Keys) -> Mask:
    """Which rows have another with the same key."""
    _, inverse, counts = np.unique(rows, return_inverse=True, return_counts=True)
    mask: Mask = counts[inverse] > 1
    return mask


def conflicting(side: Keyed) -> Mask:
    """Rows whose texts stand elsewhere with another label, or a score more than `APART` away.

    The order of the two texts counts for NLI only. For triplets: rows in which a text is the positive of an anchor that
    has it as a negative in some row, and the other way round.
    """
    if side.targets is None:
        return _both_ways(side)
    columns = [side.folded[column] for column in side.prepared.text_columns]
    rows = columns[0] if len(columns) == 1 else pair_keys(*columns[:2], ordered=side.prepared.shape == "nli")
    _, inverse = np.unique(rows, return_inverse=True)
    low, high = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
    np.minimum.at(low, inverse, side.targets)
    np.maximum.at(high, inverse, side.targets)
    apart = APART + 1e-9 if side.prepared.shape == "scored" else 0.0
    mask: Mask = (high - low)[inverse] > apart
    return mask


def _both_ways(side: Keyed) -> Mask:
    """Rows of triplets with a pair that is right in one row and wrong in another."""
    mask: Mask = np.zeros(len(side), dtype=bool)
    if not _negatives(side):
        return mask
    anchor = side.folded[side.first]
    right = pair_keys(anchor, side.folded["positive"], ordered=True)
    wrong = [pair_keys(anchor, side.folded[column], ordered=True) for column in _negatives(side)]
    own = np.logical_or.reduce([right == pair for pair in wrong])
    for pair in wrong:
        mask |= np.isin(pair, right[~own])
    mask |= np.isin(right, np.concatenate([pair[~own] for pair in wrong]))
    mask &= ~own
    return mask


def own_answer(side: Keyed) -> Mask:
    """Rows with twice the same text: the anchor is its positive, or both sentences are one."""
    if side.prepared.shape == "classes":
        return np.zeros(len(side), dtype=bool)
    mask: Mask = side.folded[side.first] == side.folded[side.others[0]]
    return mask


def right_and_wrong(side: Keyed) -> Mask:
    """Rows whose positive is one of their negatives."""
    return _equal(side, "positive")


def wrong_of_itself(side: Keyed) -> Mask:
    """Rows whose anchor is one of their negatives."""
    return _equal(side, "anchor")


def _equal(side: Keyed, column: str) -> Mask:
    mask = np.zeros(len(side), dtype=bool)
    for negative in _negatives(side):
        mask |= side.folded[column] == side.folded[negative]
    return mask


def _negatives(side: Keyed) -> tuple[str, ...]:
    return tuple(column for column in side.others if column.startswith("negative"))


_RULES: tuple[tuple[str, str, Callable[[Keyed], Mask]], ...] = (
    ("conflicting_labels", "rows have the same texts as another, and another label", conflicting),
    ("anchor_is_positive", "rows have twice the same text", own_answer),
    ("positive_is_negative", "rows have their positive as a negative too", right_and_wrong),
    ("anchor_is_negative", "rows have their anchor as a negative too", wrong_of_itself),
)


def _found(kind: str, side: Keyed, text: str, count: int, mask: Mask, where: str = "") -> Finding:
    examples = shown(side, np.flatnonzero(mask)) if count else ()
    return Finding(kind, where or side.side, text, count, len(side), examples)


def shown(side: Keyed, places: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Rows as text, at most `EXAMPLES`: those with the lowest keys, whatever the order of rows; families together."""
    alike, exact = side.row_keys(side.folded)[places], side.row_keys(side.exact)[places]
    chosen = places[np.lexsort((exact, alike))[:EXAMPLES]]
    columns = side.prepared.text_columns
    rows = (side.prepared.rows[int(place)] for place in chosen)
    return tuple(" | ".join([*(shortened(row[column]) for column in columns), *_said(side, row)]) for row in rows)


def _said(side: Keyed, row: Mapping[str, Any]) -> Iterator[str]:
    """The label or score of a row, labels by their names."""
    shape = side.prepared.shape
    if shape in TARGET_COLUMN:
        names = {"classes": side.prepared.classes, "nli": NAMES}.get(shape)
        target = row[TARGET_COLUMN[shape]]
        yield names[target] if names else str(target)


def shortened(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
