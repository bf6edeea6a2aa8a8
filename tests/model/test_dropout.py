"""The rates of dropout: found for every family, set where they are read, and never saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from embertune.engine.pack import pack
from embertune.errors import ModelError
from embertune.model.dropout import KINDS, dropout_of, set_dropout
from tests.engine.families import NAMES, build, tokenizer
from tests.engine.families import family as family_of

TEXTS = ["how can i repair the car", "they mend my automobile now", "a dog"] * 8
#: Families whose only dropout is that of attention weights.
DECODERS = ("EuroBERT", "Qwen3", "Gemma3")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dropout")


def vectors(model: SentenceTransformer) -> torch.Tensor:
    """What a step of training sees; the modes are left as they are."""
    torch.manual_seed(0)
    found: torch.Tensor = model(model.preprocess(TEXTS))["sentence_embedding"]
    return found.detach()


def moved(model: SentenceTransformer) -> bool:
    """Whether dropout changes what training sees."""
    still, trained = vectors(model.eval()), vectors(model.train())
    return not torch.allclose(still, trained, atol=1e-5)


@pytest.mark.parametrize("family", [name for name in NAMES if "Qwen3 " not in name and "Qwen3," not in name])
def test_each_kind_that_a_family_has_changes_what_training_sees_and_only_where_it_is_set(
    root: Path, family: str
) -> None:
    model = build(family, root)
    kinds = tuple(dropout_of(model))
    assert kinds == (("attention",) if family.startswith(DECODERS) else KINDS)
    set_dropout(model, 0)
    assert not moved(pack(model)), "with every rate at zero, training sees what evaluation does"
    for kind in kinds:
        one = build(family, root)
        set_dropout(one, 0)
        set_dropout(one, {kind: 0.4})
        assert dropout_of(one) == dict.fromkeys(kinds, 0.0) | {kind: 0.4}
        assert moved(one), kind
        assert moved(pack(one)), f"{kind}, packed"


@pytest.mark.parametrize("family", ["BERT", "ModernBERT", "Qwen3"])
def test_the_saved_model_keeps_the_rates_it_came_with(root: Path, tmp_path: Path, family: str) -> None:
    model = build(family, root)
    own = dropout_of(model)
    set_dropout(model, 0.3)
    model.save(str(tmp_path / "saved"), create_model_card=False)
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    assert dropout_of(again) == own
    torch.testing.assert_close(vectors(again.eval()), vectors(model.eval()))


def test_setting_dropout_changes_no_weight_and_draws_no_chance(root: Path) -> None:
    model = build("ModernBERT", root)
    names, state = list(model.state_dict()), torch.get_rng_state()
    set_dropout(model, 0.2)
    assert list(model.state_dict()) == names
    assert torch.equal(torch.get_rng_state(), state)


def test_a_kind_that_the_backbone_has_not_is_refused_with_those_it_has(root: Path) -> None:
    with pytest.raises(ModelError, match=r"model.dropout.hidden: the model has no such dropout, but attention"):
        set_dropout(build("Qwen3", root), {"hidden": 0.1, "attention": 0.1})
    with pytest.raises(ModelError, match="found null, and the model has hidden and attention and embedding dropout"):
        set_dropout(build("BERT", root), None)


def test_a_model_without_dropout_takes_null_and_refuses_a_number() -> None:
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer(family_of("BERT")), embedding_dim=8)])
    assert dropout_of(static) == {}
    set_dropout(static, None)
    with pytest.raises(ModelError, match="no dropout whose rate could be set"):
        set_dropout(static, 0.1)
