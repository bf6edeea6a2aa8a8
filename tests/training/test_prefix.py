"""Training from stored states of frozen layers ends where training without them ends, and says what it kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer

from embertune import caches
from embertune.errors import RecipeError
from embertune.recipe import load_recipe
from embertune.run import run
from embertune.watch import Silent
from tests import tiny
from tests.engine import families
from tests.training.made import distance, planned, weights

Load = Callable[[], SentenceTransformer]

#: Enough passes for a store to pay, dropout where it is trained, and looks at dev on the way.
SETTINGS = {
    "data.dev": 0.3, "data.test": "none", "train.epochs": 3, "train.batch_size": 8, "train.learning_rate": 1e-3,
    "train.precision": "float32", "train.freeze": 1, "guard.eval_every": "4 steps", "guard.patience": None,
}  # fmt: skip


class Notes(Silent):
    """Collects notes and the loss of every step."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.losses: list[float] = []

    def note(self, text: str) -> None:
        """Remember."""
        self.texts.append(text)

    def step(self, progress: Any) -> None:
        """Remember."""
        self.losses.append(progress.loss)


def trained(model: SentenceTransformer, folder: Path, **more: Any) -> tuple[dict[str, torch.Tensor], Notes]:
    """The weights after a run over toy pairs; a double underscore is a dot."""
    settings = SETTINGS | {path.replace("__", "."): value for path, value in more.items()}
    watch = Notes()
    run(load_recipe(set=settings), folder, train=tiny.toy_pairs(60), model=model, watch=watch)
    return weights(model), watch


def kept(watch: Notes) -> list[str]:
    """What was told of states."""
    return [text for text in watch.texts if "states" in text]


def test_auto_keeps_states_in_half_precision_where_that_pays(tiny_model: Load) -> None:
    made = planned(tiny_model(), tiny.toy_pairs(40), train__freeze=1, train__epochs=3)
    assert made.resolved.recipe.train.prefix_cache == "float16"
    assert made.prefix is not None
    assert made.prefix.steady
    once = planned(tiny_model(), tiny.toy_pairs(40), train__freeze=1, train__epochs=1)
    assert once.resolved.recipe.train.prefix_cache is None
    assert "more often" in once.resolved.reasons["train.prefix_cache"]
    free = planned(tiny_model(), tiny.toy_pairs(40), train__epochs=3)
    assert free.resolved.recipe.train.prefix_cache is None


@pytest.mark.parametrize("family", ["with dropout", "RoBERTa", "DistilBERT", "ModernBERT", "MPNet"])
def test_float32_states_end_at_the_weights_of_training_without_them(
    tiny_model: Load, tmp_path: Path, family: str
) -> None:
    make = tiny_model if family == "with dropout" else partial(families.build, family, tmp_path / "family")
    ends = {cache: trained(make(), tmp_path / str(cache), train__prefix_cache=cache) for cache in ("float32", None)}
    assert ends["float32"][1].losses[-1] < ends["float32"][1].losses[0]
    assert distance(ends["float32"][0], ends[None][0]) <= 1e-6
    assert "read from states" in kept(ends["float32"][1])[0]
    assert not kept(ends[None][1])
