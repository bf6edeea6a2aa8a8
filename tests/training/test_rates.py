"""Highest rates by layer: a geometric fall from the top, and single layers and patterns named."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from embertune.errors import RecipeError
from embertune.model.freezing import NOTHING, Frozen
from embertune.model.layers import LayerTable
from embertune.recipe import load_recipe
from embertune.recipe.sections import TrainSection
from embertune.training.rates import Row, rows_of
from tests import tiny
from tests.model.test_freezing import table
from tests.training import made


def rows(found: LayerTable, heads: tuple[str, ...] = (), frozen: Frozen = NOTHING, **settings: object) -> list[Row]:
    return list(rows_of(found, heads, TrainSection(learning_rate=1e-4, **settings), frozen))


@given(st.integers(1, 24), st.floats(0.1, 0.99))
def test_every_layer_has_a_share_of_the_rate_of_the_one_above_it(blocks: int, decay: float) -> None:
    found = rows(table(blocks, head=True), ("classifier.weight",), layer_decay=decay)
    by_name = {row.name: row.rate for row in found}
    assert {by_name[name] for name in ("loss", "2 Dense", "top of the backbone", f"block {blocks - 1}")} == {1e-4}
    below = [row.rate for row in found[: blocks + 1]]
    assert all(low == pytest.approx(high * decay) for low, high in pairwise(below))


@given(
    st.integers(2, 12), st.lists(st.sampled_from(["embeddings", "top", "head", "loss", "block 0", "*"]), unique=True)
)
def test_every_parameter_is_in_one_row_and_the_last_key_that_meets_it_decides(blocks: int, keys: list[str]) -> None:
    keys = keys[keys.index("*") :] if "*" in keys else keys  # what stands before it would have no effect
    rates = {key: (number + 1) * 1e-6 for number, key in enumerate(keys)}
    settings = {"layer_rates": rates} if rates else {}
    found = rows(table(blocks, head=True), ("classifier.weight",), **settings)
    names = [name for row in found for name in row.parameters]
    assert len(names) == len(set(names)) == blocks + 4
    kinds = {"0.emb": "embeddings", "0.pooler.w": "top", "2.w": "head", "classifier.weight": "loss"}
    for row in found:
        meets = [key for key in keys if key in (kinds.get(row.parameters[0]), row.name, "*")]
        assert row.rate == pytest.approx(rates[meets[-1]] if meets else 1e-4)


def test_a_range_of_blocks_and_a_pattern_name_rates() -> None:
    found = rows(table(4), layer_rates={"blocks 0-1": 1e-5, "*.block.3.*": 2e-5}, layer_decay=0.5)
    assert [(row.name, row.rate) for row in found] == [
        ("embeddings", pytest.approx(1e-4 / 16)),
        ("block 0", pytest.approx(1e-5)),
        ("block 1", pytest.approx(1e-5)),
        ("block 2", pytest.approx(5e-5)),
        ("block 3", pytest.approx(2e-5)),
        ("top of the backbone", pytest.approx(1e-4)),
    ]


def test_a_pattern_that_meets_a_part_of_a_layer_makes_a_row_of_it() -> None:
    one, *others = table(1).layers
    parts = LayerTable((type(one)("embeddings", "embeddings", "", ("a.weight", "a.bias"), 2, 2), *others))
    found = rows(parts, layer_rates={"*.bias": 1e-5})
    assert [(row.name, row.parameters) for row in found[:2]] == [
        ("embeddings", ("a.weight",)),
        ("embeddings, *.bias", ("a.bias",)),
    ]
    frozen = rows(parts, frozen=Frozen(patterns=("*.bias",)))
    assert [row.name for row in frozen[:2]] == ["embeddings", "embeddings, *.bias"]


def test_rates_are_multiplied_with_the_highest() -> None:
    found = rows(table(2), layer_rates={"block 0": 1e-5}, batch_size=128, scale_rate=64)
    assert [row.rate for row in found] == pytest.approx([2e-4, 2e-5, 2e-4, 2e-4])


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"emebddings": 1e-5}, r"train.layer_rates.emebddings: .*; did you mean 'embeddings'\?"),
        ({"*nothing*": 1e-5}, r"no layer or parameter is called so; write embeddings, top.*such as '0.emb'"),
        ({"block 4": 1e-5}, r"the model has blocks 0 to 3; name blocks that are there"),
        ({"blocks 2-1": 1e-5}, r"blocks 2-1: counts downward; write blocks 1-2"),
        ({"head": 1e-5}, r"head: there is none to train; there are embeddings, block 0, block 1"),
        ({"loss": 1e-5}, r"loss: there is none to train"),
        ({"blocks 0-1": 1e-5}, r"all that it names is frozen for the whole run; leave it out, or freeze less"),
        ({"block 2": 1e-5, "blocks 0-3": 2e-5}, r"block 2: the keys after it name all that it names"),
    ],
)
def test_a_key_that_decides_over_nothing_is_refused(rates: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rows(table(4), frozen=Frozen(2, embeddings=True), layer_rates=rates)


def test_a_fall_from_layer_to_layer_needs_layers() -> None:
    whole = LayerTable(tuple(row for row in table(1).layers if row.kind == "top"))
    with pytest.raises(RecipeError, match=r"train.layer_decay: no layers are found in this model; leave it out"):
        rows(whole, layer_decay=0.9)


@pytest.mark.parametrize(
    ("frozen", "rates"),
    [
        (Frozen(3, embeddings=True), {}),
        (Frozen(2, embeddings=True), {"block 2": 1e-5}),
        (Frozen(3), {"embeddings": 1e-5}),
    ],
)
def test_a_fall_that_changes_no_rate_is_refused(frozen: Frozen, rates: dict[str, float]) -> None:
    given: dict[str, object] = {"layer_decay": 0.9} | ({"layer_rates": rates} if rates else {})
    with pytest.raises(RecipeError, match=r"train.layer_decay: changes no rate: .*; leave it out, or freeze less"):
        rows(table(4), frozen=frozen, **given)
    assert rows(table(4), frozen=Frozen(2, embeddings=True), layer_decay=0.9)


def test_rates_by_layer_change_the_weights_and_the_same_rate_everywhere_does_not(
    tiny_model: Callable[[], SentenceTransformer],
) -> None:
    ends = []
    same = {"block 1": 1e-3, "embeddings": 1e-3, "*.bias": 1e-3}
    for leaves in (
        {},
        {"train__layer_rates": same},
        {"train__layer_decay": 0.5},
        {"train__layer_rates": {"top": 1e-4}},
    ):
        model = tiny_model()
        settings = {"train__max_steps": 4, "train__batch_size": 8, "train__learning_rate": 1e-3} | leaves
        made.trained(made.planned(model, tiny.toy_pairs(32), **settings))
        ends.append(made.weights(model))
    plain, alike, falling, unused = ends
    assert made.distance(plain, alike) == 0.0
    assert made.distance(plain, falling) > 0
    assert made.distance(plain, unused) == 0.0  # mean pooling does not ask the pooler


def test_a_rate_for_weights_that_the_loss_does_not_have_is_refused_before_training(
    tiny_model: Callable[[], SentenceTransformer],
) -> None:
    leaves = {"train.loss": "triplet", "train.layer_rates": {"loss": 1e-3}}
    with pytest.raises(RecipeError, match=r"layer_rates.loss: found a rate, and triplet has no weights of its own"):
        load_recipe(set=leaves)
    assert load_recipe(set=leaves | {"train.loss": "softmax"}).train.layer_rates == {"loss": 1e-3}
    with pytest.raises(RecipeError, match="multiple_negatives_ranking has no weights of its own"):
        made.planned(tiny_model(), tiny.toy_pairs(32), train__layer_rates={"loss": 1e-3})
