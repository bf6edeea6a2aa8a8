"""Fewer blocks: which stay, that nothing else changes, that they can come back, and that what is saved is plain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from embertune.engine.pack import pack
from embertune.engine.parity import check
from embertune.errors import ModelError
from embertune.model.cut import kept_blocks, make_cut
from embertune.model.layers import find_layers
from embertune.model.save import fingerprint
from embertune.recipe.smaller import Choice
from tests.engine.families import Family, build, family, write

TEXTS = ["how can i repair the car", "a dog", "the woman will paint a picture of the old house and the river " * 3]
#: Those whose blocks differ from each other, or whose configuration speaks of each of them, and plain ones.
FAMILIES = ("BERT", "XLM-R", "DistilBERT", "ModernBERT", "NomicBERT", "EuroBERT", "Qwen3 with a window", "Gemma3")
OTHERS = ("MPNet", "ELECTRA", "DeBERTa-v2")


def deep(row: Family, folder: Path) -> SentenceTransformer:
    """A member of the family with four blocks."""
    settings = {"n_layers": 4} if row.kind == "distilbert" else {"num_hidden_layers": 4}
    types = {"layer_types": ["full_attention", "sliding_attention"] * 2} if "layer_types" in row.settings else {}
    backbone = Transformer(str(write(row, folder, **settings, **types)))
    backbone.tokenizer.padding_side = row.side
    pooling = Pooling(backbone.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[backbone, pooling], device="cpu")


@given(st.integers(2, 40), st.data(), st.sampled_from(get_args(Choice)))
def test_kept_blocks_are_as_many_as_asked_for_in_order_and_from_the_first_on(
    depth: int, data: st.DataObject, choose: Choice
) -> None:
    keep = data.draw(st.integers(1, depth - 1))
    kept = kept_blocks(depth, keep, choose)
    assert len(kept) == keep
    assert kept[0] == 0
    assert list(kept) == sorted(set(kept))
    assert kept[-1] == (depth - 1 if choose == "spread" and keep > 1 else keep - 1)


def test_spread_blocks_lie_evenly() -> None:
    assert kept_blocks(12, 4, "spread") == (0, 4, 7, 11)
    assert kept_blocks(6, 3, "spread") == (0, 2, 5)
    assert kept_blocks(6, 3, "first") == (0, 1, 2)


@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_a_cut_model_is_packed_saved_and_loaded_like_any_other_and_can_be_whole_again(
    tmp_path: Path, name: str
) -> None:
    model = pack(deep(family(name), tmp_path / "deep"))
    whole, mark = model.encode(TEXTS), fingerprint(model)
    cut = make_cut(model, 2, "spread")
    cut.take_out()
    assert check(model).passed
    vectors = model.encode(TEXTS)
    assert np.abs(vectors - whole).max() > 1e-3
    model.save(str(tmp_path / "saved"), create_model_card=False)
    plain = SentenceTransformer(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    assert len(find_layers(plain).blocks) == 2
    np.testing.assert_allclose(plain.encode(TEXTS), vectors, atol=1e-5)
    cut.put_back()
    assert fingerprint(model) == mark
    np.testing.assert_allclose(model.encode(TEXTS), whole, atol=1e-6)


def test_the_first_blocks_alone_give_what_the_whole_model_has_after_them(tmp_path: Path) -> None:
    model = deep(family("BERT"), tmp_path / "deep")
    features = model.preprocess(TEXTS)
    inputs = {name: features[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    states = model[0].model.eval()(**inputs, output_hidden_states=True).hidden_states
    make_cut(model, 3, "first").take_out()
    np.testing.assert_array_equal(model[0].model(**inputs)[0].detach().numpy(), states[3].detach().numpy())


@pytest.mark.parametrize(
    ("name", "keep", "said"),
    [
        ("BERT", 2, "found 2, and the model has 2 blocks; write at most 1"),
        ("BERT", 9, "found 9, and the model has 2 blocks; write at most 1"),
        ("ALBERT", 1, "the model runs through 1 block 2 times"),
    ],
)
def test_a_cut_that_would_change_nothing_or_cannot_be_is_refused(
    tmp_path: Path, name: str, keep: int, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        make_cut(build(name, tmp_path), keep, "first")


def test_a_model_without_blocks_is_refused(tiny_model: Callable[[], SentenceTransformer]) -> None:
    bare = SentenceTransformer(modules=[*tiny_model()][1:], device="cpu")
    with pytest.raises(ModelError, match="no blocks"):
        make_cut(bare, 1, "first")
