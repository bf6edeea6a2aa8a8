"""Models that differ when they run fast take a slower path, and say so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import CNN, LSTM, BoW, Pooling, StaticEmbedding
from torch import nn
from transformers import BertModel

import embertune as et
from embertune.engine.parity import check
from embertune.engine.paths import path_of
from tests.engine.same import assert_packing_changes_nothing, attributes, features_of

TEXTS = ("how can i repair the car", "dog", "", "you mend every automobile before winter", "the " * 100)
Build = Callable[..., SentenceTransformer]


class PlacedBert(BertModel):
    """A BERT that looks at the place of a token in its row, which nobody tells the attention."""

    def forward(
        self, input_ids: Any = None, attention_mask: Any = None, position_ids: Any = None, **kwargs: Any
    ) -> Any:
        """As BERT, with a little of the place in every row added to the result."""
        made = super().forward(input_ids, attention_mask, position_ids=position_ids, **kwargs)
        places = torch.arange(made.last_hidden_state.shape[1])
        made.last_hidden_state = made.last_hidden_state + 0.01 * places[:, None]
        return made


class WidthBert(BertModel):
    """A BERT that looks at the width of the batch."""

    def forward(
        self, input_ids: Any = None, attention_mask: Any = None, position_ids: Any = None, **kwargs: Any
    ) -> Any:
        """As BERT, with a little of the width added to the result."""
        made = super().forward(input_ids, attention_mask, position_ids=position_ids, **kwargs)
        made.last_hidden_state = made.last_hidden_state + 0.01 * made.last_hidden_state.shape[1]
        return made


def _swapped(model: SentenceTransformer, kind: type[BertModel]) -> SentenceTransformer:
    backbone = kind(model[0].model.config)
    backbone.load_state_dict(model[0].model.state_dict())
    model[0].model = backbone.eval()
    return model


def test_a_backbone_that_silently_differs_when_flat_takes_the_next_path_and_says_so(build: Build) -> None:
    with pytest.warns(UserWarning, match="not packed: differs from the plain path"):
        et.pack(_swapped(build("BERT"), PlacedBert).bfloat16())
    model, plain = _swapped(build("BERT"), PlacedBert), _swapped(build("BERT"), PlacedBert)
    with pytest.warns(UserWarning, match="not packed: differs from the plain path"):
        et.pack(model)
    path = path_of(model)
    assert path is not None
    assert path.name == "buckets"
    assert model[0].model.config._attn_implementation == plain[0].model.config._attn_implementation
    assert_packing_changes_nothing(model, plain, features_of(plain, TEXTS))


def test_a_backbone_that_differs_on_every_path_runs_with_padding_and_says_so(build: Build) -> None:
    model = _swapped(build("BERT"), WidthBert)
    before = attributes(model)
    texts = [*TEXTS, *["dog"] * 60]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        et.pack(model)
    words = [str(one.message) for one in told]
    assert [word.split(":")[0] for word in words] == ["not packed", "not buckets", "runs with padding"]
    assert attributes(model) == before
    assert_packing_changes_nothing(model, _swapped(build("BERT"), WidthBert), features_of(model, texts))


@pytest.mark.parametrize(
    ("modules", "reason"),
    [
        (lambda own: [StaticEmbedding(own.tokenizer, embedding_dim=8)], "first module is StaticEmbedding"),
        (lambda own: [Router({"query": [own], "document": [own]}), Pooling(32)], "first module is Router"),
        (lambda own: [BoW(["dog", "car"])], "first module is BoW"),
        (lambda own: [own, CNN(32, 16), Pooling(48)], "CNN looks at padding"),
        (lambda own: [own, LSTM(32, 16), Pooling(32)], "LSTM looks at padding"),
    ],
)
def test_a_model_of_another_build_runs_with_padding_and_is_told_why(
    modules: Callable[[Any], list[nn.Module]], reason: str, build: Build
) -> None:
    model = SentenceTransformer(modules=modules(build("BERT")[0]), device="cpu")
    with pytest.warns(UserWarning, match=f"runs with padding: .*{reason}"):
        et.pack(model)
    assert path_of(model) is None
    assert et.unpack(model) is model


def test_the_check_is_zero_on_the_plain_path(build: Build) -> None:
    found = check(build("BERT"))
    assert (found.path, found.embeddings, found.loss, found.gradients, found.passed) == ("plain", 0, 0, 0, True)


def test_a_check_leaves_the_path_as_it_was(build: Build) -> None:
    model = et.pack(build("BERT"))
    path = path_of(model)
    assert check(model, ["one text", "and another one"]).passed
    assert path_of(model) == path
