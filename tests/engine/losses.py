"""One row for each loss of the host: how it is built, and the columns and labels it takes."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses as hosts
from torch import Tensor, nn

from tests.tiny import answer, question

Labels = Literal["none", "classes", "same", "score", "three", "margin", "two", "vector", "damaged"]
ROWS = 8
#: Losses that bring weights of their own start from these.
_SEED = 5


@dataclass(frozen=True)
class Row:
    """A loss: `name` of the host's class (and what sets this use of it apart), texts a row, and the labels."""

    name: str
    build: Callable[[SentenceTransformer], nn.Module]
    columns: int = 2
    labels: Labels = "none"

    def of(self, model: SentenceTransformer) -> nn.Module:
        """The loss for `model`; equal every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            return self.build(model)


def texts(row: Row) -> list[list[str]]:
    """The columns of texts of a batch: of unequal lengths, one of them empty."""
    wide = [f"{question(i)} " * (1 + i % 3) for i in range(ROWS)]
    columns = [wide, [answer(i) for i in range(ROWS)], [answer(i + 20) for i in range(ROWS)]][: row.columns]
    if row.labels == "damaged":
        return [[" ".join(text.split()[::2]) for text in wide], wide]
    columns[-1][2] = ""
    return columns


def labels(row: Row) -> Tensor | None:
    """The labels of a batch."""
    some = torch.rand(ROWS, 64, generator=torch.Generator().manual_seed(_SEED))
    return {
        "none": None,
        "damaged": None,
        "classes": torch.arange(ROWS) // 2,
        "same": torch.arange(ROWS) % 2,
        "three": torch.arange(ROWS) % 3,
        "score": some[:, 0],
        "margin": some[:, 0] - some[:, 1],
        "two": some[:, :2],
        "vector": some[:, :32],
    }[row.labels]


def _guide(model: SentenceTransformer) -> SentenceTransformer:
    """A model of the same build with other weights, packed where `model` is; it learns nothing."""
    guide = copy.deepcopy(model)
    with torch.no_grad():
        for place, parameter in enumerate(guide.parameters()):
            parameter.mul_(1 + 0.05 * (place % 3)).requires_grad_(False)
    return guide


def _ranked(model: SentenceTransformer) -> nn.Module:
    return hosts.MultipleNegativesRankingLoss(model)


def _adaptive(kind: Any, **options: Any) -> Callable[[SentenceTransformer], nn.Module]:
    """A loss over layers, all of them, so that chance has no part in it."""
    return lambda model: kind(model, _ranked(model), n_layers_per_step=-1, **options)


_CACHED = {"mini_batch_size": 3}
LOSSES: tuple[Row, ...] = (
    Row("MultipleNegativesRankingLoss", _ranked, 3),
    Row("MultipleNegativesSymmetricRankingLoss", lambda m: hosts.MultipleNegativesSymmetricRankingLoss(m)),
    Row("CachedMultipleNegativesRankingLoss", lambda m: hosts.CachedMultipleNegativesRankingLoss(m, **_CACHED), 3),
    Row(
        "CachedMultipleNegativesSymmetricRankingLoss",
        lambda m: hosts.CachedMultipleNegativesSymmetricRankingLoss(m, **_CACHED),
    ),
    Row("GISTEmbedLoss", lambda m: hosts.GISTEmbedLoss(m, _guide(m)), 3),
    Row("CachedGISTEmbedLoss", lambda m: hosts.CachedGISTEmbedLoss(m, _guide(m), **_CACHED), 3),
    Row("MatryoshkaLoss", lambda m: hosts.MatryoshkaLoss(m, _ranked(m), [32, 16, 8]), 3),
    Row(
        "MatryoshkaLoss, cached",
        lambda m: hosts.MatryoshkaLoss(m, hosts.CachedMultipleNegativesRankingLoss(m, **_CACHED), [32, 8]),
    ),
    Row("Matryoshka2dLoss", _adaptive(hosts.Matryoshka2dLoss, matryoshka_dims=[32, 8], n_dims_per_step=-1), 3),
    Row("AdaptiveLayerLoss", _adaptive(hosts.AdaptiveLayerLoss), 3),
    Row("TripletLoss", hosts.TripletLoss, 3),
    Row("BatchAllTripletLoss", hosts.BatchAllTripletLoss, 1, "classes"),
    Row("BatchHardTripletLoss", hosts.BatchHardTripletLoss, 1, "classes"),
    Row("BatchSemiHardTripletLoss", hosts.BatchSemiHardTripletLoss, 1, "classes"),
    Row("BatchHardSoftMarginTripletLoss", hosts.BatchHardSoftMarginTripletLoss, 1, "classes"),
    Row("ContrastiveLoss", hosts.ContrastiveLoss, 2, "same"),
    Row("OnlineContrastiveLoss", hosts.OnlineContrastiveLoss, 2, "same"),
    Row("CoSENTLoss", hosts.CoSENTLoss, 2, "score"),
    Row("AnglELoss", hosts.AnglELoss, 2, "score"),
    Row("CosineSimilarityLoss", hosts.CosineSimilarityLoss, 2, "score"),
    Row("SoftmaxLoss", lambda m: hosts.SoftmaxLoss(m, 32, 3), 2, "three"),
    Row("MarginMSELoss", hosts.MarginMSELoss, 3, "margin"),
    Row("MSELoss", hosts.MSELoss, 1, "vector"),
    Row("EmbedDistillLoss", lambda m: hosts.EmbedDistillLoss(m, projection_dim=32), 1, "vector"),
    Row("DistillKLDivLoss", hosts.DistillKLDivLoss, 3, "two"),
    Row("MegaBatchMarginLoss", lambda m: hosts.MegaBatchMarginLoss(m, mini_batch_size=3)),
    Row("MegaBatchMarginLoss, at once", lambda m: hosts.MegaBatchMarginLoss(m, use_mini_batched_version=False)),
    Row("ContrastiveTensionLoss", hosts.ContrastiveTensionLoss, 2, "same"),
    Row("ContrastiveTensionLossInBatchNegatives", hosts.ContrastiveTensionLossInBatchNegatives, 1),
    Row("DenoisingAutoEncoderLoss", hosts.DenoisingAutoEncoderLoss, 2, "damaged"),
    Row("GlobalOrthogonalRegularizationLoss", hosts.GlobalOrthogonalRegularizationLoss, 3),
)


def value(row: Row, loss: nn.Module, features: list[dict[str, Any]]) -> Tensor:
    """The loss of a batch; the terms of a loss that gives several are added."""
    random.seed(_SEED)
    made = loss(features, labels(row))
    total: Tensor = sum(made.values()) if isinstance(made, dict) else made
    return total
