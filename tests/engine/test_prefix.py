"""With stored states a model gives what it gives without; what is stored is found again, shared, bounded and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embertune.engine.flat import merge
from embertune.engine.pack import pack
from embertune.engine.precision import applied
from embertune.engine.prefill import Texts, fill, gather
from embertune.engine.prefix import Prefix
from embertune.engine.prefixstore import StateStore, Storage
from embertune.engine.prefixtrial import fault, holds, steady
from embertune.engine.tokens import open_store
from embertune.errors import ModelError
from embertune.model.layers import find_layers
from tests import tiny
from tests.engine.conftest import Build
from tests.engine.same import Step, assert_same, attributes, copied, features_of, ranking, step

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


def poison(model: SentenceTransformer) -> None:
    """What is frozen can give no number any more (changes the model)."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.fill_(torch.nan)


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
    poison(model)
    with prefix.entered():
        assert_same(one_step(model), plain)
        assert not np.isfinite(one_step(model, ["another text"]).loss)


def test_states_too_large_for_half_precision_are_noticed_in_the_trial_and_in_the_fill(build: Build) -> None:
    model = frozen(build("BERT"))
    with torch.no_grad():
        model[0].model.encoder.layer[0].output.LayerNorm.bias[0] = 7e4
    texts = texts_of(model)
    assert not holds(stored(model), texts, "float16")
    assert holds(stored(model), texts, "float32")
    with pytest.raises(ModelError, match=r"as large as 7000\d; write train.prefix_cache: float32"):
        fill(stored(model, "float16"), texts)


def test_a_block_that_looks_at_other_texts_is_found_out(build: Build) -> None:
    model = frozen(build("BERT"))
    block = model[0].model.encoder.layer[0]
    own = block.forward
    vars(block)["forward"] = lambda hidden, *more, **options: own(hidden + hidden.mean(), *more, **options)
    assert not steady(stored(model), texts_of(model).some(np.arange(24)))


def test_a_block_that_needs_more_than_states_from_below_is_found_out(build: Build) -> None:
    model = frozen(build("BERT"))
    lower, upper = model[0].model.encoder.layer
    first, second, seen = lower.forward, upper.forward, []

    def noting(hidden: Any, *more: Any, **options: Any) -> Any:
        seen.append(hidden)
        return first(hidden, *more, **options)

    vars(lower)["forward"] = noting
    vars(upper)["forward"] = lambda hidden, *more, **options: second(hidden + seen.pop(), *more, **options)
    assert "RuntimeError: The size of tensor" in fault(model, stored(model), texts_of(model).some(np.arange(24)))


def test_passes_in_another_precision_and_unusual_features_run_as_if_there_were_no_states(build: Build) -> None:
    model = frozen(build("BERT"))
    prefix = stored(model)
    fill(prefix, texts_of(model))
    features = features_of(model, TEXTS)
    with applied(model, "bfloat16"):
        wanted = step(model, ranking(features))
    odd = {**features, "token_type_ids": features["attention_mask"]}
    types = step(model, ranking(odd))
    poison(model)
    with prefix.entered():
        assert np.isfinite(one_step(model).loss)
        assert not np.isfinite(step(model, ranking(odd)).loss)
        with applied(model, "bfloat16"):
            assert not np.isfinite(one_step(model).loss)
    assert np.isfinite(wanted.loss + types.loss)


def test_states_in_bfloat16_give_the_step_in_bfloat16(build: Build) -> None:
    model = frozen(build("BERT"))
    prefix = stored(model, precision="bfloat16")
    assert fault(model, stored(model, precision="bfloat16"), texts_of(model).some(np.arange(24))) == ""
    fill(prefix, texts_of(model))
    with applied(model, "bfloat16"):
        plain = one_step(model)
        with prefix.entered():
            read = one_step(model)
    assert abs(read.loss - plain.loss) <= 1e-3 * abs(plain.loss)
    assert set(read.gradients) == set(plain.gradients)
    for name, gradient in plain.gradients.items():
        assert (read.gradients[name] - gradient).norm() <= 0.02 * gradient.norm() + 1e-3, name


def test_columns_of_a_batch_share_a_pass_of_what_is_trained(build: Build) -> None:
    model = frozen(build("BERT"))
    prefix, texts = stored(model), texts_of(model)
    fill(prefix, texts)
    columns = [features_of(model, TEXTS[first::3]) for first in range(3)]
    apart = [model(copied(column))["sentence_embedding"] for column in columns]
    merge(columns)
    with prefix.entered():
        together = [model(column)["sentence_embedding"] for column in columns]
    for one, other in zip(apart, together, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
