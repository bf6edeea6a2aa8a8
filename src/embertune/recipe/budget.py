"""What looking at dev may cost (`guard.budget`): how often it is done, and how much of dev is measured.

Dev is sampled first, down to `ENOUGH` items, then looks grow rarer, down to `FEW`, then dev falls to `LEAST` items and
looks to `FEWEST`. How much of dev is measured follows from the interval alone, so that a resolved recipe, which names
the interval, gives the same sample again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Items that tell a share of 0.8 to ±3 points at 95 %: 0.8 · 0.2 · (1.96 / 0.03)².
ENOUGH = 683
#: Items from which a bootstrap interval holds what it says (docs/lab.md).
LEAST = 300
#: Looks in a run, without the first one before training. With fewer than `FEW`, patience has nothing to wait for.
MOST, FEW, FEWEST = 20, 5, 2


@dataclass(frozen=True)
class Cost:
    """Tokens of a trained row and of a look at dev (texts, where no model has counted tokens).

    A look encodes `items` items with `item` tokens each, `beside` that belong to none of them (documents that answer
    nobody, rows among which neighbours are looked for) and the guard's `probes`. Where dev is sampled, `beside` falls
    to `least`.
    """

    row: float
    item: float
    items: int
    beside: float = 0.0
    least: float = 0.0
    probes: float = 0.0

    @property
    def look(self) -> float:
        """Tokens of a look at the whole dev set."""
        return self.item * self.items + self.beside + self.probes

    def __str__(self) -> str:
        return f"{self.look:,.0f} tokens a look at all {self.items:,} items"


@dataclass(frozen=True)
class Spending:
    """A run of `steps`, that trains on `trained` tokens; looks may encode `share` of them, None for any number."""

    cost: Cost
    steps: int
    trained: float
    share: float | None

    def interval(self) -> int:
        """Steps from one look to the next."""
        every = 1
        for looks in range(MOST, FEWEST - 1, -1):
            every = max(1, math.ceil(self.steps / looks))
            wanted = ENOUGH if looks > FEW else LEAST
            if self._affordable(every) >= min(wanted, self.cost.items):
                break
        return every

    def items(self, every: int) -> int | None:
        """How many items of dev are measured at each look; None for the whole set, with all that stands beside it."""
        found = self._affordable(every)
        return None if found == math.inf else min(self.cost.items, max(LEAST, math.floor(found)))

    def looks(self, every: int) -> int:
        """How often dev is measured in the run, the first time before its first step."""
        return 1 + math.ceil(self.steps / every)

    def _affordable(self, every: int) -> float:
        """Items that may be measured, infinite where the whole set may; below zero where not even what is beside."""
        cost = self.cost
        if self.share is None:
            return math.inf
        allowed = self.share * self.trained / self.looks(every)
        if cost.look <= allowed:
            return math.inf
        return (allowed - cost.probes - cost.least) / cost.item
