"""Probes: the run's own loss without dropout on a fixed sample, which moves no random number, and the spread."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.data.prepared import Prepared
from embertune.engine.pack import pack
from embertune.plan import Plan
from embertune.recipe import replace
from embertune.recipe.budget import PROBED, probed_rows
from embertune.recipe.losses import LOSSES
from embertune.training.course import plan_course
from embertune.training.masked import masked_part
from embertune.training.probes import Probe, Probed, alike, probe_batches, sample, spread
from embertune.training.session import Session, Surroundings
from embertune.training.trainer import collator
from embertune.watch import Silent
from tests import tiny
from tests.training.made import ROWS, planned, prepared

Loader = Callable[[], SentenceTransformer]


def probe_of(made: Plan, dev: Prepared | None = None, loss: Any = None) -> Probe:
    """A probe of the plan as a run over it would make it, its model with dropout; dev is train unless given."""
    train, model, recipe = made.data.sides.train, made.built.model, made.resolved.recipe
    model[0].model.embeddings.dropout.p = 0.3
    around = Surroundings(None, None, Silent(), {}, encode=made.encode, loss=loss)
    session = Session(model, train, recipe, plan_course(train, recipe), around, None)
    assert isinstance(train.shape, str)
    pairs = LOSSES[recipe.train.loss].samplers[train.shape] == "class_pairs"
    batches = probe_batches(train, dev or train, session.course.batches, recipe, collator(model, {}, pairs))
    return Probe(model, session.loss, recipe, *batches)


def same(one: Probed, other: Probed, tolerance: float = 0.0) -> bool:
    pairs = [(one.train, other.train), (one.dev, other.dev), (one.cosine, other.cosine), (one.rank, other.rank)]
    return all(np.allclose(left, right, rtol=tolerance, atol=tolerance) for left, right in pairs)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_probed_and_nothing_is_moved_by_it(tiny_model: Loader, name: str) -> None:
    shape = LOSSES[name].shapes[0]
    model = tiny_model()
    probe = probe_of(planned(model, ROWS[shape](48), train__loss=name, train__batch_size=8))
    model.train()
    before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    first, second = probe(), probe()
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    assert same(first, second)
    assert np.array_equal(first.train, first.dev)
    assert np.isfinite(first.train).all()
    assert len(first.train)
    assert -1 <= first.cosine <= 1
    assert 1 <= first.rank <= 32
    assert probe.tokens > 0
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "leaves",
    [
        {"train__chunk": 64},
        {"train__known_positives": "mask"},
        {"train__known_positives": "mask", "train__guide": "base"},
    ],
    ids=str,
)
def test_in_chunks_or_with_a_mask_a_probe_sees_the_same_as_without(tiny_model: Loader, leaves: dict[str, Any]) -> None:
    usual = probe_of(planned(tiny_model(), tiny.toy_triplets(48), train__batch_size=8))
    other = probe_of(planned(tiny_model(), tiny.toy_triplets(48), train__batch_size=8, **leaves))
    assert same(usual(), other(), 1e-5)
    part = masked_part(other.loss)
    assert part is None or part.masking is not None


def test_packed_a_probe_sees_the_same_as_plain(tiny_model: Loader) -> None:
    usual = probe_of(planned(tiny_model(), tiny.toy_pairs(48), train__batch_size=8))
    packed = probe_of(planned(pack(tiny_model()), tiny.toy_pairs(48), train__batch_size=8))
    assert same(usual(), packed(), 1e-5)


def test_a_loss_over_several_lengths_is_probed_and_the_spread_is_that_of_whole_vectors(tiny_model: Loader) -> None:
    usual = probe_of(planned(tiny_model(), tiny.toy_pairs(48), train__batch_size=8))()
    nested = probe_of(
        planned(tiny_model(), tiny.toy_pairs(48), train__batch_size=8, train__matryoshka={"dimensions": [32, 8]})
    )()
    assert nested.train.mean() > usual.train.mean()
    assert (nested.cosine, nested.rank) == pytest.approx((usual.cosine, usual.rank), abs=1e-5)


def test_a_loss_of_ones_own_is_probed(tiny_model: Loader) -> None:
    class Length(nn.Module):
        def __init__(self, model: SentenceTransformer) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Any, labels: Any) -> torch.Tensor:
            return torch.stack([self.model(column)["sentence_embedding"].square().mean() for column in features]).sum()

    found = probe_of(planned(tiny_model(), tiny.toy_pairs(48), train__batch_size=8), loss=Length)()
    assert (found.train > 0).all()


def test_dev_rows_of_another_kind_have_no_loss(tiny_model: Loader) -> None:
    made = planned(tiny_model(), tiny.toy_pairs(48), train__batch_size=8)
    dev = prepared("scored", {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [0.0, 1.0]})
    assert alike(made.data.sides.train, dev, made.resolved.recipe) is None
    found = probe_of(made, dev)()
    assert len(found.dev) == 0
    assert len(found.train)


def test_mined_negatives_that_dev_has_not_are_left_out_of_both_sides(tiny_model: Loader) -> None:
    made = planned(tiny_model(), tiny.toy_triplets(48), train__batch_size=8)
    pairs = planned(tiny_model(), tiny.toy_pairs(48), train__batch_size=8)
    dev = pairs.data.sides.train
    assert probe_of(made, dev)().train.mean() < probe_of(made)().train.mean()  # fewer texts to be told apart
    assert len(probe_of(made, dev)().dev)
    own = replace(made.resolved.recipe, {"train.loss": "triplet"})
    assert alike(made.data.sides.train, dev, own) is None


def test_the_sample_holds_two_rows_of_each_class_before_it_holds_three_of_one(tiny_model: Loader) -> None:
    side = planned(tiny_model(), tiny.toy_classes(120, classes=6)).data.sides.train
    chosen = sample(side, 12, seed=0)
    assert sorted(np.unique(np.asarray(side.rows["label"])[chosen], return_counts=True)[1]) == [2] * 6


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 60), st.integers(1, 19), st.integers(0, 5))
def test_a_row_that_is_sampled_among_others_is_sampled_without_them(rows: int, wanted: int, seed: int) -> None:
    texts = [f"text {i}" for i in range(rows)]
    whole = prepared("pairs", {"anchor": texts, "positive": texts})
    part = prepared("pairs", {"anchor": texts[:20], "positive": texts[:20]})
    among = {place for place in sample(whole, wanted, seed).tolist() if place < 20}
    assert among <= set(sample(part, wanted, seed).tolist())


@given(st.integers(2, 20), st.integers(2, 20))
def test_the_spread_of_vectors_on_one_line_is_one_and_that_of_orthogonal_ones_their_number(n: int, d: int) -> None:
    cosine, rank = spread(torch.ones(n, d) * torch.arange(1, n + 1)[:, None])
    assert cosine == pytest.approx(1.0)
    assert rank == pytest.approx(1.0, abs=1e-3)
    cosine, rank = spread(torch.eye(n, n + d))
    assert cosine == pytest.approx(0.0, abs=1e-9)
    assert rank == pytest.approx(n, abs=1e-6)


def test_the_rank_is_the_same_whether_there_are_more_vectors_or_more_dimensions() -> None:
    vectors = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    turned, _ = torch.linalg.qr(torch.randn(60, 60, generator=torch.Generator().manual_seed(1)))
    wide = torch.cat([vectors, torch.zeros(40, 48)], dim=1) @ turned
    assert spread(wide) == pytest.approx(spread(vectors), abs=1e-3)
    broken = vectors.clone()
    broken[0, 0] = torch.nan
    assert np.isnan(spread(broken)).all()


@given(st.integers(0, 10_000_000))
def test_a_probe_grows_with_the_rows_trained_on_between_two_limits(trained: int) -> None:
    assert PROBED[0] <= probed_rows(trained) <= probed_rows(trained + 1) <= PROBED[-1]


def test_another_seed_probes_other_rows(tiny_model: Loader) -> None:
    made = planned(tiny_model(), tiny.toy_pairs(100), train__batch_size=8)
    side = made.data.sides.train
    recipe = replace(made.resolved.recipe, {"seed": 1})
    assert sample(side, 20, 0).tolist() != sample(side, 20, recipe.seed).tolist()
