"""A head to fewer dimensions: where it stands, what it begins as, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from embertune.engine.pack import pack
from embertune.engine.parity import check
from embertune.errors import ModelError
from embertune.model.layers import find_layers
from embertune.model.project import components, make_head
from tests import tiny

TEXTS = [row["anchor"] for row in tiny.toy_pairs(80)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(0, 2**31), st.integers(1, 11), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_components_are_orthonormal_and_lose_no_more_than_any_other_projection(
    seed: int, dimensions: int, rows: int
) -> None:
    chance = np.random.default_rng(seed)
    vectors = (chance.standard_normal((rows, 12)) * np.arange(1, 13) + 0.5).astype(np.float32)
    found = components(vectors, dimensions)
    assert found.shape == (dimensions, 12)
    np.testing.assert_allclose(found @ found.T, np.eye(dimensions), atol=1e-5)
    assert (found[np.arange(dimensions), np.abs(found).argmax(axis=1)] > 0).all()
    other = np.linalg.qr(chance.standard_normal((12, dimensions)))[0].T
    assert np.square(unit(vectors) @ found.T).sum() >= np.square(unit(vectors) @ other.T).sum() - 1e-3


@pytest.mark.parametrize("normalised", [False, True])
def test_the_head_stands_after_pooling_and_before_a_normalisation_and_what_is_saved_is_plain(
    tiny_model: Callable[[], SentenceTransformer], tmp_path: Path, normalised: bool
) -> None:
    model = tiny_model()
    if normalised:
        model.append(Normalize())
    pack(model)
    whole = model.encode(TEXTS)
    head = make_head(model, 20)
    head.begin_as(components(whole, 20))
    head.put_in()
    assert [type(m).__name__ for m in model][2:] == ["Dense", "Normalize"][: 1 + normalised]
    assert check(model).passed
    assert find_layers(model).layers[-1].name == "head Dense"
    short = model.encode(TEXTS)
    assert short.shape == (80, 20)
    assert np.abs(unit(short) @ unit(short).T - unit(whole) @ unit(whole).T).mean() < 0.02
    model.save(str(tmp_path / "saved"), create_model_card=False)
    plain = SentenceTransformer(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    np.testing.assert_allclose(plain.encode(TEXTS), short, atol=1e-5)
    assert make_head(plain, 8).name == "head2"
    head.take_out()
    np.testing.assert_array_equal(model.encode(TEXTS), whole)


def test_a_new_head_draws_no_chance(tiny_model: Callable[[], SentenceTransformer]) -> None:
    model, state = tiny_model(), torch.get_rng_state()
    make_head(model, 20)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dimensions", [32, 33])
def test_as_many_dimensions_as_there_are_or_more_are_refused(
    tiny_model: Callable[[], SentenceTransformer], dimensions: int
) -> None:
    with pytest.raises(ModelError, match=f"found {dimensions}, and the model has 32; write at most 31"):
        make_head(tiny_model(), dimensions)


def test_a_model_that_cuts_its_vectors_off_is_refused(tiny_model: Callable[[], SentenceTransformer]) -> None:
    model = tiny_model()
    model.truncate_dim = 16
    with pytest.raises(ModelError, match="cuts its vectors off after 16"):
        make_head(model, 8)
