"""Matryoshka: the loss at every length, times its weight, with and without chunks, packing and masks."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import cos_sim
from torch import nn

from embertune.data.known import known_of
from embertune.engine.pack import pack
from embertune.errors import RecipeError
from embertune.plan import with_own_loss
from embertune.recipe.losses import LossName
from embertune.recipe.smaller import MatryoshkaSection
from embertune.training.chunked import ChunkedLoss
from embertune.training.losses import build_loss, nested
from embertune.training.masked import Masking, masked_part
from tests import tiny
from tests.training.made import distance, planned, prepared, trained, weights
from tests.training.test_chunked import CASES, batch, defaults, dropping, same, step

SECTION = MatryoshkaSection(dimensions=(32, 16, 4), weights=(1.0, 0.5, 2.0))
#: All but those with weights of their own for one length; rows of classes as pairs are as any pairs.
WRAPPED = [(name, shape) for name, shape in CASES if name != "softmax" and (name[0] != "m" or shape == "triplets")]


@pytest.fixture(scope="module")
def model(tiny_model_path: object) -> SentenceTransformer:
    """In training mode without dropout; its weights are read only."""
    return dropping(SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True), 0.0)


def made(name: LossName, model: nn.Module) -> nn.Module:
    return nested(build_loss(name, model, defaults(name), 0), model, SECTION)


def test_without_lengths_a_loss_is_itself(model: SentenceTransformer) -> None:
    loss = build_loss("cosent", model, defaults("cosent"), 0)
    assert nested(loss, model, None) is loss


def test_the_loss_is_the_sum_over_lengths_times_their_weights(model: SentenceTransformer) -> None:
    features, labels = batch(model, "pairs")
    anchors, positives = (model(dict(column))["sentence_embedding"] for column in features)
    expected = sum(
        weight * nn.functional.cross_entropy(20 * cos_sim(anchors[:, :n], positives[:, :n]), torch.arange(len(labels)))
        for n, weight in zip(SECTION.dimensions, SECTION.weights or (), strict=True)
    )
    found = made("multiple_negatives_ranking", model)(features, labels)
    assert float(found.detach()) == pytest.approx(float(torch.as_tensor(expected).detach()), rel=1e-5)


@pytest.mark.parametrize(("name", "shape"), WRAPPED)
def test_chunks_and_packing_change_no_loss_and_no_gradient_at_any_length(
    model: SentenceTransformer, tiny_model_path: object, name: LossName, shape: str
) -> None:
    rows = batch(model, shape)
    value, gradients = step(made(name, model), rows)
    other = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
    packed = made(name, pack(dropping(other, 0.0)))
    ways = (ChunkedLoss(made(name, model), model, 60), packed, ChunkedLoss(packed, other, 60))
    for way in ways:
        found, its = step(way, rows)
        assert found == pytest.approx(value, rel=1e-4)
        strip = {n.replace("loss.", "").replace("model.model.", "model."): g for n, g in its.items()}
        same(strip, {n.replace("loss.", "").replace("model.model.", "model."): g for n, g in gradients.items()})


def test_the_model_keeps_its_own_forward(model: SentenceTransformer) -> None:
    made("cosent", model)(*batch(model, "scored"))
    assert "forward" not in vars(model)


def test_what_is_masked_is_counted_once_and_not_at_every_length(model: SentenceTransformer) -> None:
    texts = {"anchor": [tiny.question(i % 2) for i in range(8)], "positive": [tiny.answer(i) for i in range(8)]}
    known = known_of(prepared("pairs", texts | {"group": list(range(8))}), None)
    features = [model.preprocess(column) for column in texts.values()]
    counts = []
    for section in (None, SECTION):
        loss = build_loss(
            "multiple_negatives_ranking", model, defaults("multiple_negatives_ranking"), 0, Masking(known)
        )
        loss = nested(loss, model, section)
        loss([dict(column) for column in features], torch.arange(8))
        part = masked_part(loss)
        assert part is not None
        counts.append(part.counted())
    assert counts[0] == counts[1]
    assert counts[0][0] > 0


@pytest.mark.parametrize("chunk", [None, 30])
def test_training_with_lengths_is_the_same_twice_and_not_that_without(
    tiny_model_path: object, chunk: int | None
) -> None:
    def train(**leaves: object) -> dict[str, torch.Tensor]:
        fresh = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
        settings = {"train__max_steps": 2, "train__batch_size": 8, "train__chunk": chunk, "train__precision": "float32"}
        plan = planned(fresh, tiny.toy_triplets(24), **settings, **leaves)
        trained(plan)
        return weights(fresh)

    nested, again = (train(train__matryoshka=[16, 4]) for _ in range(2))
    assert distance(nested, again) == 0
    assert distance(nested, train()) > 1e-5


def test_the_whole_length_is_added_and_told(tiny_model_path: object) -> None:
    fresh = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
    resolved = planned(fresh, tiny.toy_triplets(24), train__matryoshka=[4, 16]).resolved
    section = resolved.recipe.train.matryoshka
    assert section == MatryoshkaSection(dimensions=(32, 16, 4), weights=(1.0, 1.0, 1.0))
    assert resolved.reasons["train.matryoshka"] == "the whole length, 32, is added"


def test_a_loss_handed_over_is_not_wrapped(tiny_model_path: object) -> None:
    fresh = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
    made = planned(fresh, tiny.toy_triplets(24), train__matryoshka=[4])
    with pytest.raises(RecipeError, match="put sentence-transformers' MatryoshkaLoss around"):
        with_own_loss(made, losses.TripletLoss)
