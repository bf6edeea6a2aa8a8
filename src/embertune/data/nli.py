"""Natural language inference: its labels in all their spellings, and triplets out of them, in array operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embertune.data.content import Codes, Labels
from embertune.data.hashing import Keys, Words, joined, mix
from embertune.data.prepared import Note
from embertune.errors import DataError

#: The label of a row as a number, as SNLI, MultiNLI and sentence-transformers have them.
NAMES = ("entailment", "neutral", "contradiction")
ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
NO_GOLD = -1

#: More triplets than this from one file are refused: a few premises with thousands of hypotheses multiply.
MOST = 20_000_000

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NliSettings:
    """How premises become triplets.

    `max_per_premise` keeps that many triplets of a premise, chosen by hash; None keeps all. With `neutral`, a neutral
    hypothesis of the premise joins every triplet as `negative_2`, and triplets of premises without one are left out.
    With `keep_pairs`, a premise without a contradiction is kept by borrowing another premise's contradicting
    hypothesis, chosen by hash: rows have one width, and in-batch losses meet such random negatives anyway.
    """

    max_per_premise: int | None = None
    neutral: bool = False
    keep_pairs: bool = False


@dataclass(frozen=True)
class Hypotheses:
    """The rows of an NLI table as keys, so that texts which differ in white space are one, with their labels.

    `by_label` holds the row numbers of each label; a row that repeats another or has no gold label is in none.
    """

    premises: Keys
    hypotheses: Keys
    by_label: tuple[Places, Places, Places]

    def pair_keys(self, rows: Places) -> Keys:
        """One key for the premise and hypothesis of each of these rows."""
        return joined([self.premises[rows], self.hypotheses[rows]])


@dataclass(frozen=True)
class Triplets:
    """Row numbers: of premise and entailed hypothesis, of the contradicting one, of the neutral one if asked for."""

    entailed: Places
    contradicting: Places
    neutral: Places | None = None
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.entailed)

    def keep(self, places: Places, why: str) -> Triplets:
        """Only the triplets at these places; the rest is counted in a note."""
        if len(places) == len(self):
            return self
        neutral = None if self.neutral is None else self.neutral[places]
        lost = np.setdiff1d(np.arange(len(self)), places)
        note = Note("shape", f"{len(lost):,} triplets left out: {why}", len(lost), _shown(self.entailed[lost]))
        return Triplets(self.entailed[places], self.contradicting[places], neutral, (*self.notes, note))

    def keys(self, rows: Hypotheses) -> Keys:
        """One key for the three texts of each triplet."""
        return joined([rows.pair_keys(self.entailed), rows.hypotheses[self.contradicting]])


def nli_labels(found: Labels, place: str, column: str) -> tuple[Codes, Note | None]:
    """Labels as 0, 1, 2, and NO_GOLD for `-`, -1 or null, with a note that counts those.

    Raises DataError, listing them, for labels that are not NLI labels, and where all rows have one label.
    """
    lookup = np.array([_label(value) for value in found.values] + [NO_GOLD], dtype=np.int64)
    strange = [value for value, code in zip(found.values, lookup, strict=False) if code < NO_GOLD]
    if strange:
        shown = ", ".join(repr(value) for value in strange[:5])
        row = found.first(found.values.index(strange[0]))
        remedy = f"NLI labels are {', '.join(NAMES)} or 0, 1, 2; if these rows are something else, set data.shape"
        raise DataError(place, f"column {column!r} holds {shown}, first in row {row}: no NLI labels", remedy)
    codes = lookup[found.codes]
    there = np.unique(codes[codes != NO_GOLD])
    if len(there) < 2:
        name = repr(NAMES[int(there[0])]) if len(there) else "no gold label"
        raise DataError(
            place, f"every row has the label {name}", "add rows with other labels; nothing can be learned from one"
        )
    without = np.flatnonzero(codes == NO_GOLD)
    if not len(without):
        return codes, None
    return codes, Note(
        "shape", f"{len(without):,} rows left out: they have no gold label", len(without), _shown(without)
    )


def _label(value: Any) -> int:
    """0, 1, 2, NO_GOLD, or -2 for what is no NLI label."""
    word = str(value).strip().lower()
    if word in ("-", "-1", ""):
        return NO_GOLD
    if word in NAMES:
        return NAMES.index(word)
    return int(word) if word in ("0", "1", "2") else -2


def speaks_nli(values: Sequence[Any], names_only: bool) -> bool:
    """Whether label values are NLI labels; with `names_only`, 0, 1 and 2 do not count, for they may be anything."""
    words = {str(value).strip().lower() for value in values} - {"-", "-1", ""}
    known = set(NAMES) if names_only else {*NAMES, "0", "1", "2"}
    return bool(words) and words <= known


def hypotheses(premises: Keys, texts: Keys, codes: Codes) -> tuple[Hypotheses, tuple[Note, ...]]:
    """Rows by label, each (premise, hypothesis, label) once, with a note that counts the repeats."""
    gold = np.flatnonzero(codes != NO_GOLD)
    _, first = np.unique(joined([premises[gold], texts[gold], codes[gold]]), return_index=True)
    kept = gold[np.sort(first)]
    by_label = tuple(kept[codes[kept] == label] for label in range(len(NAMES)))
    rows = Hypotheses(premises, texts, (by_label[0], by_label[1], by_label[2]))
    repeats = np.setdiff1d(gold, kept)
    text = f"{len(repeats):,} rows left out: they repeat an earlier premise, hypothesis and label"
    return rows, (Note("shape", text, len(repeats), _shown(repeats)),) if len(repeats) else ()


def triplets(rows: Hypotheses, settings: NliSettings, seed: int, place: str) -> Triplets:
    """Every entailed hypothesis of a premise with every contradicting one, in the order of the rows.

    A triplet whose positive is also its negative is left out. All choices are hashes of (seed, texts). Raises DataError
    where nothing comes of it, and where more than `MOST` triplets would.
    """
    made = _every_pair(rows, place)
    if settings.keep_pairs:
        made = _borrow(made, rows, seed)
    made = _unpaired(made, rows)
    differs = rows.hypotheses[made.entailed] != rows.hypotheses[made.contradicting]
    made = made.keep(np.flatnonzero(differs), "the hypothesis is labelled both ways")
    if settings.neutral:
        made = _with_neutral(made, rows, seed)
    if settings.max_per_premise is not None:
        order = mix(made.keys(rows), seed, "per premise")
        places = _first_by(rows.premises[made.entailed], order, settings.max_per_premise)
        made = made.keep(places, f"more than {settings.max_per_premise} of one premise")
    if not len(made):
        remedy = "keep_pairs keeps premises without a contradiction; otherwise the rows are of no use for triplets"
        raise DataError(place, "no premise has both an entailed and a contradicting hypothesis", remedy)
    return made


def _unpaired(made: Triplets, rows: Hypotheses) -> Triplets:
    """Add a note on the premises that no triplet comes of: few data sets have all labels for each."""
    labelled = np.sort(np.concatenate(rows.by_label))
    premises, first = np.unique(rows.premises[labelled], return_index=True)
    lost = np.sort(labelled[first[~np.isin(premises, rows.premises[made.entailed])]])
    if not len(lost):
        return made
    text = f"{len(lost):,} of {len(premises):,} premises left out: they lack an entailed or a contradicting hypothesis"
    return replace(made, notes=(*made.notes, Note("shape", text, len(lost), _shown(lost))))


def _shown(rows: Places) -> tuple[str, ...]:
    """The first rows, by their number from 1, as examples."""
    return tuple(f"row {int(row) + 1}" for row in rows[:3])


def _every_pair(rows: Hypotheses, place: str) -> Triplets:
    """Every entailed row with every contradicting row of its premise, in the order of the first, then of the second."""
    left, right = rows.by_label[ENTAILMENT], rows.by_label[CONTRADICTION]
    right = right[np.argsort(rows.premises[right], kind="stable")]
    start, count = _blocks(rows.premises[right], rows.premises[left])
    total = int(count.sum())
    if total > MOST:
        raise DataError(
            place, f"its premises make {total:,} triplets", "set a cap on the triplets of a premise (max_per_premise)"
        )
    within = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
    return Triplets(np.repeat(left, count), right[np.repeat(start, count) + within])


def _blocks(ordered: Keys, wanted: Keys) -> tuple[Places, Places]:
    """Where the run of each wanted key begins in ordered keys, and how long it is."""
    start = np.searchsorted(ordered, wanted, side="left")
    return start, np.searchsorted(ordered, wanted, side="right") - start


def _borrow(made: Triplets, rows: Hypotheses, seed: int) -> Triplets:
    """Add the entailed rows of premises without a contradiction, each with a contradiction of another premise."""
    entailed, pool = rows.by_label[ENTAILMENT], rows.by_label[CONTRADICTION]
    lonely = entailed[~np.isin(rows.premises[entailed], rows.premises[pool])]
    if not len(lonely) or not len(pool):
        return made
    pool = pool[np.argsort(rows.pair_keys(pool), kind="stable")]
    chance = mix(rows.pair_keys(lonely), seed, "borrow") % np.uint64(len(pool))
    both = np.r_[made.entailed, lonely], np.r_[made.contradicting, pool[chance.astype(np.int64)]]
    order = np.argsort(both[0], kind="stable")
    text = f"{len(lonely):,} premises without a contradiction kept, with one of another premise chosen by hash"
    note = Note("shape", text, len(lonely))
    return Triplets(both[0][order], both[1][order], None, (*made.notes, note))


def _with_neutral(made: Triplets, rows: Hypotheses, seed: int) -> Triplets:
    """Add a neutral row of the premise, chosen by hash, to every triplet; those without one are left out."""
    neutral = rows.by_label[NEUTRAL]
    neutral = neutral[np.lexsort((rows.hypotheses[neutral], rows.premises[neutral]))]
    start, count = _blocks(rows.premises[neutral], rows.premises[made.entailed])
    has = np.flatnonzero(count > 0)
    chance = mix(made.keys(rows)[has], seed, "neutral") % count[has].astype(np.uint64)
    made = made.keep(has, "their premise has no neutral hypothesis")
    return replace(made, neutral=neutral[start[has] + chance.astype(np.int64)])


def _first_by(groups: Keys, order: Words, most: int) -> Places:
    """The places of the `most` smallest by `order` in every group, ascending."""
    ranked = np.lexsort((order, groups))
    new = np.r_[True, np.diff(groups[ranked]) != 0][: len(ranked)]
    begin = np.maximum.accumulate(np.where(new, np.arange(len(ranked)), 0))
    return np.sort(ranked[np.arange(len(ranked)) - begin < most])
