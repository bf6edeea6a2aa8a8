"""With stored states a model gives what it gives without; what is stored is found again, shared, bounded and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embertune.engine.pack import pack
from embertune.engine.prefill import Texts, fill, gather
from embertune.engine.prefix import Prefix
from embertune.engine.prefixstore import StateStore, Storage
from embertune.engine.prefixtrial import fault, steady
from embertune.engine.tokens import open_store
from embertune.model.layers import find_layers
from tests import tiny
from tests.engine.conftest import Build
from tests.engine.same import Step, assert_same, attributes, features_of, ranking, step

TEXTS = [*(tiny.question(i) for i in range(40)), *(tiny.answer(i) + " and " * (i % 9) for i in range(40)), "a", ""]
FAMILIES = (
    "BERT", "RoBERTa", "XLM-R", "DistilBERT", "ModernBERT", "ELECTRA", "NomicBERT", "EuroBERT",
    "Qwen3, padded on the right", "MPNet",
)  # fmt: skip


def frozen(model: SentenceTransformer, depth: int = 1) -> SentenceTransformer:
    """Packed, with embeddings and the lowest blocks frozen."""
    table = find_layers(pack(model))
    rows = [row for row in table.layers if row.kind == "embeddings"] + list(table.blocks[:depth])
    for name in (name for row in rows for name in row.parameters):
        model.get_parameter(name).requires_grad = False
    return model


def prefix_of(model: SentenceTransformer, store: StateStore, depth: int = 1, precision: Any = "float32") -> Prefix:
    blocks = [model.get_submodule(row.path) for row in find_layers(model).blocks]
    return Prefix(vars(model[0])["forward"], blocks, depth, store, precision)


def stored(model: SentenceTransformer, storage: Storage = "float32", folder: Path | None = None, **more: Any) -> Prefix:
    width = model.get_embedding_dimension()
    assert width is not None
    return prefix_of(model, StateStore(folder, width, storage, more.pop("budget", 2**30)), **more)


def texts_of(model: SentenceTransformer, texts: list[str] = TEXTS) -> Texts:
    tokens = open_store(model, None)
    assert tokens is not None
    return gather(tokens, [("", texts)])


def one_step(model: SentenceTransformer, texts: list[str] = TEXTS) -> Step:
    return step(model, ranking(features_of(model, texts)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_from_stored_states_is_the_step_without_them(build: Build, family: str) -> None:
    model = frozen(build(family))
    plain = one_step(model)
    prefix = stored(model)
    texts = texts_of(model)
    assert fault(model, prefix.over(StateStore(None, prefix.store.width, "float32", 2**30)), texts) == ""
    before = attributes(model)
    with prefix.entered():
        assert_same(one_step(model), plain)
        assert prefix.store.texts == 0
        fill(prefix, texts)
        assert prefix.store.texts == len(set(TEXTS))
        assert_same(one_step(model), plain)
    assert attributes(model) == before


def test_a_text_has_the_same_states_in_any_company(build: Build) -> None:
    model = frozen(build("BERT"))
    assert steady(stored(model), texts_of(model, TEXTS[:24]))


def test_what_is_computed_by_the_way_is_rounded_as_what_is_stored(build: Build) -> None:
    model = frozen(build("BERT"))
    prefix = stored(model, "float16")
    with prefix.entered():
        by_the_way = one_step(model)
        fill(prefix, texts_of(model, TEXTS[::3]))
        partly = one_step(model)
        fill(prefix, texts_of(model))
        whole = one_step(model)
    assert by_the_way.loss == partly.loss == whole.loss
    assert all(torch.equal(by_the_way.gradients[n], whole.gradients[n]) for n in whole.gradients)
    assert whole.loss != one_step(model).loss


def test_states_come_from_the_store_and_not_from_the_blocks(build: Build) -> None:
    model = frozen(build("BERT"))
    plain = one_step(model)
    prefix = stored(model)
    fill(prefix, texts_of(model))
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.fill_(torch.nan)
    with prefix.entered():
        prefix.tuples = False
        assert_same(one_step(model), plain)
        assert not np.isfinite(one_step(model, ["another text"]).loss)
