"""`train.chunk` through a whole run: written down, binding when the run goes on, and shown before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

import embertune as et
import embertune.training.room
from embertune.dryrun import dry_run
from embertune.errors import RecipeError, TrainingError
from embertune.model.save import fingerprint
from embertune.rundir import read_json
from embertune.watch import Progress, Silent
from tests import tiny

MB = 2**20
LITTLE, MUCH = 4 * MB, 400 * MB


@pytest.fixture
def recipe(tiny_model_path: Path, tmp_path: Path) -> Callable[..., et.Recipe]:
    """A recipe of three steps over pairs, in batches of a hundred; a double underscore is a dot."""
    rows = tiny.write_jsonl(tmp_path / "pairs.jsonl", tiny.toy_pairs(200))

    def make(**leaves: Any) -> et.Recipe:
        settings = {
            "model.name": str(tiny_model_path), "data.train": str(rows), "train.max_steps": 3, "train.batch_size": 100,
            "evaluate.similarity": ["cosine"],
        }  # fmt: skip
        return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})

    return make


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """As if so many bytes were free."""
    return lambda size: monkeypatch.setattr(embertune.training.room, "free_bytes", lambda device: size)


def saved(result: et.Result) -> str:
    return fingerprint(SentenceTransformer(str(result.model), device="cpu", local_files_only=True))


class Interrupts(Silent):
    """Stops the run after its first step."""

    def step(self, progress: Progress) -> None:
        raise KeyboardInterrupt


def test_what_was_decided_stands_in_recipe_and_manifest_with_its_reason_and_gives_the_same_weights_again(
    recipe: Callable[..., et.Recipe], free: Callable[[int], None], tmp_path: Path
) -> None:
    free(LITTLE)
    first = et.run(recipe(), tmp_path / "first")
    chunk = et.load_recipe(first.out / "recipe.yaml").train.chunk
    assert isinstance(chunk, int)
    (line,) = [row for row in (first.out / "recipe.yaml").read_text(encoding="utf-8").splitlines() if " chunk: " in row]
    assert line.startswith(f"  chunk: {chunk}  # the longest batch (")
    measured = read_json(first.out / "manifest.json")["measured"]["train.chunk"]
    assert measured["value"] == chunk
    assert measured["figures"]["free_bytes"] == LITTLE
    free(MUCH)
    again = et.run(et.load_recipe(first.out / "recipe.yaml"), tmp_path / "again")
    assert et.load_recipe(again.out / "recipe.yaml").train.chunk == chunk
    assert saved(again) == saved(first)


def test_a_run_that_goes_on_keeps_the_chunk_it_began_with(
    recipe: Callable[..., et.Recipe], free: Callable[[int], None], tmp_path: Path
) -> None:
    free(LITTLE)
    with pytest.raises(KeyboardInterrupt):
        et.run(recipe(), tmp_path / "out", watch=Interrupts())
    chunk = et.load_recipe(tmp_path / "out" / "recipe.yaml").train.chunk
    free(MUCH)
    assert et.load_recipe(et.run(recipe(), tmp_path / "out").out / "recipe.yaml").train.chunk == chunk
    assert et.load_recipe(et.run(recipe(), tmp_path / "new").out / "recipe.yaml").train.chunk is None


def test_too_large_a_batch_is_told_before_a_folder_is_made(
    recipe: Callable[..., et.Recipe], free: Callable[[int], None], tmp_path: Path
) -> None:
    free(LITTLE)
    with pytest.raises(TrainingError, match=r"^train\.chunk: the longest batch .* write train\.chunk: \d+$"):
        et.run(recipe(train__chunk=None), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_loss_of_ones_own_runs_whole_or_not_at_all(
    recipe: Callable[..., et.Recipe], free: Callable[[int], None], tmp_path: Path
) -> None:
    result = et.run(recipe(), tmp_path / "whole", loss=MultipleNegativesRankingLoss)
    assert et.load_recipe(result.out / "recipe.yaml").train.chunk is None
    with pytest.raises(RecipeError, match=r"train\.chunk: found 50, and a loss is handed over"):
        et.run(recipe(train__chunk=50), tmp_path / "cut", loss=MultipleNegativesRankingLoss)
    free(LITTLE)
    with pytest.raises(TrainingError, match=r"write train\.batch_size: \d+$"):
        et.run(recipe(), tmp_path / "large", loss=MultipleNegativesRankingLoss)
    assert not (tmp_path / "large").exists()


def test_a_dry_run_shows_the_chunk_and_the_memory_of_the_longest_batch(
    recipe: Callable[..., et.Recipe], free: Callable[[int], None]
) -> None:
    free(LITTLE)
    cut_up = dry_run(recipe(), Silent())
    free(MUCH)
    whole = dry_run(recipe(), Silent())
    assert "  chunk: null  # the longest batch (" in whole.recipe_yaml
    assert "  chunk: null" not in cut_up.recipe_yaml
    assert LITTLE > cut_up.estimate.memory - _weights(recipe) > 0
    assert whole.estimate.memory > LITTLE


def _weights(recipe: Callable[..., et.Recipe]) -> int:
    model = SentenceTransformer(str(recipe().model.name), device="cpu", local_files_only=True)
    return sum(p.numel() * p.element_size() for p in model.parameters())


def test_chunks_are_refused_next_to_what_wraps_the_model(recipe: Callable[..., et.Recipe]) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(train__chunk=64, train__extra={"torch_compile": True})
    assert str(caught.value) == (
        "recipe: train.chunk: found 64 next to train.extra.torch_compile, with which it has not been tested; "
        "write null, or leave the other out"
    )
    assert recipe(train__chunk=None, train__extra={"torch_compile": True}).train.chunk is None
