"""Is a side like train: in its labels, its lengths and its words; a test each, and how much it matters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, ks_2samp

from embertune.data.findings import Finding
from embertune.data.groups import group_column
from embertune.data.hashing import Keys, mix
from embertune.data.keyed import Keyed
from embertune.data.store import batches
from embertune.data.texts import EXAMPLES, Column
from embertune.data.words import is_unspaced

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Chance gives a difference as large less often than this.
UNLIKELY = 0.001
#: And it must matter: Cohen's w for shares (0.1 is "small", Cohen 1988), the largest gap between two distribution
#: functions for lengths and scores, and for words the divergence as a multiple of that within train.
MATTERS, MATTERS_WORDS = 0.1, 1.25
#: Fewer rows tell nothing; of more rows words are read from a sample.
FEW, SAMPLE = 30, 2000
#: Parts of train that are compared with the rest of train, to see what chance gives.
PARTS = 5
#: Characters of a text whose words are read.
READ = 2000
#: Characters that say whether a text is written without spaces between words.
JUDGED = 40

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, eq=False)
class _Side:
    """A side with its groups (rows,), and one row of each: rows of a group are alike, and tests count what is not."""

    keyed: Keyed
    columns: Mapping[str, Column]
    groups: Keys
    units: Ints

    def each(self, values: npt.NDArray[np.generic]) -> Floats:
        return np.asarray(values[self.units], dtype=np.float64)


def _side(held: Keyed, columns: Sequence[Column]) -> _Side:
    groups = group_column(held.prepared)
    return _Side(held, {column.name: column for column in columns}, groups, np.unique(groups, return_index=True)[1])


def findings_of_likeness(train: Keyed, held: Keyed, lengths: Sequence[Sequence[Column]], seed: int) -> list[Finding]:
    """What sets a side apart from train, or one finding that says that nothing does.

    `lengths` are the columns of train and of the side as they were read. Only what both have is compared.
    """
    if min(len(train), len(held)) < FEW:
        text = f"with {min(len(train), len(held))} rows nobody can tell whether it is like train"
        return [Finding("too_few_to_compare", held.side, text, len(held))]
    shared = [column for column in held.prepared.text_columns if column in train.prepared.text_columns]
    ours, theirs = _side(train, lengths[0]), _side(held, lengths[1])
    found = [_labels(ours, theirs), *_lengths(ours, theirs, shared), _words(ours, theirs, shared, seed)]
    differences = [finding for finding in found if finding is not None]
    if differences or not shared:
        return differences
    compared = "labels, lengths and words" if _comparable(train, held) else "lengths and words"
    return [Finding("like_train", held.side, f"is like train in {compared}")]


def _comparable(train: Keyed, held: Keyed) -> bool:
    return train.targets is not None and held.targets is not None and train.prepared.shape == held.prepared.shape


def _labels(train: _Side, held: _Side) -> Finding | None:
    side = held.keyed.side
    if not _comparable(train.keyed, held.keyed):
        return None
    assert train.keyed.targets is not None
    assert held.keyed.targets is not None
    if held.keyed.prepared.shape == "scored":
        text = "scores are spread in another way than in train: median {here:.2f} against {there:.2f} (D {gap:.2f})"
        return _gap("other_labels", side, train.each(train.keyed.targets), held.each(held.keyed.targets), text)
    names = tuple(dict.fromkeys([*_names(train.keyed), *_names(held.keyed)]))
    ours, theirs = _counts(train.keyed, names), _counts(held.keyed, names)
    p, effect = shares_differ(ours, theirs)
    if p >= UNLIKELY or effect < MATTERS:
        return None
    here, there = theirs / theirs.sum(), ours / ours.sum()
    moved = float(np.abs(here - there).sum() / 2)
    most = np.argsort(-np.abs(here - there), kind="stable")[:EXAMPLES]
    shown = tuple(f"{names[place]}: {here[place]:.1%}, in train {there[place]:.1%}" for place in most)
    text = f"labels have other shares than in train; {moved:.0%} of the rows would have to change (w {effect:.2f})"
    return Finding("other_labels", side, text, round(moved * theirs.sum()), int(theirs.sum()), shown)


def _names(side: Keyed) -> tuple[str, ...]:
    return side.prepared.classes or ("0", "1", "2")


def _counts(side: Keyed, names: Sequence[str]) -> Floats:
    places = np.array([names.index(name) for name in _names(side)])
    assert side.targets is not None
    return np.bincount(places[side.targets.astype(np.int64)], minlength=len(names)).astype(np.float64)


def shares_differ(ours: Floats, theirs: Floats) -> tuple[float, float]:
    """The p-value of a G-test that two counts have the same shares, and Cohen's w of their difference.

    Labels of which fewer than five would be expected are pooled, as the test needs (Cochran 1954).
    """
    table = np.stack([ours, theirs])
    table = table[:, table.sum(axis=0) > 0]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    rare = expected.min(axis=0) < 5
    if rare.any():
        table = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
        expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    if table.shape[1] < 2:
        return 1.0, 0.0
    ratio = np.divide(table, expected, out=np.ones_like(table), where=table > 0)
    statistic = 2 * float((table * np.log(ratio)).sum())
    there, here = table[0] / table[0].sum(), table[1] / table[1].sum()
    effect = float(np.sqrt((np.square(here - there) * 2 / (here + there)).sum()))
    return float(chi2.sf(statistic, table.shape[1] - 1)), effect


def _lengths(train: _Side, held: _Side, shared: Sequence[str]) -> list[Finding | None]:
    found = []
    for name in shared:
        ours, theirs = train.columns[name], held.columns[name]
        medians = f"median {{here:g}} {theirs.unit} against {{there:g}} (D {{gap:.2f}})"
        text = f"{name} has other lengths than in train: {medians}"
        found.append(_gap("other_lengths", held.keyed.side, train.each(ours.lengths), held.each(theirs.lengths), text))
    return found


def _gap(kind: str, side: str, ours: Floats, theirs: Floats, text: str) -> Finding | None:
    """A Kolmogorov-Smirnov test; `text` may name the medians `here` and `there` and the `gap`."""
    tested = ks_2samp(ours, theirs, method="asymp")
    if tested.pvalue >= UNLIKELY or tested.statistic < MATTERS:
        return None
    gap = float(tested.statistic)
    filled = text.format(here=float(np.median(theirs)), there=float(np.median(ours)), gap=gap)
    return Finding(kind, side, filled, round(gap * len(theirs)), len(theirs))


@dataclass(frozen=True)
class Divergence:
    """How far words lie apart: `side` from train, and `within`, parts of train from the rest; in bits, 0 to 1.

    `unseen` is the share of the side's words that the rest of train does not have, `unseen_within` that of its parts.
    """

    side: float
    within: tuple[float, ...]
    unseen: float
    unseen_within: float

    @property
    def differs(self) -> bool:
        """Whether the side is further off than any part of train, and by enough to matter."""
        mean, spread = float(np.mean(self.within)), float(np.std(self.within, ddof=1))
        return self.side > max(MATTERS_WORDS * mean, mean + 4 * spread, *self.within)


def _words(train: _Side, held: _Side, shared: Sequence[str], seed: int) -> Finding | None:
    size = min(len(held.groups), len(train.groups) // PARTS, SAMPLE)
    if size < FEW or not shared:
        return None
    parts = np.array_split(_first_rows(train, PARTS * size, seed), PARTS)
    counted = [_counted(train, places, shared) for places in parts]
    counted.append(_counted(held, _first_rows(held, size, seed), shared))
    found, most = divergence(counted)
    if not found.differs:
        return None
    apart = f"(Jensen-Shannon {found.side:.3f} against {float(np.mean(found.within)):.3f} bits)"
    text = (
        f"uses other words than train: {found.unseen:.0%} of its words do not stand in a sample of train, where of a "
        f"part of train {found.unseen_within:.0%} do not {apart}"
        if found.unseen > MATTERS_WORDS * found.unseen_within
        else f"uses words in other shares than train does, further apart than parts of train from each other {apart}"
    )
    return Finding("other_words", held.keyed.side, text, 0, 0, tuple(most))


def _first_rows(side: _Side, count: int, seed: int) -> Ints:
    """Rows of the groups whose hash is lowest, in that order."""
    return np.asarray(np.argsort(mix(side.groups, seed, "likeness"), kind="stable")[:count], dtype=np.int64)


def _counted(side: _Side, places: Ints, columns: Sequence[str]) -> Counter[str]:
    rows = side.keyed.prepared.rows.select(np.sort(places))
    counts: Counter[str] = Counter()
    for column in columns:
        for text in (text for piece in batches(rows, column) for text in piece.to_pylist()):
            plain = text[:READ].lower()
            counts.update([c for c in plain if c.isalpha()] if is_unspaced(plain[:JUDGED]) else _WORD.findall(plain))
    return counts


def divergence(counted: Sequence[Counter[str]]) -> tuple[Divergence, list[str]]:
    """Of parts of train, and last the side: how far they lie apart, and the words that do most for it.

    The side is compared with what is left of train without each part in turn, as that part is: samples of the same
    size are equally far apart by chance.
    """
    words = sorted(set().union(*counted))
    table = np.array([[counts[word] for word in words] for counts in counted], dtype=np.float64)
    side, parts = table[-1], table[:-1]
    rests = [parts.sum(axis=0) - part for part in parts]
    apart = [_js(side, rest) for rest in rests]
    within = tuple(float(_js(part, rest).sum()) for part, rest in zip(parts, rests, strict=True))
    by_word = np.mean(apart, axis=0) * (side / side.sum() > parts.sum(axis=0) / parts.sum())
    most = [words[place] for place in np.argsort(-by_word, kind="stable")[: 2 * EXAMPLES] if by_word[place] > 0]
    unseen = float(np.mean([_unseen(side, rest) for rest in rests]))
    unseen_within = float(np.mean([_unseen(part, rest) for part, rest in zip(parts, rests, strict=True)]))
    return Divergence(float(np.mean([one.sum() for one in apart])), within, unseen, unseen_within), most


def _unseen(counts: Floats, known: Floats) -> float:
    return float(counts[known == 0].sum() / max(counts.sum(), 1.0))


def _js(one: Floats, other: Floats) -> Floats:
    """What each word adds to the Jensen-Shannon divergence of two counts, in bits."""
    p, q = one / max(one.sum(), 1.0), other / max(other.sum(), 1.0)
    middle = (p + q) / 2
    total: Floats = np.zeros_like(p)
    for share in (p, q):
        ratio = np.divide(share, middle, out=np.ones_like(share), where=share > 0)
        total += share * np.log2(ratio) / 2
    return total
