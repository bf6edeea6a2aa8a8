"""What looking at dev may cost (`guard.budget`): how often it is done, and how much of dev is measured.

Dev is sampled first, down to `ENOUGH` items, then looks grow rarer, down to `FEW`, then dev falls to `LEAST` items and
looks to `FEWEST`. Up to `FEW` looks may take `FREE` tokens in any case: that is seconds, and two looks cannot tell when
it is enough. How much of dev is measured follows from the interval alone, so that a resolved recipe, which names the
interval, gives the same sample again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: Items that tell a share of 0.8 to ±3 points at 95 %: 0.8 · 0.2 · (1.96 / 0.03)².
ENOUGH = 683
#: Items from which a bootstrap interval holds what it says (docs/lab.md).
LEAST = 300
#: Tokens that up to `FEW` looks together may encode whatever the share: those of some thousand short texts.
FREE = 20_000
#: Looks in a run, without the first one before training. With fewer than `FEW`, patience has nothing to wait for.
MOST, FEW, FEWEST = 20, 5, 2
#: Rows of each side that a look probes. A small run has one for each hundred it trains on, from the first of these to
#: the second; a large one for each thousand, up to the third: twenty looks at two sides then encode 4 % of what is
#: trained.
PROBED = (12, 24, 256)


def probed_rows(trained: int) -> int:
    """How many rows of each side a look probes in a run that trains on so many, passes counted."""
    least, enough, most = PROBED
    return max(least, min(enough, trained // 100), min(most, trained // 1_000))


@dataclass(frozen=True)
class Cost:
    """Tokens of a trained row and of a look at dev (texts, where no model has counted tokens).

    A look encodes `items` items with `item` tokens each, and `beside` that belong to none of them (documents that
    answer nobody, rows among which neighbours are looked for), which falls to `least` where dev is sampled; and rows of
    so many `sides` for the guard's probes. `of` are the items of the whole dev set, where that is not measured.
    """

    row: float
    item: float
    items: int
    beside: float = 0.0
    least: float = 0.0
    sides: int = 0
    of: int = 0

    @property
    def look(self) -> float:
        """Tokens of a look at all of `items`, without probes."""
        return self.item * self.items + self.beside

    def __str__(self) -> str:
        part = f"{self.items:,} of {self.of:,}" if self.of else f"all {self.items:,}"
        return f"{self.look:,.0f} tokens a look at {part} items"

    def at(self, items: int | None) -> Cost:
        """What looking at so many items costs, by their mean; None, or as many as there are, is the whole set."""
        if items is None or items >= self.items:
            return self
        return replace(self, items=items, beside=self.least, of=self.items)


@dataclass(frozen=True)
class Spending:
    """A run of `steps`, that trains on `trained` tokens; looks may encode `share` of them, None for any number.

    Of dev so many rows are probed as `steering` says, where their loss steers. Once training is over, so many states
    are looked at as `later` says, to choose among them; without probes.
    """

    cost: Cost
    steps: int
    trained: float
    share: float | None
    steering: int = 0
    later: int = 0

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

    @property
    def probes(self) -> float:
        """Tokens that the probes of a look encode."""
        rows = probed_rows(int(self.trained / self.cost.row))
        more = max(0, min(self.steering, self.cost.items) - rows) if self.cost.sides > 1 else 0
        return self.cost.row * (self.cost.sides * rows + more)

    def limit(self, every: int) -> float:
        """Tokens that all looks together may encode."""
        if self.share is None:
            return math.inf
        return max(self.share * self.trained, FREE if self.looks(every) <= 1 + FEW else 0.0)

    def allowed(self, every: int) -> float:
        """Tokens of dev that a look may encode."""
        looks = self.looks(every)
        return (self.limit(every) - looks * self.probes) / (looks + self.later)

    def looks(self, every: int) -> int:
        """How often dev is measured in training, the first time before its first step."""
        return 1 + math.ceil(self.steps / every)

    def room_for(self, later: int, every: int | None) -> bool:
        """Whether beside so many looks for the choice there are `FEW`, or those that `every` asks, at enough of dev."""
        made = replace(self, later=later)
        every = every or max(1, math.ceil(self.steps / FEW))
        return made._affordable(every) >= min(LEAST, self.cost.items)

    def _affordable(self, every: int) -> float:
        """Items that may be measured, infinite where the whole set may; below zero where not even what is beside."""
        allowed = self.allowed(every)
        if self.cost.look <= allowed:
            return math.inf
        return (allowed - self.cost.least) / self.cost.item
