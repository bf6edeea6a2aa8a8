"""Train, dev and test: rows go to a side by the hash of their group, and no group stands on two.

Classes, labels and score bins each give their share: within such a stratum groups are ranked by their hash, the lowest
make test and the highest dev. New rows move at most the groups next to a border in their own stratum. Shapes without
strata take a plain threshold on the hash, under which new rows move none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embertune.data.groups import group_column
from embertune.data.hashing import Keys, keys_of, mix, unit
from embertune.data.prepared import Corpus, Note, Prepared, Sides
from embertune.data.store import batches
from embertune.data.strata import STRATA, lowest_and_highest, strata_of, stratum_numbers
from embertune.errors import DataError
from embertune.recipe.budget import ENOUGH

LEAST, MOST = 0.05, 0.20
#: Texts of a class that tell its own share of 0.8 to ±30 points at 95 %; with fewer a class's figure says nothing.
ENOUGH_OF_A_CLASS = 7

Mask = npt.NDArray[np.bool_]


def dev_share(groups: int, rows: int) -> tuple[float, str]:
    """The share of groups to hold out for dev, and why: ±3 points at 95 % for a metric near 0.8, within 5 to 20 %."""
    needed = ENOUGH / max(groups, 1)
    share = min(max(needed, LEAST), MOST)
    about = f"about {round(share * groups)} of {groups} groups ({rows} rows)"
    if needed > MOST:
        return share, f"20 % is the most that is held out: {about}; ±3 points would take {ENOUGH} groups"
    if needed < LEAST:
        return share, f"5 % is the least that is held out: {about}; ±3 points at 95 % take {ENOUGH} groups"
    return round(share, 4), f"±3 points at 95 % for a metric near 0.8 take {ENOUGH} groups: {about}"


def hold_out(prepared: Prepared, share: float, seed: int, salt: str = "split") -> tuple[Prepared, Prepared]:
    """The rest and the held-out part: the groups of lowest hash of (seed, salt, group), of each stratum its `share`.

    For classes, every class keeps a group in the rest. Raises DataError where a side would be empty.
    """
    sides = sides_of(prepared, (share, 0.0), seed, salt)
    return _part(prepared, sides == 0, "the rest"), _part(prepared, sides == 1, "what is held out")


def split(
    train: Prepared,
    dev: Prepared | float | None,
    test: Prepared | Mapping[str, Prepared] | float | None,
    seed: int,
) -> Sides:
    """The sides of a run. A number is a share of train's groups to hold out; None is no such side.

    Where the shape has no strata, rows stay on their side when others join the data, but for a row that ties two groups
    together: it makes them one. A class with no group in train gets one back from the other sides.

    Shares take disjoint ends of one order: test from the bottom, dev from the top, so neither moves with the other. A
    test held out takes train's name; a test set alone keeps its own. Raises DataError where a side would be empty.
    """
    shares = (test if isinstance(test, float) else 0.0, dev if isinstance(dev, float) else 0.0)
    if sum(shares) >= 1.0:
        raise DataError("data.dev", f"dev and test take {sum(shares):.0%} of the rows", "leave something to train on")
    tests: dict[str, Prepared] = {}
    if isinstance(test, Prepared):
        tests = {test.name: test}
    elif isinstance(test, Mapping):
        tests = dict(test)
    sides = sides_of(train, shares, seed, "split") if any(shares) else np.zeros(len(train), dtype=np.int64)
    if shares[0]:
        tests = {train.name: _part(train, sides == 1, "test")}
    held = _part(train, sides == 2, "dev") if shares[1] else dev
    assert not isinstance(held, float)
    return Sides(train=_part(train, sides == 0, "train"), dev=held, tests=tests, notes=_notes(train, sides))


def _notes(train: Prepared, sides: Keys) -> tuple[Note, ...]:
    names = ("train", "test", "dev")
    counts = [(name, int((sides == number).sum())) for number, name in enumerate(names)]
    if counts[0][1] == len(sides):
        return ()
    said = ", ".join(f"{count} {name}" for name, count in counts if count)
    within = f", the same share of every {STRATA[train.shape][0]}" if train.shape in STRATA else ""
    text = f"{train.name}: {said}, by the hash of the group ({train.group}){within}"
    told = Note("split", text, len(sides) - counts[0][1])
    return (told, *(note for number in (1, 2) for note in _thin(train, sides == number, names[number])))


def _thin(train: Prepared, held: Mask, side: str) -> tuple[Note, ...]:
    """Which classes or labels have too few groups on a side for a figure of their own; no note where none has."""
    if train.shape not in ("classes", "labelled", "nli") or not held.any():
        return ()
    numbers = stratum_numbers(train)
    here = np.unique(np.stack([numbers[held], group_column(train)[held]]), axis=1)[0]
    counts = np.bincount(here, minlength=int(numbers.max()) + 1)[np.unique(numbers)]
    few = int((counts < ENOUGH_OF_A_CLASS).sum())
    if not few:
        return ()
    none = int((counts == 0).sum())
    text = (
        f"{side}: {few} of {len(counts)} {STRATA[train.shape][1]} have fewer than {ENOUGH_OF_A_CLASS} groups"
        f"{f', {none} of them none' if none else ''}; the figure over all holds, that of a single one does not"
    )
    return (Note("split", text, few),)


def sides_of(prepared: Prepared, shares: tuple[float, float], seed: int, salt: str) -> npt.NDArray[np.int64]:
    """0 for the rest, 1 for the first share, from the bottom of the hash, 2 for the second, from its top; (rows,)."""
    groups = group_column(prepared)
    if prepared.shape in STRATA:
        strata = strata_of(prepared)
        sides = lowest_and_highest(strata, shares, seed, salt)[strata.place]
    else:
        chance = unit(groups, seed, salt)
        sides = np.where(chance < shares[0], 1, np.where(chance >= 1.0 - shares[1], 2, 0))
    if prepared.shape == "classes":
        sides = _keep_classes(prepared, groups, sides, seed)
    return sides.astype(np.int64)


def _keep_classes(prepared: Prepared, groups: Keys, sides: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Bring one group, the first by hash, back to the rest for every class that would have none there."""
    labels = stratum_numbers(prepared)
    order = mix(groups, seed, "keep a class")
    for missing in np.setdiff1d(labels, labels[sides == 0]):
        own = np.flatnonzero(labels == missing)
        back = groups[own[order[own].argmin()]]
        sides = np.where(groups == back, 0, sides)
    return sides


def _part(prepared: Prepared, mask: Mask, side: str) -> Prepared:
    if mask.all():
        return prepared
    if not mask.any():
        remedy = "give more groups, another share, or a file of its own"
        groups = len(np.unique(group_column(prepared)))
        raise DataError(prepared.source, f"nothing would be in {side}: it has {groups} groups", remedy)
    return replace(prepared, rows=prepared.rows.select(np.flatnonzero(mask)))


def dev_corpus(prepared: Prepared, distractors: int = 1000, seed: int = 0) -> Prepared:
    """A retrieval set with a smaller corpus: the documents its rows need, and that many others, by hash of their id.

    For steering training only: scores are higher than over the whole corpus, and comparable only among themselves.
    """
    if prepared.corpus is None:
        return prepared
    needed = {text for piece in batches(prepared.rows, "doc_id") for text in piece.to_pylist()}
    ids, texts = prepared.corpus.ids, prepared.corpus.texts
    others = [place for place, name in enumerate(ids) if name not in needed]
    order = mix(keys_of([ids[place] for place in others]), seed, "distractors").argsort(kind="stable")
    extra = {others[place] for place in order[:distractors]}
    kept = [place for place, name in enumerate(ids) if name in needed or place in extra]
    if len(kept) == len(ids):
        return prepared
    corpus = Corpus(tuple(ids[place] for place in kept), tuple(texts[place] for place in kept))
    note = Note("split", f"dev is searched in {len(kept)} of {len(ids)} documents", len(ids) - len(kept))
    return replace(prepared, corpus=corpus, notes=(*prepared.notes, note))
