"""In-batch negatives without false ones: multiple negatives ranking with a mask of what is known to be no negative.

Without a masked entry it is the host's `MultipleNegativesRankingLoss` (Henderson et al. 2017, arXiv:1705.00652); a
masked candidate has no part in the softmax of that anchor. What is known comes from the rows (`data/known`); a guide,
the model as it was before training, may mask what it finds nearer than the positive (GISTEmbed, Solatorio 2024,
arXiv:2402.16829, section 3).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.util import cos_sim
from torch import Tensor, nn

from embertune.data.hashing import keys
from embertune.data.known import Codes, Known, known_of, near_keys
from embertune.data.prepared import Note, Prepared
from embertune.errors import TrainingError
from embertune.recipe import Recipe

#: Texts and their column to float32 vectors (n, d).
Encode = Callable[[Sequence[str], str], npt.NDArray[np.float32]]

#: Texts that the guide embeds at a time.
_BLOCK = 10_000


@dataclass(frozen=True)
class Guide:
    """Vectors of length 1 of all training texts, (texts, d) for each column, and where each row's are, (rows, columns).

    They lie in a file without a name, which is gone with them, in half precision.
    """

    vectors: tuple[npt.NDArray[np.float16], ...]
    places: Codes

    def similarities(self, rows: Codes, device: torch.device) -> Tensor:
        """Cosines of a batch of `rows` (b,): anchors with candidates, (b, b * columns), columns one after the other."""
        taken = [vectors[self.places[rows, column]] for column, vectors in enumerate(self.vectors)]
        anchors, *others = (torch.from_numpy(each).to(device, torch.float32) for each in taken)
        return anchors @ torch.cat(others).T


def guide_of(train: Prepared, encode: Encode) -> Guide:
    """Embed every distinct text of every column once, with the weights that the model has now."""
    found = [_column(train, column, encode) for column in train.text_columns]
    return Guide(tuple(vectors for vectors, _ in found), np.stack([places for _, places in found], axis=1))


def _column(train: Prepared, column: str, encode: Encode) -> tuple[npt.NDArray[np.float16], Codes]:
    """The vectors of a column's distinct texts, and where each row's is, (rows,)."""
    _, first, places = np.unique(keys(train.rows, column), return_index=True, return_inverse=True)
    kept: npt.NDArray[np.float16] | None = None
    for start in range(0, len(first), _BLOCK):
        chosen = first[start : start + _BLOCK]
        vectors = encode(list(train.rows.select(chosen)[column]), column)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        if kept is None:
            with tempfile.TemporaryFile() as file:
                kept = np.memmap(file, dtype=np.float16, mode="w+", shape=(len(first), vectors.shape[1]))
        kept[start : start + len(chosen)] = vectors
    assert kept is not None
    return kept, places.reshape(-1).astype(np.int64)


@dataclass(frozen=True)
class Masking:
    """What says that a candidate is no negative: what is known of the rows, and a guide.

    The guide marks what it finds nearer to the anchor than the anchor's own positive less `margin`, in cosines.
    """

    known: Known | None
    guide: Guide | None = None
    margin: float = 0.0

    def masks(self, rows: Tensor, columns: int) -> tuple[Tensor, Tensor]:
        """For a batch of `rows` (b,): what is no negative of an anchor (b, b * columns), and of a positive (b, b).

        The latter are anchors, in a symmetric loss. What belongs together, on the diagonals, is never marked.
        """
        numbers, count = rows.cpu().numpy(), len(rows)
        if self.known is None:
            forth = torch.zeros(count, count * columns, dtype=torch.bool, device=rows.device)
        else:
            forth = torch.from_numpy(self.known.mask(numbers)).to(rows.device)
        back = forth[:, :count].T
        if self.guide is not None:
            cosines = self.guide.similarities(numbers, rows.device)
            least = (cosines.diagonal() - self.margin)[:, None]
            own = torch.eye(count, dtype=torch.bool, device=rows.device)
            nearer, nearer_back = cosines.gt(least), cosines[:, :count].T.gt(least)
            nearer[:, :count] &= ~own
            forth, back = forth | nearer, back | (nearer_back & ~own)
        return forth, back


def masking_of(train: Prepared, recipe: Recipe, encode: Encode | None = None) -> Masking | None:
    """The masking that the resolved recipe asks for; None where nothing is to be masked.

    A guide is `encode` with the weights of this moment, so this is to be asked before the first step.
    """
    settings = recipe.train
    if settings.known_positives != "mask":
        return None
    known = known_of(train, near_keys(train, recipe.data.near_duplicates))
    if settings.guide is None:
        return Masking(known)
    if encode is None:
        raise TrainingError("train.guide", "nothing is there to encode with", "write train.guide: null")
    return Masking(known, guide_of(train, encode), settings.guide_margin or 0.0)


def masked_note(masked: int, negatives: int) -> tuple[Note, ...]:
    """What was masked in a whole run, for its report; no note where nothing was there to be masked."""
    if not negatives:
        return ()
    share = 100 * masked / negatives
    text = f"{masked:,} of {negatives:,} in-batch negatives are known positives and were masked ({share:.2g} %)"
    return (Note("train.known_positives", text, masked),)


class MaskedRanking(nn.Module):
    """Multiple negatives ranking over cosines; `labels` are the numbers of the rows of a batch, (b,).

    `masking` None masks nothing. `weights` (n,) gives the weight of every number that stands in `labels`; each row's
    loss is multiplied by its own and the mean is taken over the rows, so they should be 1 on average. A row none of
    whose negatives is left has a loss of zero. The additive `margin` is that of Yang et al. 2019, arXiv:1902.08564.
    """

    weights: Tensor | None

    def __init__(
        self,
        model: SentenceTransformer,
        options: Mapping[str, Any],
        masking: Masking | None = None,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.model, self.masking = model, masking
        self.scale, self.margin, self.symmetric = options["scale"], options["margin"], options["symmetric"]
        self.register_buffer("weights", weights, persistent=False)
        self.times = 1  # how often each batch is asked about
        self._masked: list[Tensor] = []
        self._negatives = 0

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar; a column of features each for anchors, positives and negatives."""
        anchors, *others = embed_columns(self.model, sentence_features)
        scores = cos_sim(anchors, torch.cat(others))
        if self.margin:
            scores = scores - self.margin * torch.eye(*scores.shape, dtype=scores.dtype, device=scores.device)
        scores = scores * self.scale
        losses = self._losses(scores, labels, len(others))
        if self.weights is not None:
            losses = losses * self.weights[labels]
        return losses.mean()

    def _losses(self, scores: Tensor, rows: Tensor, columns: int) -> Tensor:
        """The loss of every row (b,) from scaled similarities (b, b * columns)."""
        count = len(scores)
        positive = scores.diagonal()
        ways = [scores, scores[:, :count].T] if self.symmetric else [scores]
        if self.masking is not None:
            marks = self.masking.masks(rows, columns)
            self._count(marks[: len(ways)])
            ways = [way.masked_fill(mark, -torch.inf) for way, mark in zip(ways, marks, strict=False)]
        total = torch.stack([torch.logsumexp(way, dim=1) for way in ways]).mean(dim=0)
        return total - positive

    def _count(self, marks: Sequence[Tensor]) -> None:
        self._masked += [mark.sum() for mark in marks]
        self._negatives += sum(mark.numel() - len(mark) for mark in marks)

    def counted(self) -> tuple[int, int]:
        """How many negatives were masked since this was last asked, and out of how many."""
        masked = int(torch.stack(self._masked).sum()) if self._masked else 0
        found = masked // self.times, self._negatives // self.times
        self._masked, self._negatives = [], 0
        return found


def masked_part(loss: nn.Module) -> MaskedRanking | None:
    """The loss in `loss` that masks, if it is one or holds one."""
    found = (module for module in loss.modules() if isinstance(module, MaskedRanking))
    return next((module for module in found if module.masking is not None), None)


class Numbered(Dataset):  # type: ignore[misc]  # the host ships no complete types
    """The same rows, each with its number as `label`, which no table has to hold."""

    def __init__(self, rows: Dataset) -> None:
        self.__dict__.update(rows.__dict__)

    def __getitems__(self, keys: list[int]) -> list[dict[str, Any]]:
        """The rows of a batch."""
        return [{**row, "label": number} for row, number in zip(super().__getitems__(keys), keys, strict=True)]
