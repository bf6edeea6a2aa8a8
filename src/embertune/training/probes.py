"""A look at how well rows are learnt: the run's own loss without dropout on a fixed sample, and how embeddings spread.

The sample of training rows and that of dev rows are put into batches once, so that two looks differ by the weights
alone and can be compared batch by batch. A probe moves no random number and changes nothing of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn
from torch.nn.functional import normalize

from embertune.data.hashing import joined, keys, mix
from embertune.data.prepared import TARGET_COLUMN, TEXT_COLUMNS, Prepared
from embertune.engine.precision import applied
from embertune.errors import Problem, RecipeError
from embertune.model.encode import evaluating
from embertune.recipe import Recipe
from embertune.recipe.budget import ENOUGH, probed_rows
from embertune.recipe.losses import LOSSES
from embertune.training.batches import SAMPLERS
from embertune.training.masked import masked_part
from embertune.training.snapshot import Chance
from embertune.training.trainer import features_of, loss_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Batches of a probe hold at least so many rows where the run's do: with fewer, a loss over the batch is too easy.
SMALL = 6
#: Embeddings of which the rank is worked out, at most.
RANKED = 512


@dataclass(frozen=True, eq=False)
class Probed:
    """Losses of the fixed batches of training rows and of dev rows, (batches,) each, and how embeddings spread.

    `dev` is empty where dev has no such loss. `cosine` is the mean over all pairs of texts of the training sample,
    `rank` the effective rank of their embeddings.
    """

    train: FloatArray
    dev: FloatArray
    cosine: float
    rank: float


#: Batches as the loss takes them: a column of features for each text of a row, and labels where rows have some.
Batches = list[tuple[list[dict[str, Any]], Tensor | None]]
#: Rows to what the collator of the run makes of them.
Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]


class Probe:
    """Measures a model and its loss as they are at the time of the call; `tokens` of both sides go through it."""

    def __init__(
        self, model: SentenceTransformer, loss: nn.Module, recipe: Recipe, train: Batches, dev: Batches
    ) -> None:
        self.model, self.loss, self.recipe = model, loss, recipe
        self.train, self.dev = train, dev

    @property
    def tokens(self) -> int:
        """What a look puts through the model."""
        columns = (column for side in (self.train, self.dev) for features, _ in side for column in features)
        return sum(int(column["attention_mask"].sum()) for column in columns if "attention_mask" in column)

    def __call__(self) -> Probed:
        """Both losses and the spread of the embeddings."""
        with self._undisturbed():
            vectors: list[Tensor] = []
            train = self._losses(self.train, vectors.append)
            return Probed(train, self._losses(self.dev), *spread(torch.cat(vectors)))

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Inside there is no dropout, no gradient and nothing is masked; afterwards chance stands where it stood."""
        chance = Chance(self.model.device)
        before, part = chance.state(), masked_part(self.loss)
        masking = part.masking if part else None
        precision = self.recipe.train.precision
        assert precision != "auto"
        if part:
            part.masking = None  # it knows training rows only
        try:
            with evaluating(self.model), evaluating(self.loss), torch.no_grad(), applied(self.model, precision):
                yield
        finally:
            if part:
                part.masking = masking
            chance.restore(before)

    def _losses(self, side: Batches, see: Callable[[Tensor], None] | None = None) -> FloatArray:
        with seeing(self.model, see) if see else nullcontext():
            found = [self._loss(features, labels) for features, labels in side]
        return np.array(found, dtype=np.float64)

    def _loss(self, features: list[dict[str, Any]], labels: Tensor | None) -> float:
        columns = [batch_to_device(dict(column), self.model.device) for column in features]
        labels = labels.to(self.model.device) if labels is not None else None
        return float(loss_of(self.model, self.loss, columns, labels))


@contextmanager
def seeing(model: SentenceTransformer, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Inside, `see` gets the vectors (n, d) of every pass of the model, however the loss asks for them."""

    def after(_module: nn.Module, _arguments: Any, features: Mapping[str, Any]) -> None:
        see(features["sentence_embedding"].float())

    handle = list(model)[-1].register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def spread(vectors: Tensor) -> tuple[float, float]:
    """Of embeddings (n, d), all brought to length 1: the mean cosine over all pairs, and the effective rank.

    The latter is exp of the entropy of the singular values divided by their sum (Roy & Vetterli 2007, The effective
    rank, section 2): between 1, all on one line, and the smaller of n and d. NaN where vectors are not finite.
    """
    unit = normalize(vectors.double(), dim=1)
    count = len(unit)
    if count < 2 or not bool(unit.isfinite().all()):
        return float("nan"), float("nan")
    cosine = (float(unit.sum(dim=0).square().sum()) - count) / (count * (count - 1))
    some = unit[:RANKED]
    gram = some @ some.T if len(some) < some.shape[1] else some.T @ some
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    shares = values / values.sum()
    return cosine, float(torch.exp(torch.special.entr(shares).sum()))


def probe_batches(
    train: Prepared, dev: Prepared | None, batches: int, recipe: Recipe, made: Collator
) -> tuple[Batches, Batches]:
    """Rows of each side in batches, for a run of so many `batches`; none of dev where its rows bear no such loss.

    Where that loss steers, it is that of `ENOUGH` rows.
    """
    size = recipe.train.batch_size
    assert isinstance(size, int)
    rows = probed_rows(batches * size)
    if dev is None or (both := alike(train, dev, recipe)) is None:
        return make_batches(train, rows, recipe, made), []
    steering = ENOUGH if recipe.guard.metric == "loss" else rows
    return make_batches(both[0], rows, recipe, made), make_batches(both[1], steering, recipe, made)


def alike(train: Prepared, dev: Prepared, recipe: Recipe) -> tuple[Prepared, Prepared] | None:
    """Both sides as rows of one kind, of which one loss can be taken; None where they are of different kinds.

    Negatives that one side has and the other has not (mined ones) are left out of both, where the loss bears that.
    """
    if (train.shape, train.text_columns) == (dev.shape, dev.text_columns):
        return train, dev
    loss = recipe.train.loss
    pair = TEXT_COLUMNS["pairs"]
    if loss == "auto" or "pairs" not in LOSSES[loss].samplers or any(s.text_columns[:2] != pair for s in (train, dev)):
        return None
    return (
        replace(train, shape="pairs", rows=train.rows.select_columns(list(pair))),
        replace(dev, shape="pairs", rows=dev.rows.select_columns(list(pair))),
    )


def check_loss_of(dev: Prepared, train: Prepared, recipe: Recipe) -> None:
    """RecipeError where training is to be steered by a loss that the rows of dev do not bear."""
    if alike(train, dev, recipe) is None:
        found = (
            f"found loss, and {recipe.train.loss} of {train.shape} is not defined for dev rows, which are {dev.shape}"
        )
        raise RecipeError(Problem("guard.metric", found, "write auto, or give dev rows like those of train"))


def make_batches(side: Prepared, rows: int, recipe: Recipe, made: Collator) -> Batches:
    """A fixed sample of a side as batches for the loss, none where no batch of two rows can be made of it."""
    loss, size = recipe.train.loss, recipe.train.batch_size
    assert loss != "auto"
    assert isinstance(size, int)
    target = [TARGET_COLUMN[side.shape]] if side.shape in TARGET_COLUMN else []
    some = side.rows.select(sample(side, rows, recipe.seed)).select_columns([*side.text_columns, *target])
    plan = SAMPLERS[LOSSES[loss].samplers[side.shape]](side.take(some), min(size, max(SMALL, len(some) // 8)))
    return [features_of(made([some[row] for row in batch])) for batch in plan(recipe.seed, 0)]


def sample(side: Prepared, rows: int, seed: int) -> IntArray:
    """The places of the `rows` rows of lowest hash, ascending; for classes first two of every class, then two more."""
    chance = mix(joined([keys(side.rows, column) for column in side.text_columns[:2]]), seed, "probe")
    order = np.argsort(chance, kind="stable")
    if side.shape == "classes":
        labels = np.asarray(side.rows[TARGET_COLUMN["classes"]], dtype=np.int64)[order]
        grouped = np.argsort(labels, kind="stable")
        starts = np.flatnonzero(np.diff(labels[grouped], prepend=-1))
        turn = np.empty_like(labels)
        turn[grouped] = np.arange(len(labels)) - np.repeat(starts, np.diff(starts, append=len(labels)))
        order = order[np.lexsort((turn, mix(labels, seed, "class of a probe"), turn // 2))]
    return np.sort(order[:rows])
