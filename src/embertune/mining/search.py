"""Exact nearest neighbours by cosine, block by block: every query meets every document, few of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from embertune.mining.lists import Places

Floats = npt.NDArray[np.float32]

#: Queries (a range) to pairs (place in the range, document) that are no matches.
Barred = Callable[[Places], tuple[Places, Places]]


#: Queries whose similarities are held at once, and forbidden pairs among them (a group of g texts has g * g).
QUERIES, BARRED = 1024, 4_000_000


@dataclass(frozen=True)
class Near:
    """The nearest documents of the queries `first` to `first + len(scores)`: (b, k) each, best first.

    Where a query has fewer than k, the score is -inf. Equal scores stand in the order of the documents.
    """

    first: int
    scores: Floats
    places: Places


def unit_length(vectors: Floats) -> Floats:
    """Each row divided by its length; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return made


def cut(counts: Places, queries: int = QUERIES, barred: int = BARRED) -> Iterator[Places]:
    """The queries in ranges of at most `queries`, with at most `barred` forbidden pairs unless one alone has more.

    `counts` are the forbidden pairs of each query.
    """
    total = np.concatenate([[0], np.cumsum(counts)])
    first = 0
    while first < len(counts):
        fits = int(np.searchsorted(total, total[first] + barred, side="right")) - 1
        last = min(max(fits, first + 1), first + queries, len(counts))
        yield np.arange(first, last)
        first = last


def nearest(
    queries: Floats, documents: Floats, depth: int, barred: Barred, ranges: Iterable[Places], width: int = 8192
) -> Iterator[Near]:
    """For each range of queries, its `depth` nearest documents that are not barred. Vectors are of unit length.

    Beside the vectors, memory holds the similarities of one range with `width` documents.
    """
    all_documents = torch.from_numpy(documents)
    for wanted in ranges:
        rows, columns = barred(wanted)
        order = np.argsort(columns, kind="stable")
        rows, columns = rows[order], columns[order]
        asked = torch.from_numpy(queries[wanted[0] : wanted[-1] + 1])
        scores = torch.empty((len(wanted), 0))
        places = torch.empty((len(wanted), 0), dtype=torch.int64)
        for start in range(0, len(documents), width):
            here = asked @ all_documents[start : start + width].T
            span = slice(*np.searchsorted(columns, [start, start + width]))
            here[torch.from_numpy(rows[span]), torch.from_numpy(columns[span] - start)] = -torch.inf
            best, where = here.topk(min(depth, here.shape[1]))
            scores, places = torch.cat([scores, best], 1), torch.cat([places, where + start], 1)
            if scores.shape[1] > depth:
                scores, which = scores.topk(depth)
                places = places.gather(1, which)
        yield _sorted(int(wanted[0]), scores, places)


def _sorted(first: int, scores: torch.Tensor, places: torch.Tensor) -> Near:
    places, order = places.sort(1)
    scores, best = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return Near(first, scores.numpy(), places.gather(1, best).numpy())
