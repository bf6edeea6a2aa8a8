"""How far texts are from what a model knows, and the settings that rest on it."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from torch import nn

from embertune.domain import distance_of
from embertune.errors import RecipeError
from embertune.init import write_recipe
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.recipe.distance import BY_DISTANCE, Distance
from embertune.run import run
from embertune.rundir import measured_in
from embertune.watch import Silent
from tests import tiny

Loader = Callable[[], SentenceTransformer]
AUTO = dict.fromkeys(BY_DISTANCE, "auto")
#: Half of the letters are others, so that no word is known.
TURNED = [{key: codecs.encode(text, "rot13") for key, text in row.items()} for row in tiny.toy_pairs(60)]


def settings(tmp_path: Path, model: Path, rows: tiny.Rows, **more: Any) -> dict[str, Any]:
    train = tiny.write_jsonl(tmp_path / "rows.jsonl", rows)
    leaves = {"data.train": str(train), "model.name": str(model), "train.max_steps": 2, "train.epochs": None}
    return {**leaves, "train.precision": "float32", **more}


def test_known_words_are_one_piece_and_turned_ones_are_many(tiny_model: Loader) -> None:
    model = tiny_model()
    texts = [row["anchor"] for row in tiny.toy_pairs(20)]
    known = distance_of(model, texts, None)
    turned = distance_of(model, [codecs.encode(text, "rot13") for text in texts], None)
    assert known == Distance(1.0, 0.0)
    assert turned is not None
    assert turned.pieces > 2
    assert known.near
    assert turned.far


def test_punctuation_is_no_word_and_a_letter_without_spaces_is_one(tiny_model: Loader) -> None:
    model = tiny_model()
    assert distance_of(model, ["how, can -- (the) car!", ""], None) == Distance(1.0, 0.0)
    assert distance_of(model, ["我的银行卡"], None) == Distance(1.0, 1.0)


def test_without_words_or_a_tokenizer_there_is_no_distance(tiny_model: Loader) -> None:
    model = tiny_model()
    assert distance_of(model, ["!", ""], None) is None
    assert distance_of(SentenceTransformer(modules=[nn.Identity()], device="cpu"), ["a word"], None) is None


@given(st.floats(1, 30), st.floats(0, 1), st.none() | st.floats(0, 1))
def test_nothing_is_near_and_far_at_once_and_more_pieces_are_never_nearer(
    pieces: float, unknown: float, score: float | None
) -> None:
    here = Distance(pieces, unknown, score)
    further = replace(here, pieces=pieces + 1)
    assert not (here.near and here.far)
    assert here.near or not further.near
    assert further.far or not here.far


def test_a_model_that_does_badly_on_dev_as_it_came_is_not_near() -> None:
    assert Distance(1.0, 0.0, 0.9).near
    assert not Distance(1.0, 0.0, 0.1).near


def test_near_and_small_freezes_half_of_the_layers_and_the_manifest_keeps_why(
    tmp_path: Path, tiny_model_path: Path
) -> None:
    recipe = load_recipe(set=settings(tmp_path, tiny_model_path, tiny.toy_pairs(60), **AUTO, **{"data.dev": "none"}))
    run(recipe, tmp_path / "out")
    text = (tmp_path / "out" / "recipe.yaml").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("  freeze:")]
    assert "1.00 pieces a word" in line
    kept = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["measured"]
    assert kept["train.freeze"]["value"] == 1
    assert kept["train.freeze"]["figures"] == {"pieces_per_word": 1.0, "unknown_share": 0.0}
    assert kept["train.layer_decay"]["value"] is None
    again = load_recipe(tmp_path / "out" / "recipe.yaml")
    assert again.train.freeze is not None
    assert again.train.layer_decay is None
    known = measured_in(tmp_path / "out")
    resolved = plan(again, None, None, Silent(), known).resolved
    assert resolved.measured["train.freeze"] == known["train.freeze"]


def test_what_was_decided_binds_a_run_that_goes_on(tmp_path: Path, tiny_model_path: Path) -> None:
    recipe = load_recipe(set=settings(tmp_path, tiny_model_path, tiny.toy_pairs(60), **AUTO))
    first = plan(recipe, None, None, Silent()).resolved.measured["train.freeze"]
    other = {"train.freeze": replace(first, value=None, reason="was found otherwise")}
    assert plan(recipe, None, None, Silent(), other).resolved.recipe.train.freeze is None


def test_far_texts_train_every_layer_the_embeddings_at_half_the_rate(tmp_path: Path, tiny_model_path: Path) -> None:
    resolved = plan(load_recipe(set=settings(tmp_path, tiny_model_path, TURNED, **AUTO)), None, None, Silent()).resolved
    assert resolved.recipe.train.freeze is None
    decay = resolved.recipe.train.layer_decay
    assert isinstance(decay, float)
    assert decay**2 == pytest.approx(0.5, abs=0.01)
    assert "dev_score" in resolved.measured["train.layer_decay"].figures
    assert "far from what the model knows" in resolved.reasons["train.layer_decay"]


def test_a_large_dev_set_is_not_encoded_for_it(
    tmp_path: Path, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embertune.domain.DEV_TEXTS", 1)
    recipe = load_recipe(set=settings(tmp_path, tiny_model_path, tiny.toy_pairs(60), **AUTO))
    assert "dev_score" not in plan(recipe, None, None, Silent()).resolved.measured["train.freeze"].figures


def test_auto_beside_thawing_is_refused_with_what_would_do() -> None:
    with pytest.raises(RecipeError, match=r"train\.freeze: found auto next to train\.unfreeze"):
        load_recipe(set={"train.freeze": "auto", "train.unfreeze": "1 epoch"})


@pytest.mark.parametrize(
    ("more", "decay"), [({}, True), ({"train.freeze": 1}, False), ({"train.unfreeze": None}, False)]
)
def test_init_decides_by_the_distance_where_the_user_says_nothing_of_layers(
    more: dict[str, Any], decay: bool, tmp_path: Path, tiny_model_path: Path
) -> None:
    said = settings(tmp_path, tiny_model_path, TURNED, **{"data.dev": "none", **more})
    write_recipe(said.pop("data.train"), tmp_path / "recipe.yaml", said, Silent())
    written = load_recipe(tmp_path / "recipe.yaml").train
    assert (written.freeze is not None) == ("train.freeze" in more)
    assert (written.layer_decay is not None) == decay
