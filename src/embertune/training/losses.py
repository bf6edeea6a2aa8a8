"""How each loss of the recipe's table is built: the one place that names the host's loss classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import cos_sim
from torch import Tensor, nn

from embertune.recipe.losses import LossName
from embertune.recipe.smaller import MatryoshkaSection
from embertune.training.masked import MaskedRanking, Masking, masked_part

Options = Mapping[str, Any]
Builder = Callable[[SentenceTransformer, Options], nn.Module]


def with_margin(margin: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Cosine similarity, (n, d) x (m, d) -> (n, m), less `margin` where row and column belong together (the diagonal).

    The additive margin of Yang et al. 2019, arXiv:1902.08564, equation 3.
    """

    def similarity(left: Tensor, right: Tensor) -> Tensor:
        scores: Tensor = cos_sim(left, right)
        return scores - margin * torch.eye(*scores.shape, dtype=scores.dtype, device=scores.device)

    return similarity


def _ranking(model: SentenceTransformer, options: Options) -> nn.Module:
    both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    similarity = with_margin(options["margin"]) if options["margin"] else cos_sim
    loss: nn.Module = losses.MultipleNegativesRankingLoss(
        model, scale=options["scale"], similarity_fct=similarity, **(both if options["symmetric"] else {})
    )
    return loss


def _triplet(model: SentenceTransformer, options: Options) -> nn.Module:
    distance = getattr(losses.TripletDistanceMetric, options["distance"].upper())  # functions, not members of the enum
    loss: nn.Module = losses.TripletLoss(model, distance_metric=distance, triplet_margin=options["margin"])
    return loss


def _siamese_distance(options: Options) -> Callable[[Tensor, Tensor], Tensor]:
    names = {"cosine": "COSINE_DISTANCE", "euclidean": "EUCLIDEAN", "manhattan": "MANHATTAN"}
    distance: Callable[[Tensor, Tensor], Tensor] = getattr(losses.SiameseDistanceMetric, names[options["distance"]])
    return distance


def _contrastive(kind: Callable[..., nn.Module]) -> Builder:
    def build(model: SentenceTransformer, options: Options) -> nn.Module:
        return kind(model, distance_metric=_siamese_distance(options), margin=options["margin"])

    return build


def _batch_triplet(kind: Callable[..., nn.Module]) -> Builder:
    def build(model: SentenceTransformer, options: Options) -> nn.Module:
        distances = losses.BatchHardTripletLossDistanceFunction
        distance = {"cosine": distances.cosine_distance, "euclidean": distances.euclidean_distance}[options["distance"]]
        return kind(model, distance_metric=distance, margin=options["margin"])

    return build


def _softmax_with(model: SentenceTransformer, entropy: nn.Module) -> nn.Module:
    dimension = model.get_embedding_dimension()
    loss: nn.Module = losses.SoftmaxLoss(model, embedding_dimension=dimension, num_labels=3, loss_fct=entropy)
    return loss


BUILDERS: dict[LossName, Builder] = {
    "multiple_negatives_ranking": _ranking,
    "triplet": _triplet,
    "contrastive": _contrastive(losses.ContrastiveLoss),
    "online_contrastive": _contrastive(losses.OnlineContrastiveLoss),
    "cosine_similarity": lambda model, _: losses.CosineSimilarityLoss(model),
    "cosent": lambda model, options: losses.CoSENTLoss(model, scale=options["scale"]),
    "angle": lambda model, options: losses.AnglELoss(model, scale=options["scale"]),
    "batch_hard_triplet": _batch_triplet(losses.BatchHardTripletLoss),
    "batch_semi_hard_triplet": _batch_triplet(losses.BatchSemiHardTripletLoss),
    "batch_all_triplet": _batch_triplet(losses.BatchAllTripletLoss),
    "softmax": lambda model, _: _softmax_with(model, nn.CrossEntropyLoss()),
}


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy of (b, classes) against labels (b,), each row times the weight of its class, then the mean.

    Unlike torch's own weights the sum is divided by the rows: a batch of one class weighs as much as that class does.
    """

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """A scalar."""
        losses = nn.functional.cross_entropy(scores, labels, reduction="none")
        return (losses * self.weights[labels]).mean()


class WeightedContrastive(nn.Module):
    """The contrastive loss, each pair times the weight of its label, then the mean; `weights` (2,) for 0 and 1."""

    weights: Tensor

    def __init__(self, model: SentenceTransformer, options: Options, weights: Tensor) -> None:
        super().__init__()
        self.model, self.margin, self.distance = model, options["margin"], _siamese_distance(options)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar; labels (b,) are 0 or 1."""
        distances: Tensor = self.distance(*embed_columns(self.model, sentence_features))
        beyond = (self.margin - distances).relu()
        losses = 0.5 * torch.where(labels == 1, distances.square(), beyond.square())
        return (losses * self.weights[labels]).mean()


#: The losses whose rows can be weighed by their class, (classes,).
WEIGHTED: dict[LossName, Callable[[SentenceTransformer, Options, Tensor], nn.Module]] = {
    "multiple_negatives_ranking": lambda model, options, weights: MaskedRanking(model, options, None, weights),
    "contrastive": WeightedContrastive,
    "softmax": lambda model, _, weights: _softmax_with(model, WeightedCrossEntropy(weights)),
}


def build_loss(
    name: LossName,
    model: SentenceTransformer,
    options: Options,
    seed: int,
    masking: Masking | None = None,
    weights: Tensor | None = None,
) -> nn.Module:
    """The loss module; a head it brings along (softmax) starts from weights decided by `seed`.

    With `masking`, for `multiple_negatives_ranking`, it takes the numbers of the rows as labels; with `weights`
    (classes,), for the losses of `WEIGHTED`, their classes.
    """
    if masking is not None:
        assert name == "multiple_negatives_ranking"
        return MaskedRanking(model, options, masking)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BUILDERS[name](model, options) if weights is None else WEIGHTED[name](model, options, weights)


class Nested(losses.MatryoshkaLoss):  # type: ignore[misc]  # the host ships no complete types
    """The host's Matryoshka loss, which leaves the model's `forward` as it found it."""

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """The losses at all lengths, times their weights, added up: a scalar."""
        before = self.model.__dict__.get("forward")
        try:
            found: Tensor = super().forward(sentence_features, labels)
        finally:
            if before is None:
                self.model.__dict__.pop("forward", None)
        return found


def nested(loss: nn.Module, model: SentenceTransformer, section: MatryoshkaSection | None) -> nn.Module:
    """`loss`, also of vectors cut off at the lengths of `section` and brought to length 1; itself without one.

    Kusupati et al. 2022, arXiv:2205.13147, section 3.
    """
    if section is None:
        return loss
    if (part := masked_part(loss)) is not None:
        part.times = len(section.dimensions)
    return Nested(model, loss, list(section.dimensions), list(section.weights or ()) or None)


def head_parameters(loss: nn.Module, model: SentenceTransformer) -> dict[str, nn.Parameter]:
    """Parameters that belong to the loss and not to the model: trained, clipped, and not saved with the model."""
    of_model = {id(p) for p in model.parameters()}
    return {name: p for name, p in loss.named_parameters() if id(p) not in of_model}
