"""Which states of a frozen prefix are worth keeping: a pure decision by counting tokens, not seconds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """A phase in which the embeddings and the lowest `frozen` blocks are frozen, and `tokens` go through the model."""

    frozen: int
    tokens: int


def depths(stretches: Sequence[Stretch], tokens: int, there: Collection[int] = ()) -> tuple[int, ...]:
    """How many blocks deep the store is that each stretch reads; 0 for none.

    All texts have `tokens` tokens. To keep their states behind `s` blocks costs `tokens * s` once (nothing for those
    that are `there`), and spares a stretch that reads them `s` blocks for each of its tokens. The fewest tokens through
    blocks win, then the fewest stores, then the shallower ones. A store serves all stretches in which at least so many
    blocks are frozen.
    """
    possible = sorted({0, *(s.frozen for s in stretches), *there})
    prices = {level: 0 if level in there else tokens * level for level in possible}
    chosen = _cheapest(prices, stretches)
    return tuple(max((s for s in chosen if s <= stretch.frozen), default=0) for stretch in stretches)


def cost(stretches: Sequence[Stretch], reads: Sequence[int], tokens: int) -> int:
    """Tokens through frozen blocks where the stretches read stores so deep, to fill these included."""
    trained = sum(stretch.tokens * (stretch.frozen - depth) for stretch, depth in zip(stretches, reads, strict=True))
    return trained + tokens * sum(set(reads))


def _cheapest(prices: Mapping[int, int], stretches: Sequence[Stretch]) -> tuple[int, ...]:
    """The depths of the stores, ascending, of those that have prices; the first is 0, no store.

    From above: what all stretches with at least so many frozen blocks cost where there is a store so deep is its price,
    those stretches up to the next store, and what the next one costs.
    """
    levels = [*prices, math.inf]
    best: dict[float, tuple[float, int, tuple[int, ...]]] = {math.inf: (0, 0, ())}
    for level in sorted(prices, reverse=True):
        found = []
        for above in levels[levels.index(level) + 1 :]:
            mine = (s for s in stretches if level <= s.frozen < above)
            price = prices[level] + sum(s.tokens * (s.frozen - level) for s in mine)
            more, stores, deeper = best[above]
            found.append((price + more, stores + (prices[level] > 0), (level, *deeper)))
        best[level] = min(found)
    return best[0][2]
