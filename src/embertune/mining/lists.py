"""Many lists of numbers as two arrays: which groups an anchor has, which texts a group has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lists:
    """The list of owner i is `members[starts[i]:starts[i + 1]]`: ascending, nothing twice."""

    starts: Places
    members: Places

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, owner: int) -> Places:
        return self.members[self.starts[owner] : self.starts[owner + 1]]

    @property
    def counts(self) -> Places:
        """How long each list is."""
        return np.diff(self.starts)

    def of(self, owners: Places) -> tuple[Places, Places]:
        """The lists of some owners end to end: for every member the place of its owner in `owners`, and the member."""
        starts, counts = self.starts[owners], self.counts[owners]
        places = np.repeat(np.arange(len(owners)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, self.members[np.repeat(starts, counts) + within]


def lists(owners: Places, members: Places, count: int) -> Lists:
    """The lists of `count` owners out of (owner, member) pairs in any order, repeats left out."""
    order = np.lexsort((members, owners))
    owners, members = owners[order], members[order]
    new = np.ones(len(owners), dtype=bool)
    new[1:] = (owners[1:] != owners[:-1]) | (members[1:] != members[:-1])
    starts = np.searchsorted(owners[new], np.arange(count + 1))
    return Lists(starts, members[new])
