"""Which rows stand together in a batch: pure functions of seed and epoch, and the stream that feeds the trainer.

In-batch negatives are wrong where a batch holds the same text twice, or two rows of one class. `spread` therefore gives
every row the earliest batch in which nothing it must not meet stands; it takes one pass, however often a text repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import BatchSampler

from embertune.data.prepared import TARGET_COLUMN, Note, Prepared
from embertune.recipe.losses import Sampler

Codes = NDArray[np.int64]
Batches = list[list[int]]


@dataclass(frozen=True)
class Keys:
    """What rows must not share within a batch, as integers per distinct text or class.

    `exclusive`, (rows, k): may stand once in a batch. `tolerated`, (rows, m): may repeat among themselves (negatives),
    but not meet the same code in `exclusive`.
    """

    exclusive: Codes
    tolerated: Codes
    count: int


def keys_of_texts(train: Prepared) -> Keys:
    """Anchors and positives are exclusive, negatives tolerated; equal texts have equal codes across columns."""
    codes: dict[str, int] = {}
    columns = {c: [codes.setdefault(t, len(codes)) for t in train.rows[c]] for c in train.text_columns}
    exclusive = np.array([columns[c] for c in train.text_columns[:2]], dtype=np.int64).T
    negatives = [columns[c] for c in train.text_columns[2:]]
    tolerated = np.array(negatives, dtype=np.int64).T if negatives else np.empty((len(train), 0), np.int64)
    return Keys(exclusive, tolerated, len(codes))


def spread(order: Codes, keys: Keys, size: int) -> Batches:
    """Rows in `order`, each in the earliest batch that has room and holds none of its keys.

    There are as many batches as rows fill; a row that fits in none of them is left out of this epoch, which happens
    only where a text repeats in nearly every batch. Batches of a single row teach nothing: the last one gets a second
    from the one before, the others are left out (`left_out` counts both).
    """
    most = -(-len(order) // size)
    batches: Batches = [[] for _ in range(most)]
    after_exclusive = np.zeros(keys.count, np.int64).tolist()
    after_any = np.zeros(keys.count, np.int64).tolist()
    exclusive, tolerated = keys.exclusive.tolist(), keys.tolerated.tolist()
    roomy = list(range(most + 1))
    for row in order.tolist():
        mine, others = exclusive[row], tolerated[row]
        earliest = max([after_any[c] for c in mine] + [after_exclusive[c] for c in others])
        place = _next_with_room(roomy, min(earliest, most))
        if place == most:
            continue
        batches[place].append(row)
        if len(batches[place]) == size:
            roomy[place] = place + 1
        for code in mine:
            after_exclusive[code] = after_any[code] = place + 1
        for code in others:
            after_any[code] = max(after_any[code], place + 1)
    filled = [batch for batch in batches if batch]
    _accompany(filled, keys)
    return [batch for batch in filled if len(batch) > 1]


def _accompany(batches: Batches, keys: Keys) -> None:
    """Give a row that stands alone in the last batch company from the batch before (changes `batches`)."""
    if len(batches) < 2 or len(batches[-1]) != 1 or len(batches[-2]) < 3:
        return
    own = batches[-1][0]
    exclusive, tolerated = set(keys.exclusive[own].tolist()), set(keys.tolerated[own].tolist())
    for place, row in enumerate(batches[-2]):
        others = set(keys.exclusive[row].tolist())
        if others.isdisjoint(exclusive | tolerated) and exclusive.isdisjoint(keys.tolerated[row].tolist()):
            batches[-1].append(batches[-2].pop(place))
            return


def _next_with_room(roomy: list[int], place: int) -> int:
    """The first batch from `place` on that is not full; paths are halved on the way (Tarjan & van Leeuwen 1984)."""
    while roomy[place] != place:
        roomy[place] = roomy[roomy[place]]
        place = roomy[place]
    return place


def distinct(train: Prepared, size: int) -> Callable[[int, int], Batches]:
    """No text twice in a batch, equal negatives aside."""
    keys = keys_of_texts(train)
    return lambda seed, epoch: spread(_order(len(train), seed, epoch), keys, size)


def shuffled(train: Prepared, size: int) -> Callable[[int, int], Batches]:
    """Any order; no batch of one row."""
    rows = len(train)
    cuts = list(range(size, rows, size))
    if rows % size == 1 and size > 2 and cuts:
        cuts[-1] -= 1
    return lambda seed, epoch: [c.tolist() for c in np.split(_order(rows, seed, epoch), cuts) if len(c) > 1]


def class_pairs(train: Prepared, size: int) -> Callable[[int, int], Batches]:
    """`size` pairs of rows (2 * `size` indices, partners side by side), each pair of another class.

    Every row is an anchor once an epoch; its partner is another text of its class, a new one each epoch. A class of one
    text makes no pair.
    """
    labels = np.asarray(train.rows[TARGET_COLUMN["classes"]], dtype=np.int64)
    codes = text_codes(train)

    def plan(seed: int, epoch: int) -> Batches:
        order = _order(len(labels), seed, epoch)
        members = _by_class(order, labels)
        pairs = np.concatenate([pairs_in_turn(apart(m, codes), codes) for m in members])
        if not len(pairs):
            return []
        pairs = pairs[_order(len(pairs), seed, epoch)]
        batches = spread(np.arange(len(pairs)), _keys_of_classes(labels[pairs[:, 0]]), size)
        return [pairs[batch].reshape(-1).tolist() for batch in batches]

    return plan


def class_groups(train: Prepared, size: int) -> Callable[[int, int], Batches]:
    """Several rows of each of several classes: what the triplet losses over a batch need. `size` is at least 4."""
    labels = np.asarray(train.rows[TARGET_COLUMN["classes"]], dtype=np.int64)
    codes = text_codes(train)
    each = rows_of_a_class(len(np.unique(labels)), size)

    def plan(seed: int, epoch: int) -> Batches:
        members = [apart(m, codes) for m in _by_class(_order(len(labels), seed, epoch), labels)]
        groups = [part for m in members for part in np.array_split(m, -(-len(m) // each)) if len(part) > 1]
        if not groups:
            return []
        of_class = np.array([labels[g[0]] for g in groups], dtype=np.int64)
        batches = spread(_order(len(groups), seed, epoch), _keys_of_classes(of_class), size // each)
        return [np.concatenate([groups[i] for i in batch]).tolist() for batch in batches]

    return plan


def rows_of_a_class(classes: int, size: int) -> int:
    """How many rows of a class stand together in a batch of class groups."""
    return max(2, size // min(max(1, classes), max(2, size // 4)))


def text_codes(train: Prepared) -> Codes:
    """A number for the text of every row of classes, (rows,): equal texts have equal numbers."""
    codes: dict[str, int] = {}
    return np.array([codes.setdefault(text, len(codes)) for text in train.rows["text"]], dtype=np.int64)


def apart(order: Codes, codes: Codes) -> Codes:
    """The rows in `order`, moved as far as copies of a text (equal `codes`) need so as not to stand side by side.

    First one of each text, then the second copies, and so on; rows whose texts differ keep their order.
    """
    own = codes[order]
    sorted_ = np.argsort(own, kind="stable")
    new = np.flatnonzero(np.diff(own[sorted_], prepend=-1))
    if len(new) == len(own):
        return order
    copy = np.empty(len(own), np.int64)
    copy[sorted_] = np.arange(len(own)) - np.repeat(new, np.diff(new, append=len(own)))
    found = order[np.argsort(copy, kind="stable")].tolist()
    for i in range(1, len(found) - 1):
        if codes[found[i]] == codes[found[i - 1]] != codes[found[i + 1]]:
            found[i], found[i + 1] = found[i + 1], found[i]
    return np.array(found, dtype=np.int64)


def pairs_in_turn(order: Codes, codes: Codes) -> Codes:
    """Each row with the one before it, the first with the last, (pairs, 2); no row with its own text."""
    before = np.roll(order, 1)
    differ = codes[order] != codes[before]
    return np.stack([order[differ], before[differ]], axis=1)


def _keys_of_classes(labels: Codes) -> Keys:
    return Keys(labels[:, None], np.empty((len(labels), 0), np.int64), int(labels.max()) + 1)


def _by_class(order: Codes, labels: Codes) -> list[Codes]:
    ranked = order[np.argsort(labels[order], kind="stable")]
    return np.split(ranked, np.flatnonzero(np.diff(labels[ranked])) + 1)


def _order(count: int, seed: int, epoch: int) -> Codes:
    return np.random.default_rng([seed, epoch]).permutation(count)


SAMPLERS: dict[Sampler, Callable[[Prepared, int], Callable[[int, int], Batches]]] = {
    "distinct": distinct,
    "class_pairs": class_pairs,
    "class_groups": class_groups,
    "shuffled": shuffled,
}


class Stream(BatchSampler):
    """All batches of a run in order, epoch after epoch, from batch `start` on: a pure function of seed and position."""

    def __init__(self, plan: Callable[[int, int], Batches], seed: int, batches: int, start: int = 0) -> None:
        self.plan, self.seed, self.batches, self.start = plan, seed, batches, start

    def __len__(self) -> int:
        return self.batches - self.start

    def __iter__(self) -> Iterator[list[int]]:
        position, epoch = 0, 0
        while position < self.batches:
            for batch in self.plan(self.seed, epoch):
                if self.start <= position < self.batches:
                    yield batch
                position += 1
            epoch += 1


#: Why rows stay out of a pass, by sampler.
_WHY: dict[Sampler, str] = {
    "distinct": "every batch already had one of their texts, which may stand in it once",
    "class_pairs": "their class has no other row, or has more rows than there are batches",
    "class_groups": "their class has no other row to stand with, or has more rows than the batches take",
    "shuffled": "a batch of one row teaches nothing",
}


def left_out(train: Prepared, sampler: Sampler, first: Batches) -> tuple[Note, ...]:
    """The rows that the first pass leaves out, as a note with examples; no note where there are none.

    For pairs of classes every row should be an anchor once a pass, so those that are none count as left out.
    """
    step = 2 if sampler == "class_pairs" else 1
    here = np.ones(len(train), dtype=bool)
    for batch in first:
        here[batch[::step]] = False
    missing = np.flatnonzero(here)
    if not len(missing):
        return ()
    examples = tuple(" | ".join(train.rows[int(row)][c] for c in train.text_columns) for row in missing[:5])
    text = f"{len(missing):,} of {len(train):,} training rows stay out of the first pass: {_WHY[sampler]}"
    return (Note("batches", text, len(missing), examples),)
