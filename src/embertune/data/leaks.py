"""Leaks: what dev or test asks for and train already shows, taken out of train, refused or only told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from embertune.data.findings import Finding
from embertune.data.hashing import Keys, folded, keys
from embertune.data.keyed import named, pair_keys, targets
from embertune.data.prepared import Note, Prepared, Sides
from embertune.errors import DataError

Rule = Literal["drop", "error", "keep"]
Mask = npt.NDArray[np.bool_]

#: Shapes whose rows are judged as a pair: a leak is the whole pair, in either order.
PAIRED = ("scored", "labelled", "nli")
EXAMPLES = 5


@dataclass(frozen=True)
class _Leak:
    """`held` are the rows of a side that stand in train, `train` the rows of train in which they stand."""

    side: str
    what: str
    held: Mask
    train: Mask
    examples: tuple[str, ...]

    @property
    def count(self) -> int:
        return int(self.held.sum())


def without_leaks(sides: Sides, rule: Rule) -> Sides:
    """The sides after the rule: `drop` takes leaks out of train, `error` refuses them, `keep` only tells.

    A leak is an anchor of dev or test (a text, for classes) that stands in train in any text column; for labelled,
    scored and NLI rows the whole pair in either order. Texts compare folded (see `hashing.folded`). Raises DataError
    where leaks are refused, and where fewer than two rows would be left to train on.
    """
    texts = _folded(sides.train)
    leaks = [leak for name, held in named(sides)[1:] if (leak := _leak(sides.train, texts, name, held)).count]
    if not leaks:
        return sides
    if rule == "error":
        found = f"{_sentence(leaks)}, such as {leaks[0].examples[0]!r}"
        raise DataError("data.leaks", found, "write data.leaks: drop, or take them out of the data")
    out = np.logical_or.reduce([leak.train for leak in leaks])
    notes: tuple[Note, ...] = ()
    if rule == "drop":
        before = sides.train
        sides = replace(sides, train=_kept(before, ~out, leaks))
        notes = _emptied(before, sides.train)
    count = int(out.sum()) if rule == "drop" else sum(leak.count for leak in leaks)
    examples = tuple(example for leak in leaks for example in leak.examples)[:EXAMPLES]
    note = Note("leaks", f"{_sentence(leaks)}; {_done(out, rule)}", count, examples)
    return replace(
        sides, notes=(*sides.notes, note, *notes), findings=(*sides.findings, *(_finding(leak, rule) for leak in leaks))
    )


def seen(train: Prepared, side: Prepared) -> Mask:
    """Which rows of a side hold a text, beside their anchor, that stands somewhere in train.

    These are documents, hypotheses, positives and negatives; for labelled and scored rows either text. Always False for
    classes, whose one text would be a leak.
    """
    return seen_in(np.unique(np.concatenate(list(_folded(train).values()))), side, _folded(side))


def seen_in(texts: Keys, side: Prepared, own: Mapping[str, Keys]) -> Mask:
    """The same where the folded keys are at hand: `texts` are train's, `own` those of the side by column."""
    columns = side.text_columns if side.shape in ("scored", "labelled") else side.text_columns[1:]
    found = np.zeros(len(side), dtype=bool)
    for column in columns:
        found |= np.isin(own[column], texts)
    return found


def _folded(prepared: Prepared) -> dict[str, Keys]:
    return {column: keys(prepared.rows, column, folded) for column in prepared.text_columns}


def _leak(train: Prepared, texts: dict[str, Keys], side: str, held: Prepared) -> _Leak:
    """Where a side meets train."""
    what = "pairs" if held.shape in PAIRED else "texts" if held.shape == "classes" else "anchors"
    if held.shape in PAIRED:
        own = pair_keys(*(keys(held.rows, column, folded) for column in held.text_columns[:2]))
        first, *others = (texts[column] for column in train.text_columns)
        there = [pair_keys(first, other) for other in others]
    else:
        own = keys(held.rows, held.text_columns[0], folded)
        there = list(texts.values())
    if not there:
        nothing = np.zeros(len(held), dtype=bool)
        return _Leak(side, what, nothing, np.zeros(len(train), dtype=bool), ())
    shared = np.intersect1d(own, np.concatenate(there))
    mask = np.isin(own, shared)
    rows = np.logical_or.reduce([np.isin(column, shared) for column in there])
    return _Leak(side, what, mask, rows, _examples(held, own, mask))


def _examples(held: Prepared, own: Keys, mask: Mask) -> tuple[str, ...]:
    """The leaks with the lowest keys, so that the order of rows chooses nothing."""
    places = np.flatnonzero(mask)
    _, first = np.unique(own[places], return_index=True)
    columns = held.text_columns[:2] if held.shape in PAIRED else held.text_columns[:1]
    rows = (held.rows[int(places[place])] for place in first[:EXAMPLES])
    return tuple(" | ".join(row[column] for column in columns) for row in rows)


def _kept(train: Prepared, keep: Mask, leaks: list[_Leak]) -> Prepared:
    left = int(keep.sum())
    if left < 2:
        found = f"{_sentence(leaks)}; without them {left} of {len(train)} rows would be left to train on"
        raise DataError("data.leaks", found, "give training rows that are not in dev or test")
    return replace(train, rows=train.rows.select(np.flatnonzero(keep)))


def _emptied(before: Prepared, after: Prepared) -> tuple[Note, ...]:
    """A note on classes that have no row left; every one of their texts stood in dev or test."""
    old, new = targets(before), targets(after)
    if before.shape != "classes" or old is None or new is None:
        return ()
    gone = np.setdiff1d(old, new).astype(int).tolist()
    names = tuple(before.classes[label] for label in gone)
    text = f"{len(names)} of {len(before.classes)} classes have no row left in train, all their texts leaked"
    return (Note("leaks", text, len(names), names[:EXAMPLES]),) if names else ()


def _sentence(leaks: list[_Leak]) -> str:
    said = ", ".join(f"{leak.count} of {len(leak.held)} {leak.what} of {leak.side}" for leak in leaks)
    return f"{said} stand in train"


def _finding(leak: _Leak, rule: Rule) -> Finding:
    text = f"{leak.what} of {leak.side} that stand in train"
    return Finding(
        "leak", f"train | {leak.side}", text, leak.count, len(leak.held), leak.examples, _done(leak.train, rule)
    )


def _done(rows: Mask, rule: Rule) -> str:
    count = int(rows.sum())
    return f"{count} {'row' if count == 1 else 'rows'} dropped from train" if rule == "drop" else "kept"
