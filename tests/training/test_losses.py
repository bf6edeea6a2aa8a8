"""Every loss of the table is built, every option of it counts, and each equals its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from torch import nn

from embertune.recipe.losses import LOSSES, LossName
from embertune.training.losses import BUILDERS, build_loss, head_parameters, with_margin

#: Texts that a random encoder puts in many places, and what is known of them; four classes of three.
TEXTS = [
    "how can i mend the car", "you repair every automobile", "they wash my rug now", "the city is cold today",
    "we locate the lawyer", "a dog", "what must we do to buy a boat", "here they conceal the old gift",
    "i want to paint my house", "nobody", "our people lift this stone for you", "black and blue",
]  # fmt: skip
LABELS = {
    "scored": torch.linspace(0, 1, 4),
    "labelled": torch.tensor([1, 0, 1, 0]),
    "classes": torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]),
    "nli": torch.tensor([0, 1, 2, 0]),
}


@pytest.fixture(scope="module")
def model(tiny_model_path: Any) -> SentenceTransformer:
    """Read only; without dropout."""
    return SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True).eval()


def batch(model: SentenceTransformer, shape: str) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
    columns = {"triplets": 3, "classes": 1}.get(shape, 2)
    rows = len(TEXTS) // (3 if columns > 1 else 1)
    features = [model.preprocess(TEXTS[i * rows : (i + 1) * rows]) for i in range(columns)]
    return features, LABELS.get(shape, torch.zeros(rows))


def value(loss: nn.Module, model: SentenceTransformer, shape: str) -> float:
    features, labels = batch(model, shape)
    with torch.no_grad():
        return float(loss(features, labels))


def defaults(name: LossName) -> dict[str, Any]:
    return {option: row.default for option, row in LOSSES[name].options.items()}


def first_shape(name: LossName) -> str:
    shape = LOSSES[name].shapes[0]
    return "triplets" if "triplets" in LOSSES[name].shapes else shape


def test_the_two_tables_and_the_type_name_the_same_losses() -> None:
    assert set(BUILDERS) == set(LOSSES) == set(get_args(LossName))


def test_every_row_says_what_it_is_and_where_it_comes_from() -> None:
    for name, row in LOSSES.items():
        assert row.means, name
        assert row.source, name
        assert row.shapes, name
        assert all(option.means for option in row.options.values()), name


OTHER = {"scale": 35.0, "margin": 0.37, "symmetric": True, "distance": "euclidean"}
OPTIONS = [(name, option) for name, row in LOSSES.items() for option in row.options]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_of_every_loss_changes_its_value(model: SentenceTransformer, name: Any, option: str) -> None:
    shape = first_shape(name)
    settings = defaults(name)
    usual = value(build_loss(name, model, settings, 0), model, shape)
    changed = value(build_loss(name, model, settings | {option: OTHER[option]}, 0), model, shape)
    assert np.isfinite(usual)
    assert abs(changed - usual) > 1e-4


@pytest.mark.parametrize(
    ("name", "choice"),
    [(name, c) for name, row in LOSSES.items() if "distance" in row.options for c in row.options["distance"].choices],
)
def test_every_distance_of_every_loss_gives_a_value_of_its_own(
    model: SentenceTransformer, name: Any, choice: str
) -> None:
    shape = first_shape(name)
    found = {
        c: value(build_loss(name, model, defaults(name) | {"distance": c}, 0), model, shape)
        for c in LOSSES[name].options["distance"].choices
    }
    assert [c for c in found if found[c] == found[choice]] == [choice]


def cosine(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return 1 - torch.cosine_similarity(left, right)


SIAMESE = losses.SiameseDistanceMetric.COSINE_DISTANCE
IN_BATCH = losses.BatchHardTripletLossDistanceFunction.cosine_distance
HOSTS: dict[str, Callable[[SentenceTransformer], nn.Module]] = {
    "multiple_negatives_ranking": lambda m: losses.MultipleNegativesRankingLoss(m, scale=20.0),
    "triplet": lambda m: losses.TripletLoss(m, losses.TripletDistanceMetric.COSINE, 0.2),
    "contrastive": lambda m: losses.ContrastiveLoss(m, SIAMESE, 0.5),
    "online_contrastive": lambda m: losses.OnlineContrastiveLoss(m, SIAMESE, 0.5),
    "cosine_similarity": lambda m: losses.CosineSimilarityLoss(m),
    "cosent": lambda m: losses.CoSENTLoss(m, scale=20.0),
    "angle": lambda m: losses.AnglELoss(m, scale=20.0),
    "batch_hard_triplet": lambda m: losses.BatchHardTripletLoss(m, IN_BATCH, 0.2),
    "batch_semi_hard_triplet": lambda m: losses.BatchSemiHardTripletLoss(m, IN_BATCH, 0.2),
    "batch_all_triplet": lambda m: losses.BatchAllTripletLoss(m, IN_BATCH, 0.2),
}


@pytest.mark.parametrize("name", sorted(HOSTS))
def test_the_defaults_give_the_value_of_the_hosts_class_with_those_settings(
    model: SentenceTransformer, name: Any
) -> None:
    shape = first_shape(name)
    assert value(build_loss(name, model, defaults(name), 0), model, shape) == value(HOSTS[name](model), model, shape)


def test_only_the_loss_with_a_head_is_not_compared_with_the_host() -> None:
    assert set(LOSSES) - set(HOSTS) == {"softmax"}


def ranking(vectors: list[np.ndarray], scale: float, margin: float, symmetric: bool) -> float:
    """Yang et al. 2019, arXiv:1902.08564, equations 3 to 5: the additive margin softmax, one way or both averaged."""
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    rows = np.arange(len(unit[0]))

    def one_way(scores: np.ndarray) -> float:
        scores = scores.copy()
        scores[rows, rows] -= margin
        scores *= scale
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[rows, rows]))

    forward = one_way(unit[0] @ np.concatenate(unit[1:]).T)
    return (forward + one_way(unit[1] @ unit[0].T)) / 2 if symmetric else forward


@pytest.mark.parametrize("shape", ["pairs", "triplets"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.15])
def test_ranking_with_a_margin_is_the_formula_of_the_paper(
    model: SentenceTransformer, shape: str, symmetric: bool, margin: float
) -> None:
    options = {"scale": 12.0, "margin": margin, "symmetric": symmetric}
    features, _ = batch(model, shape)
    with torch.no_grad():
        vectors = [model(column)["sentence_embedding"].double().numpy() for column in features]
    ours = value(build_loss("multiple_negatives_ranking", model, options, 0), model, shape)
    assert ours == pytest.approx(ranking(vectors, 12.0, margin, symmetric), rel=1e-5)


def test_the_margin_is_taken_off_the_diagonal_and_nowhere_else() -> None:
    left, right = torch.randn(3, 5), torch.randn(6, 5)
    taken = with_margin(0.0)(left, right) - with_margin(0.25)(left, right)
    assert torch.allclose(taken, 0.25 * torch.eye(3, 6), atol=1e-6)


def test_the_head_of_softmax_starts_from_weights_of_the_seed_and_leaves_chance_alone(
    model: SentenceTransformer,
) -> None:
    state = torch.random.get_rng_state()
    heads = [head_parameters(build_loss("softmax", model, {}, seed), model) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert set(heads[0]) == {"classifier.weight", "classifier.bias"}
    assert torch.equal(heads[0]["classifier.weight"], heads[1]["classifier.weight"])
    assert not torch.equal(heads[0]["classifier.weight"], heads[2]["classifier.weight"])


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"softmax"}))
def test_no_other_loss_brings_parameters_of_its_own(model: SentenceTransformer, name: Any) -> None:
    assert head_parameters(build_loss(name, model, defaults(name), 0), model) == {}
