"""How padded rows of tokens lie flat: sorted by length, without padding, and how to find every token again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Run:
    """`count` texts of `length` tokens each, one after the other from token `start` on."""

    start: int
    count: int
    length: int

    @property
    def tokens(self) -> int:
        """All tokens of the run."""
        return self.count * self.length


@dataclass(frozen=True)
class Layout:
    """T real tokens of one or more padded blocks (columns of a batch), texts sorted by length.

    `index` (T,) is the place of each flat token in the blocks, laid end to end and flattened; `shapes` are the blocks'
    (rows, width). `runs` cover the T tokens in order.
    """

    index: Tensor
    runs: tuple[Run, ...]
    shapes: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        """T, the number of real tokens."""
        return sum(run.tokens for run in self.runs)

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return self.runs[-1].length

    @property
    def places(self) -> int:
        """Real and padded tokens of all blocks together."""
        return sum(rows * width for rows, width in self.shapes)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every text, (texts,), in the order in which they lie flat."""
        return np.repeat([run.length for run in self.runs], [run.count for run in self.runs])

    def lay(self, blocks: Sequence[Tensor]) -> Tensor:
        """Blocks of (rows, width), one for each of `shapes`, as one flat (1, T)."""
        flat = blocks[0].reshape(-1) if len(blocks) == 1 else torch.cat([block.reshape(-1) for block in blocks])
        return flat.index_select(0, self.index).unsqueeze(0)

    def unlay(self, flat: Tensor) -> list[Tensor]:
        """Token vectors (1, T, d) as blocks of (rows, width, d), zero where there is no token."""
        dimension = flat.shape[-1]
        padded = flat.new_zeros(self.places, dimension).index_copy_(0, self.index, flat.reshape(-1, dimension))
        parts: tuple[Tensor, ...] = torch.split(padded, [rows * width for rows, width in self.shapes])
        return [part.view(*shape, dimension) for part, shape in zip(parts, self.shapes, strict=True)]


def lay_out(masks: Sequence[Tensor]) -> Layout | None:
    """The layout of blocks with attention masks of (rows, width) each, padded on either side.

    None where the tokens of a row do not lie together, or where it has none: what a model gives for padding alone
    (pooling may take the first place) it gives only when run with padding.
    """
    if not all(mask.numel() for mask in masks):
        return None
    starts, lengths, base = [], [], 0
    for mask in masks:
        length = mask.ne(0).sum(1)
        first, end = extents(mask)
        width = mask.shape[1]
        if bool(((end - first != length) | (length == 0)).any()):
            return None
        starts.append(torch.arange(mask.shape[0], device=mask.device) * width + first + base)
        lengths.append(length)
        base += mask.numel()
    start, length = torch.cat(starts), torch.cat(lengths)
    order = torch.argsort(length, stable=True)
    start, length = start[order], length[order]
    runs = _runs(length.tolist())
    across = torch.arange(runs[-1].length, device=length.device)
    index = (start[:, None] + across)[across < length[:, None]]
    return Layout(index, runs, tuple((mask.shape[0], mask.shape[1]) for mask in masks))


def some(layout: Layout, texts: npt.NDArray[np.intp]) -> tuple[Layout, Tensor]:
    """The layout of some texts (places in the order in which they lie flat, ascending, repeated if need be).

    Also where their tokens are among the T of `layout`. It belongs to no blocks, so it cannot `unlay`.
    """
    lengths = layout.lengths
    begin, taken = np.cumsum(lengths) - lengths, lengths[texts]
    shift = begin[texts] - (np.cumsum(taken) - taken)
    index = torch.from_numpy(np.repeat(shift, taken) + np.arange(int(taken.sum()))).to(layout.index.device)
    return Layout(index, _runs(taken.tolist()), ()), index


def extents(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Where the tokens of every row begin and where they end, (rows,) each; 0 and the width for a row without any.

    mask (rows, width), neither of them 0.
    """
    seen = mask.ne(0).int()
    return seen.argmax(1), mask.shape[1] - seen.flip(1).argmax(1)


def _runs(lengths: Sequence[int]) -> tuple[Run, ...]:
    """Sorted lengths as runs."""
    made, start = [], 0
    for length, group in groupby(lengths):
        count = len(list(group))
        made.append(Run(start, count, length))
        start += count * length
    return tuple(made)
