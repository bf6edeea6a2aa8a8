"""Which states of a frozen prefix are worth keeping: a pure decision by counting tokens, not seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """A phase in which the embeddings and the lowest `frozen` blocks are frozen, and `tokens` go through the model."""

    frozen: int
    tokens: int


def depths(stretches: Sequence[Stretch], tokens: int) -> tuple[int, ...]:
    """How many blocks deep the store is that each stretch reads; 0 for none.

    All texts have `tokens` tokens. To keep their states behind `s` blocks costs `tokens * s` once, and spares a stretch
    that reads them `s` blocks for each of its tokens. The fewest tokens through blocks win, then the fewest stores,
    then the shallower ones. A store serves all stretches in which at least so many blocks are frozen.
    """
    possible = sorted({stretch.frozen for stretch in stretches if stretch.frozen > 0})
    chosen = _cheapest([0, *possible], stretches, tokens)
    return tuple(max((s for s in chosen if s <= stretch.frozen), default=0) for stretch in stretches)


def cost(stretches: Sequence[Stretch], reads: Sequence[int], tokens: int) -> int:
    """Tokens through frozen blocks where the stretches read stores so deep, to fill these included."""
    trained = sum(stretch.tokens * (stretch.frozen - depth) for stretch, depth in zip(stretches, reads, strict=True))
    return trained + tokens * sum(set(reads))


def _cheapest(levels: Sequence[int], stretches: Sequence[Stretch], tokens: int) -> list[int]:
    """The depths of the stores, ascending, from `levels`, of which the first is 0, no store.

    From above: what all stretches with at least `levels[i]` frozen blocks cost where there is a store so deep is its
    filling, those stretches up to the next store, and what the next one costs.
    """
    best: dict[int, tuple[int, int, tuple[int, ...]]] = {}
    for i in range(len(levels) - 1, -1, -1):
        level, found = levels[i], []
        for j in range(i + 1, len(levels) + 1):
            above = levels[j] if j < len(levels) else None
            mine = (s for s in stretches if s.frozen >= level and (above is None or s.frozen < above))
            price = tokens * level + sum(s.tokens * (s.frozen - level) for s in mine)
            more, stores, deeper = best[above] if above is not None else (0, 0, ())
            found.append((price + more, stores + (level > 0), (level, *deeper)))
        best[level] = min(found)
    return list(best[0][2])
