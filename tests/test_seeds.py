"""Several seeds of one recipe: what the seed of training decides, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune.model.save import fingerprint
from tests import tiny


@pytest.fixture(scope="module")
def recipe(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., et.Recipe]:
    """A recipe of a few steps on pairs, with leaves changed; a double underscore is a dot."""
    rows = tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "faq.jsonl", tiny.toy_pairs(120))
    settings = {
        "model.name": str(tiny_model_path), "data.train": str(rows), "train.max_steps": 4, "train.batch_size": 8,
        "train.learning_rate": 1e-3, "evaluate.similarity": ["cosine"],
    }  # fmt: skip

    def make(**leaves: Any) -> et.Recipe:
        return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})

    return make


def weights_of(folder: Path) -> str:
    return fingerprint(SentenceTransformer(str(folder), device="cpu", local_files_only=True))


def audit(result: et.Result) -> Any:
    return json.loads((result.out / "audit.json").read_text(encoding="utf-8"))


def losses(result: et.Result) -> list[float]:
    lines = (result.out / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["loss"] for record in map(json.loads, lines) if "loss" in record]


def test_the_seed_of_training_changes_what_is_learnt_and_neither_splits_nor_baseline(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    one, other, plain = (
        et.run(recipe(seed=5, **more), tmp_path / name)
        for name, more in {"one": {"train__seed": 5}, "other": {"train__seed": 6}, "plain": {}}.items()
    )
    assert one.baseline == other.baseline == plain.baseline
    assert audit(one) == audit(other) == audit(plain)
    assert losses(one) == losses(plain) != losses(other)
    assert weights_of(one.model) == weights_of(plain.model)
    elsewhere = et.run(recipe(seed=6, train__seed=5), tmp_path / "elsewhere")
    assert elsewhere.baseline != one.baseline
