"""Training from stored states of frozen layers ends where training without them ends, and says what it kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, WeightedLayerPooling

from embertune import caches
from embertune.engine.pack import pack
from embertune.errors import RecipeError
from embertune.model.prefix import why_not
from embertune.model.tokens import open_tokens
from embertune.recipe import load_recipe
from embertune.run import run
from embertune.training import prefix
from embertune.training.caching import PrefixCache
from embertune.watch import Silent
from tests import tiny
from tests.engine import families
from tests.training.made import distance, planned, weights

Load = Callable[[], SentenceTransformer]
LEAF = "train.prefix_cache"

#: Dropout where it is trained, looks at dev on the way, several passes.
SETTINGS = {
    "data.dev": 0.3, "data.test": "none", "train.epochs": 3, "train.batch_size": 8, "train.learning_rate": 1e-3,
    "train.precision": "float32", "train.freeze": 1, "guard.eval_every": "4 steps", "guard.patience": None,
}  # fmt: skip


class Notes(Silent):
    """Collects what is told of states, and the loss of every step."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.losses: list[float] = []

    def note(self, text: str) -> None:
        """Remember."""
        self.states += [text] if "states" in text else []

    def step(self, progress: Any) -> None:
        """Remember."""
        self.losses.append(progress.loss)


def trained(model: SentenceTransformer, folder: Path, **more: Any) -> tuple[dict[str, torch.Tensor], Notes]:
    """The weights after a run over toy pairs; a double underscore is a dot."""
    settings = SETTINGS | {path.replace("__", "."): value for path, value in more.items()}
    watch = Notes()
    run(load_recipe(set=settings), folder, train=tiny.toy_pairs(60), model=model, watch=watch)
    return weights(model), watch


def looks(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["dev"] for record in map(json.loads, lines) if "dev" in record]


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in right)


def test_auto_keeps_half_precision_where_much_is_spared(tiny_model: Load) -> None:
    rows = tiny.toy_pairs(40)
    little = planned(tiny_model(), rows, train__freeze=1, train__epochs=3)
    assert little.prefix is None
    assert "hardly" in little.resolved.reasons[LEAF]
    much = planned(tiny_model(), rows, train__freeze=1, train__epochs=60)
    assert much.resolved.recipe.train.prefix_cache == "float16"
    assert much.resolved.measured[LEAF].figures["layers"] == 1
    assert much.prefix is not None
    assert much.prefix.steady
    free = planned(tiny_model(), rows, train__freeze={"layers": 1, "embeddings": False}, train__epochs=60)
    assert free.resolved.recipe.train.prefix_cache is None
    assert "together with the embeddings" in free.resolved.reasons[LEAF]


@pytest.mark.parametrize("family", ["with dropout", "RoBERTa", "ModernBERT", "MPNet"])
def test_float32_states_end_at_the_weights_of_training_without_them(
    tiny_model: Load, tmp_path: Path, family: str
) -> None:
    make = tiny_model if family == "with dropout" else partial(families.build, family, tmp_path / "family")
    ends = {cache: trained(make(), tmp_path / str(cache), train__prefix_cache=cache) for cache in ("float32", None)}
    assert ends["float32"][1].losses[-1] < ends["float32"][1].losses[0]
    assert distance(ends["float32"][0], ends[None][0]) <= 1e-6
    assert looks(tmp_path / "float32") == looks(tmp_path / "None")
    assert "read from states behind 1 frozen layer, as float32" in ends["float32"][1].states[0]
    assert not ends[None][1].states


def test_thaws_and_chunks_read_states_and_end_at_the_same_weights(deep: Load, tmp_path: Path) -> None:
    thawing = {"train__freeze": 3, "train__unfreeze": {"every": "1 epoch", "until": 1}, "train__chunk": 64}
    ends = {
        cache: trained(deep(), tmp_path / str(cache), train__prefix_cache=cache, **thawing)
        for cache in ("float32", None)
    }
    assert distance(ends["float32"][0], ends[None][0]) <= 1e-6
    assert [text.split(" frozen")[0][-1] for text in ends["float32"][1].states] == ["2", "1"]


def test_texts_that_new_negatives_bring_are_read_from_states_too(tiny_model: Load, tmp_path: Path) -> None:
    mining = {"data__negatives": {"every": 1, "range_max": 20}, "train__epochs": 2}
    ends = {
        cache: trained(tiny_model(), tmp_path / str(cache), train__prefix_cache=cache, **mining)
        for cache in ("float32", None)
    }
    assert distance(ends["float32"][0], ends[None][0]) <= 1e-6
    assert len(ends["float32"][1].states) == 2


def test_dev_is_encoded_from_states(tiny_model: Load) -> None:
    made = planned(tiny_model(), tiny.toy_pairs(60), data__dev=0.3, train__freeze=1, train__prefix_cache="float32")
    assert made.prefix is not None
    assert made.scene.dev is not None
    model, texts = made.built.model, made.scene.dev.texts["anchor"]
    plain = made.encode_dev(texts, "anchor")
    cache = PrefixCache(made.prefix, model, "float32", Silent())
    first = made.course.phases[0]
    with cache.during(first, first.frozen_blocks, made.data.sides.train, lambda: None), torch.no_grad():
        lower = model[0].model.encoder.layer[0].output.dense
        lower.weight.fill_(torch.nan)
        assert np.allclose(made.encode_dev(texts, "anchor"), plain, atol=1e-6)


def test_a_later_run_reads_the_same_files_and_ends_at_the_same_bits(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBERTUNE_CACHE", str(tmp_path / "cache"))
    first, _ = trained(tiny_model(), tmp_path / "first", train__prefix_cache="float16")
    files = sorted((tmp_path / "cache").rglob("*.states"))
    assert len(files) == 1
    assert [entry.kind for entry in caches.entries("prefix")] == ["prefix"]
    second, _ = trained(tiny_model(), tmp_path / "second", train__prefix_cache="float16", train__batch_size=8)
    assert sorted((tmp_path / "cache").rglob("*.states")) == files
    assert same(first, second)


def test_what_auto_became_goes_as_deep_when_it_is_written(deep: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "TRIAL", 0)
    thawing = {"train__freeze": 3, "train__unfreeze": "1 epoch", "train__epochs": 4}
    made = [planned(deep(), tiny.toy_pairs(40), **thawing, train__prefix_cache=c) for c in ("auto", "float16")]
    depths = [one.prefix.depths([(p, p.frozen_blocks) for p in one.course.phases]) for one in made if one.prefix]
    assert depths == [(1, 1, 1, 0)] * 2
    once = planned(deep(), tiny.toy_pairs(40), train__freeze=3, train__epochs=1, train__prefix_cache="float16")
    assert once.prefix is not None
    assert once.prefix.depths([(p, p.frozen_blocks) for p in once.course.phases]) == (3,)


@pytest.mark.parametrize("trouble", ["little room", "no folder"])
def test_states_that_cannot_be_kept_are_computed_and_change_no_bit(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    whole, _ = trained(tiny_model(), tmp_path / "whole", train__prefix_cache="float16")
    monkeypatch.setenv("EMBERTUNE_CACHE", str(tmp_path / "cache"))
    if trouble == "little room":
        monkeypatch.setenv("EMBERTUNE_CACHE_SIZE", "20 kB")
    else:
        (tmp_path / "cache").write_text("in the way")
    less, watch = trained(tiny_model(), tmp_path / "less", train__prefix_cache="float16")
    assert any("are computed each time" in text for text in watch.states)
    assert same(less, whole)


def several_layers(family: str, root: Path) -> SentenceTransformer:
    backbone = families.build(family, root)[0]
    backbone.model.config.output_hidden_states = True
    width = backbone.get_embedding_dimension()
    return SentenceTransformer(modules=[backbone, WeightedLayerPooling(width, 2, 1), Pooling(width)], device="cpu")


@pytest.mark.parametrize(
    ("family", "make", "why"),
    [
        ("ALBERT", families.build, "share their weights"),
        ("DeBERTa-v2", families.build, "not packed"),
        ("Qwen3", families.build, "pads on the left"),
        ("BERT", several_layers, "reads several layers"),
        ("BERT", families.build, ""),
    ],
)
def test_states_stand_in_for_layers_only_where_they_can(
    tmp_path: Path, family: str, make: Callable[[str, Path], SentenceTransformer], why: str
) -> None:
    model = pack(make(family, tmp_path))
    found = why_not(model, open_tokens(model))
    assert why in found
    assert bool(why) == bool(found)


def test_a_model_that_is_not_packed_runs_without_states_and_says_why(tmp_path: Path) -> None:
    rows = tiny.toy_pairs(20)
    made = planned(families.build("DeBERTa-v2", tmp_path), rows, train__freeze=1, train__epochs=60)
    assert made.prefix is None
    assert "not packed" in made.resolved.reasons[LEAF]
    assert made.resolved.notes[-1].startswith(
        "frozen layers are computed in every pass, for their states cannot be kept"
    )
    with pytest.raises(RecipeError, match="found float16: the model runs in buckets, not packed; write auto or null"):
        planned(families.build("DeBERTa-v2", tmp_path), rows, train__freeze=1, train__prefix_cache="float16")


@pytest.mark.parametrize(
    ("leaves", "found"),
    [
        ({}, "train.freeze is null"),
        ({"train.freeze": {"layers": 1, "embeddings": False}}, "embeddings and layers are not frozen together"),
        ({"train.freeze": 1, "train.extra": {"gradient_checkpointing": True}}, "next to train.extra.gradient_check"),
        ({"train.freeze": 1, "train.extra": {"fsdp": "full_shard"}}, "next to train.extra.fsdp"),
    ],
)
def test_a_cache_that_cannot_take_effect_is_refused(leaves: dict[str, Any], found: str) -> None:
    with pytest.raises(RecipeError, match=found):
        load_recipe(set={**leaves, LEAF: "float16"})
    load_recipe(set=leaves)
