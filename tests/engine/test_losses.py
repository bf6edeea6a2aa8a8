"""Every loss of the host gives the same on a packed model: called directly, with columns merged, and in its trainer.

In float64, so that what differs is no rounding: some gradients are zero in theory (TripletLoss knows no shift).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.losses import column_merging_disabled
from sentence_transformers.sentence_transformer import losses as hosts
from torch import nn

import embertune as et
from embertune.engine.flat import merge, merges
from embertune.engine.paths import path_of
from embertune.recipe.losses import LOSSES as OURS
from embertune.training.losses import BUILDERS, build_loss
from tests.engine.losses import LOSSES, ROWS, Row, labels, texts, value
from tests.engine.same import Features, Step, assert_same, features_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*MultipleNegativesSymmetric:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning"),  # the host's own call
]

NAMES = tuple(row.name for row in LOSSES)
LAYERED = [row for row in LOSSES if row.name in ("AdaptiveLayerLoss", "Matryoshka2dLoss")]
#: Shares of the design's bounds that float64 keeps.
TIGHT = 1e-3
Build = Callable[..., SentenceTransformer]


def test_the_table_holds_every_loss_of_the_host() -> None:
    assert {name.split(",")[0] for name in NAMES} == {n for n in hosts.__all__ if n.endswith(("Loss", "Negatives"))}


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("row", LOSSES, ids=NAMES)
def test_a_loss_is_unchanged_with_columns_apart_or_merged(row: Row, merged: bool, build: Build) -> None:
    packed, plain = et.pack(build("BERT").double()), build("BERT").double()
    assert_same(_step(row, packed, merged=merged), _step(row, plain), TIGHT)
    assert path_of(packed) is not None


@pytest.mark.parametrize("name", ["MPNet", "DeBERTa-v2", "Qwen3"])
@pytest.mark.parametrize("row", LAYERED, ids=lambda row: row.name)
def test_losses_over_layers_are_unchanged_on_every_path(row: Row, name: str, build: Build) -> None:
    packed, plain = et.pack(build(name).double()), build(name).double()
    assert_same(_step(row, packed), _step(row, plain), TIGHT)
    assert path_of(packed) is not None


@pytest.mark.parametrize("name", BUILDERS)
def test_our_own_losses_over_merged_columns_are_unchanged(name: Any, build: Build) -> None:
    options = {key: option.default for key, option in OURS[name].options.items()}
    given = {"classes": "classes", "labelled": "same", "scored": "score", "nli": "three"}
    shape = OURS[name].shapes[0]
    columns = {"classes": 1, "labelled": 2, "scored": 2, "nli": 2}.get(shape, 3)
    varied = [options | {key: option.choices[-1]} for key, option in OURS[name].options.items() if option.choices]
    if name == "multiple_negatives_ranking":
        varied = [options | {"symmetric": True, "margin": 0.2}]
    for chosen in (options, *varied):
        row = Row(name, lambda model, own=chosen: build_loss(name, model, own, 0), columns, given.get(shape, "none"))
        packed, plain = et.pack(build("BERT").double()), build("BERT").double()
        assert_same(_step(row, packed, merged=True), _step(row, plain), TIGHT)


@pytest.mark.parametrize(
    ("name", "rows", "options"),
    [
        ("BERT", [row for row in LOSSES if row.labels != "damaged"], {}),
        ("MPNet", LOSSES[:4], {}),
        ("BERT", LOSSES[:1], {"activation_checkpointing": True}),
        ("ModernBERT", LOSSES[:1], {"activation_checkpointing": True}),
    ],
    ids=["all losses", "MPNet", "layers computed again", "ModernBERT, layers computed again"],
)
def test_the_hosts_trainer_takes_the_same_steps(
    name: str, rows: Sequence[Row], options: dict[str, Any], build: Build, tmp_path: Path
) -> None:
    packed, plain = (
        _trained(rows, model, tmp_path, **given)
        for model, given in ((et.pack(build(name)), options), (build(name), {}))
    )
    assert packed[0] == pytest.approx(plain[0], rel=1e-3)
    for key, weight in plain[1].items():
        assert torch.allclose(packed[1][key], weight, rtol=1e-3, atol=1e-5), key


@pytest.mark.parametrize("name", ["BERT", "MPNet"])
def test_both_passes_of_a_cached_loss_drop_out_the_same(name: str, build: Build) -> None:
    steps = []
    for kind, options in (
        (hosts.MultipleNegativesRankingLoss, {}),
        (hosts.CachedMultipleNegativesRankingLoss, {"mini_batch_size": ROWS}),
    ):
        model = et.pack(build(name).double())
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.3
        torch.manual_seed(0)
        with column_merging_disabled():
            steps.append(_step(Row("", lambda m, kind=kind, options=options: kind(m, **options), 3), model))
    assert_same(steps[1], steps[0], TIGHT)


def test_merged_columns_take_one_pass_and_give_what_each_gives_alone(build: Build) -> None:
    model = et.pack(build("BERT"))
    alone = [model(features)["sentence_embedding"] for features in _columns(model)]
    columns, passes = _columns(model), _passes(model)
    merge(columns)
    together = [model(features)["sentence_embedding"] for features in columns]
    assert len(passes) == 1
    for mine, own in zip(together, alone, strict=True):
        assert torch.allclose(mine, own, atol=1e-6)


def test_columns_asked_for_in_another_order_or_not_at_all_give_their_own(build: Build) -> None:
    model = et.pack(build("BERT"))
    alone = [model(features)["sentence_embedding"] for features in _columns(model)]
    columns = _columns(model)
    merge(columns)
    for place in (2, 0):
        assert torch.allclose(model(columns[place])["sentence_embedding"], alone[place], atol=1e-6)


def test_copies_slices_and_other_masks_are_computed_for_themselves(build: Build) -> None:
    model = et.pack(build("BERT"))
    columns, passes = _columns(model), _passes(model)
    merge(columns)
    model({key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in columns[0].items()})
    model({key: value[:3] if isinstance(value, torch.Tensor) else value for key, value in columns[1].items()})
    shorter = columns[2]["attention_mask"].clone()
    shorter[0, 2:] = 0
    other = model({**columns[2], "attention_mask": shorter})["sentence_embedding"]
    assert len(passes) == 3
    fresh = _columns(model)[2]
    assert torch.equal(other, model({**fresh, "attention_mask": shorter})["sentence_embedding"])


def test_a_second_call_is_computed_anew_and_dropout_drawn_anew(build: Build) -> None:
    model = et.pack(build("BERT")).train()
    model[0].model.embeddings.dropout.p = 0.5
    columns, passes = _columns(model), _passes(model)
    merge(columns)
    first, second = (model(dict(columns[0]))["sentence_embedding"] for _ in range(2))
    assert len(passes) == 2
    assert not torch.allclose(first, second)


def test_another_model_and_another_state_do_not_get_the_first_ones_pass(build: Build) -> None:
    model, teacher = et.pack(build("BERT")), et.pack(build("BERT"))
    with torch.no_grad():
        teacher[0].model.embeddings.word_embeddings.weight.mul_(2)
    own = [one(_columns(one)[1])["sentence_embedding"] for one in (model, teacher)]
    columns = _columns(model)
    merge(columns)
    with torch.no_grad():
        taught = [teacher(dict(features))["sentence_embedding"] for features in columns]
        before = [model(dict(features))["sentence_embedding"] for features in columns[:2]]
    learnt = [model(dict(features))["sentence_embedding"] for features in columns]
    assert torch.allclose(taught[1], own[1], atol=1e-6)
    assert torch.allclose(before[1], own[0], atol=1e-6)
    assert torch.allclose(learnt[1], own[0], atol=1e-6)
    assert all(vector.requires_grad for vector in learnt)
    assert not any(vector.requires_grad for vector in (*taught, *before))


def test_columns_with_other_prompts_are_merged_and_pooled_each_with_its_own(build: Build) -> None:
    model = et.pack(build("BERT"))
    model[1].include_prompt = False
    given = [
        features_of(model, texts(LOSSES[0])[0], prompt=prompt) for prompt in ("query: ", "passage in a document: ")
    ]
    alone = [model(dict(features))["sentence_embedding"] for features in given]
    passes = _passes(model)
    merge(given)
    together = [model(features)["sentence_embedding"] for features in given]
    assert len(passes) == 1
    for mine, own in zip(together, alone, strict=True):
        assert torch.allclose(mine, own, atol=1e-6)


@pytest.mark.parametrize("name", ["BERT", "MPNet", "DeBERTa-v2"])
def test_only_a_model_on_flat_tokens_merges(name: str, build: Build) -> None:
    assert not merges(build(name))
    assert merges(et.pack(build(name))) == (name != "DeBERTa-v2")


def _columns(model: SentenceTransformer) -> list[Features]:
    """Three columns without a text of no token."""
    return [features_of(model, column) for column in texts(LOSSES[0])]


def _passes(model: SentenceTransformer) -> list[int]:
    """Grows with every pass of the backbone, by the tokens it was given."""
    seen: list[int] = []
    words = model[0].model.embeddings.word_embeddings
    words.register_forward_hook(lambda module, given, made: seen.append(given[0].numel()))
    return seen


def _step(row: Row, model: SentenceTransformer, merged: bool = False) -> Step:
    """One backward pass of a loss in training mode, over its own parameters too."""
    model.train()
    loss = row.of(model).double()
    features = [features_of(model, column) for column in texts(row)]
    if merged:
        merge(features)
    with column_merging_disabled() if merged else nullcontext():
        made = value(row, loss, features)
    made.backward()
    return Step(made.item(), {name: p.grad for name, p in loss.named_parameters() if p.grad is not None})


def _trained(
    rows: Sequence[Row], model: SentenceTransformer, folder: Path, **options: Any
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The logged losses and the weights after one step of the host's trainer with each loss."""
    data, losses = {}, {}
    for row in rows:
        columns: dict[str, Any] = {f"column_{place}": column for place, column in enumerate(texts(row))}
        if (label := labels(row)) is not None:
            columns["label"] = label.tolist()
        data[row.name], losses[row.name] = Dataset.from_dict(columns), row.of(model)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=ROWS,
        learning_rate=1e-3,
        optim="sgd",
        save_strategy="no",
        logging_strategy="steps",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **options,
    )
    trainer = SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=losses)
    trainer.train()
    told = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(told) == len(rows)
    return told, {name: weight.detach().clone() for name, weight in model.state_dict().items()}
