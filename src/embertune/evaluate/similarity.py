"""How alike two embeddings are: cosine, dot product, and two distances with their sign turned: more is nearer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from embertune.evaluate.evalset import IntArray

SimilarityName = Literal["cosine", "dot", "manhattan", "euclidean"]
SIMILARITIES: tuple[SimilarityName, ...] = get_args(SimilarityName)

#: Embeddings and similarities alike: float32, as the host holds them.
Vectors = npt.NDArray[np.float32]

_ROWS = 8192
_SMALLEST_NORM = 1e-12  # torch.nn.functional.normalize


@dataclass(frozen=True)
class Similarity:
    """`rows` compares (n, d) with (n, d) to (n,) in float64, `block` (q, d) with (c, d) to (q, c) in float32.

    `ready` is applied once to all embeddings before `block`. `is_distance` is true where people know the negative of
    it.
    """

    name: SimilarityName
    rows: Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]
    ready: Callable[[Vectors], Vectors]
    block: Callable[[Vectors, Vectors], Vectors]
    is_distance: bool = False


def pairwise(name: SimilarityName, first: Vectors, second: Vectors, at: tuple[IntArray, IntArray]) -> Vectors:
    """The similarity of `first[at[0][i]]` and `second[at[1][i]]` for every i: (n,) float32.

    Worked out in float64 and rounded once, so that equal pairs of texts are exactly equal whatever stands beside
    them.
    """
    similarity = BY_NAME[name]
    out = np.empty(len(at[0]), dtype=np.float32)
    for start in range(0, len(out), _ROWS):
        rows = slice(start, start + _ROWS)
        out[rows] = similarity.rows(first[at[0][rows]].astype(np.float64), second[at[1][rows]].astype(np.float64))
    return out


def blocks(length: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `length`."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError unless `names` are known similarities, at least one and none twice."""
    unknown = [name for name in names if name not in SIMILARITIES]
    if unknown or not names or len(set(names)) != len(names):
        raise ValueError(f"similarities {list(names)}: expected some of {', '.join(SIMILARITIES)}, each once")


def _unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, _SMALLEST_NORM), dtype=np.float32)


def _as_is(vectors: Vectors) -> Vectors:
    return vectors


def _cosine_rows(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norms = [np.maximum(np.linalg.norm(side, axis=1), _SMALLEST_NORM) for side in (a, b)]
    return np.asarray(np.einsum("nd,nd->n", a, b) / (norms[0] * norms[1]), dtype=np.float64)


def _dot_rows(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.einsum("nd,nd->n", a, b), dtype=np.float64)


def _manhattan_rows(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(-np.abs(a - b).sum(axis=1), dtype=np.float64)


def _euclidean_rows(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(-np.sqrt(np.square(a - b).sum(axis=1)), dtype=np.float64)


def _dot_block(a: Vectors, b: Vectors) -> Vectors:
    return np.asarray(a @ b.T, dtype=np.float32)


def _manhattan_block(a: Vectors, b: Vectors) -> Vectors:
    return np.asarray(-cdist(a, b, metric="cityblock"), dtype=np.float32)


def _euclidean_block(a: Vectors, b: Vectors) -> Vectors:
    """From norms and one matrix product; exact zero for equal embeddings is not promised."""
    squared = (a @ b.T) * np.float32(-2)
    squared += np.einsum("qd,qd->q", a, a)[:, None]
    squared += np.einsum("cd,cd->c", b, b)[None, :]
    return np.asarray(-np.sqrt(np.maximum(squared, 0)), dtype=np.float32)


BY_NAME: Mapping[SimilarityName, Similarity] = {
    row.name: row
    for row in (
        Similarity("cosine", _cosine_rows, _unit, _dot_block),
        Similarity("dot", _dot_rows, _as_is, _dot_block),
        Similarity("manhattan", _manhattan_rows, _as_is, _manhattan_block, is_distance=True),
        Similarity("euclidean", _euclidean_rows, _as_is, _euclidean_block, is_distance=True),
    )
}
