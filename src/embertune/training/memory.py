"""What a training step needs at its worst, and which setting makes it fit: arithmetic on what was measured.

`training/weigh` measures, this decides. Everything is in bytes, and beyond what is taken before training begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embertune.errors import TrainingError
from embertune.recipe.measured import Measured
from embertune.training.texts import cut

IntArray = NDArray[np.int64]

#: The share of free memory that `auto` fills: others take memory too, and allocators keep some of it in pieces.
FILLED = 0.8
#: What a step holds for a moment beside what it keeps for the way back: gradients of the widest activations. Measured
#: as growth of whole processes: docs/lab.md.
PASSING = 1.25
#: Vectors of texts are held three times (as embedded, as leaves, as gradients), in float32.
_VECTORS = 3 * 4


@dataclass(frozen=True)
class Cost:
    """Bytes that something of size n keeps for the way back: `linear` n + `square` n²."""

    linear: float
    square: float = 0.0

    def each(self, sizes: IntArray) -> NDArray[np.float64]:
        """For every size."""
        n = sizes.astype(np.float64)
        found: NDArray[np.float64] = self.linear * n + self.square * n * n
        return found

    def of(self, sizes: IntArray) -> float:
        """For all sizes together."""
        return float(self.each(sizes).sum())


def through(first: tuple[int, float], second: tuple[int, float]) -> Cost:
    """The cost that goes through two measurements (size, bytes), the first the larger; neither term is negative."""
    (n, high), (m, low) = first, second
    square = max(0.0, (high / n - low / m) / (n - m)) if n != m else 0.0
    return Cost(max(0.0, high / n - square * n), square)


@dataclass(frozen=True)
class Memory:
    """What training needs.

    `lengths` (rows, columns) are the real tokens of the worst batch, the longest rows first, and `rows` their places in
    the training rows. `text` is the cost of a text by its tokens, `call` what a call of the model keeps whatever the
    texts (weights in another precision), `loss` the cost of the loss by the rows of a batch. `padded` tells that
    padding costs what tokens do. `fixed` are gradients, the optimizer's state, the average, the best weights, and what
    remedies go back to. `dimensions` is the length of a vector; `chunks` tells whether batches can be cut into
    chunks.
    """

    lengths: IntArray
    text: Cost
    loss: Cost
    fixed: float
    dimensions: int
    call: float = 0.0
    padded: bool = False
    chunks: bool = True
    rows: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def batch(self) -> int:
        """Rows of a batch."""
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Real tokens of the worst batch."""
        return int(self.lengths.sum())

    def need(self, chunk: int | None, batch: int | None = None, longest: int | None = None) -> float:
        """Bytes of the worst step in chunks of so many tokens (None: uncut), of so many rows, no text longer."""
        lengths = self.lengths[:batch]
        lengths = lengths if longest is None else np.minimum(lengths, longest)
        kept = self._uncut(lengths) if chunk is None else self._cut(lengths, chunk)
        vectors = _VECTORS * self.dimensions * lengths.size
        return self.fixed + vectors + PASSING * (kept + 2 * self.loss.of(np.array([len(lengths)])))

    def _uncut(self, lengths: IntArray) -> float:
        if not self.padded:
            return self.call + self.text.of(lengths)
        return int(lengths.shape[1]) * self.call + self.text.of(np.broadcast_to(lengths.max(axis=0), lengths.shape))

    def _cut(self, lengths: IntArray, chunk: int) -> float:
        """The worst chunk of those that `training/chunked` makes of these texts."""
        ordered = np.sort(lengths.reshape(-1))[::-1]
        sizes = np.array(cut(ordered.tolist(), chunk), dtype=np.int64)
        firsts = np.cumsum(sizes) - sizes
        each = self.text.each(ordered)
        chunks = each[firsts] * sizes if self.padded else np.add.reduceat(each, firsts)
        return self.call + float(chunks.max())

    def largest_chunk(self, free: float) -> int | None:
        """The largest chunk in tokens that fits; a round number, so that a little more memory changes nothing."""
        return next((c for c in _round_numbers(self.tokens) if self.need(c) <= free), None) if self.chunks else None

    def largest_batch(self, free: float) -> int | None:
        """The most rows of a batch that fit, in the smallest chunks where there are chunks."""
        chunk = 1 if self.chunks else None
        return _largest(2, self.batch, lambda batch: self.need(chunk, batch) <= free)

    def largest_length(self, free: float) -> int | None:
        """The longest texts of which the smallest batch fits."""
        chunk = 1 if self.chunks else None
        return _largest(2, int(self.lengths.max()), lambda longest: self.need(chunk, 2, longest) <= free)


def _largest(least: int, most: int, fits: Callable[[int], bool]) -> int | None:
    """The largest whole number that fits, from `least` to `most`; None where not even `least` does."""
    if not fits(least):
        return None
    low, high = least, max(least, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _round_numbers(most: int) -> Iterator[int]:
    """Whole numbers of three binary digits, from `most` down to 1."""
    value = most
    while value > 0:
        step = 1 << max(0, value.bit_length() - 3)
        value = value // step * step
        yield value
        value -= 1


#: Runs the worst batch once in chunks of so many tokens (None: uncut); False where memory runs out.
Trial = Callable[[int | None], bool]


def no_trial(_: int | None) -> bool:
    """Takes for granted that what was counted is enough."""
    return True


def decide(memory: Memory, free: int | None, trial: Trial = no_trial) -> Measured:
    """`train.chunk`: None where the worst batch fits as it is, else the largest chunk that does.

    Raises `TrainingError` where nothing fits.
    """
    figures = {"longest_batch_tokens": float(memory.tokens), "needed_bytes": memory.need(None)}
    if free is None:
        return Measured(None, "how much memory there is, or how much a step takes, cannot be told here", figures)
    figures["free_bytes"] = float(free)
    told = f"the longest batch ({_batch(memory)}) needs about {gib(memory.need(None))}, and {gib(free)} are free"
    if memory.need(None) <= FILLED * free and trial(None):
        return Measured(None, told, figures)
    chunk = memory.largest_chunk(FILLED * free) or memory.largest_chunk(free)
    while chunk is not None and not trial(chunk):
        chunk = chunk // 2 if chunk > memory.lengths.max() else None
    if chunk is None:
        raise TrainingError(*_fault(memory, None, free))
    return Measured(chunk, f"{told}; in such chunks about {gib(memory.need(chunk))}", figures)


def refuse(memory: Memory, chunk: int | None, free: int | None, trial: Trial = no_trial) -> None:
    """`TrainingError` where the worst batch does not fit in chunks of so many tokens: with a setting that does."""
    if free is None:
        return
    if memory.need(chunk) > free:
        raise TrainingError(*_fault(memory, chunk, free))
    if not trial(chunk):
        raise TrainingError(*_fault(memory, chunk, min(free, memory.need(chunk) / 2)))


def _fault(memory: Memory, chunk: int | None, free: float) -> tuple[str, str, str]:
    """Where, what was found and what would do."""
    way = "" if chunk is None else f" in chunks of {chunk:,} tokens"
    found = f"the longest batch ({_batch(memory)}) needs about {gib(memory.need(chunk))}{way}, and {gib(free)} are free"
    settings: tuple[tuple[str, Callable[[float], int | None]], ...] = (
        ("train.chunk", memory.largest_chunk),
        ("train.batch_size", memory.largest_batch),
        ("model.max_length", memory.largest_length),
    )
    for where, largest in settings:
        for part in (FILLED, 1.0):
            if (fitting := largest(part * free)) is not None:
                return where, found, f"write {where}: {fitting}"
    return "memory", found, "free some memory, or take a smaller model"


def _batch(memory: Memory) -> str:
    return f"{memory.batch:,} rows, {memory.tokens:,} tokens"


def gib(size: float) -> str:
    """Bytes for people to read."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.0f} MiB"
