"""The states a run could save: what is tried, what is saved, and that the model has what was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune.errors import RecipeError
from embertune.model.states import copied
from tests import tiny

#: Dev improves more than once on the way, so that there is an average.
STEADY = {
    "data.dev": 0.4, "data.test": 0.2, "train.max_steps": 8, "train.learning_rate": 2e-3, "train.batch_size": 8,
    "guard.eval_every": "1 step", "guard.patience": None, "guard.budget": None, "evaluate.similarity": ["cosine"],
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "triplets.jsonl", tiny.toy_triplets(90))


@pytest.fixture
def ran(tiny_model_path: Path, rows: Path, tmp_path: Path) -> Callable[..., tuple[et.Result, dict[str, Any]]]:
    """A run, and what its metrics.json says."""

    def run(**more: Any) -> tuple[et.Result, dict[str, Any]]:
        leaves = {"model.name": str(tiny_model_path), "data.train": str(rows), **STEADY}
        leaves |= {name.replace("__", "."): value for name, value in more.items()}
        result = et.run(et.load_recipe(set=leaves), tmp_path / "out")
        return result, json.loads((result.out / "metrics.json").read_text(encoding="utf-8"))

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(copied(SentenceTransformer(str(folder), device="cpu")))


def test_base_best_state_average_and_three_mixtures_are_tried_on_dev(
    ran: Callable[..., tuple[et.Result, dict[str, Any]]],
) -> None:
    result, record = ran()
    tried = {one["name"]: one["dev"] for one in record["candidates"]}
    mixtures = ["interpolated(0.25)", "interpolated(0.5)", "interpolated(0.75)"]
    assert list(tried) == ["base", "tuned", "average", *mixtures]
    looks = [json.loads(line) for line in (result.out / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    dev = [look["dev"]["cosine_accuracy"] for look in looks if "dev" in look]
    assert (tried["base"], tried["tuned"]) == (dev[0], max(dev))
    assert record["chosen"] in tried
    assert et.load_recipe(result.out / "recipe.yaml").train.keep_general == (0.25, 0.5, 0.75)


def test_without_mixtures_nothing_is_tried_and_the_best_state_is_saved(
    ran: Callable[..., tuple[et.Result, dict[str, Any]]],
) -> None:
    result, record = ran(train__keep_general=None)
    assert (result.chosen, record["candidates"]) == ("tuned", [])


def test_a_share_that_is_named_is_mixed_into_the_saved_weights(
    ran: Callable[..., tuple[et.Result, dict[str, Any]]], tiny_model_path: Path
) -> None:
    result, record = ran(train__keep_general=0.5, data__dev="none", guard__eval_every="auto")
    assert (result.chosen, record["candidates"]) == ("interpolated(0.5)", [])
    base, saved = weights(tiny_model_path), weights(result.model)
    moved = {name for name, tensor in saved.items() if not torch.equal(tensor, base[name])}
    assert moved
    whole = whole_of(result)
    for name in moved:
        torch.testing.assert_close(saved[name], (base[name] + whole[name]) / 2)


def whole_of(result: et.Result) -> dict[str, torch.Tensor]:
    """The weights of the same run with nothing mixed in."""
    recipe = et.replace(et.load_recipe(result.out / "recipe.yaml"), {"train.keep_general": None})
    found = et.run(recipe, result.out.parent / "whole")
    assert found.chosen == "tuned"
    return weights(found.model)


def test_the_metrics_are_those_of_the_state_that_is_saved(
    ran: Callable[..., tuple[et.Result, dict[str, Any]]], rows: Path
) -> None:
    result, record = ran(train__keep_general=0.75)
    assert record["primary"]
    again = et.load_recipe(
        set={
            "model.name": str(result.model), "data.train": str(rows), **STEADY, "train.max_steps": 1,
            "train.learning_rate": 1e-12, "evaluate.primary": record["primary"],
        }
    )  # fmt: skip
    second = et.run(again, result.out.parent / "again")
    assert second.baseline[record["primary"]] == record["tuned"][record["primary"]]


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"train.keep_general": 0.5, "model.layers": 1}, "weights of two sizes cannot be mixed"),
        ({"train.keep_general": [0.5], "data.dev": "none"}, "without dev rows to choose by"),
        ({"train.keep_general": [0.5], "guard.metric": "loss"}, "measured in training alone"),
        ({"train.keep_general": 1.0}, "train.keep_general"),
        ({"train.keep_general": [0.1, 0.2, 0.3, 0.4]}, "train.keep_general"),
    ],
)
def test_what_cannot_be_mixed_is_refused(leaves: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        et.load_recipe(set={"data.train": "rows.jsonl", **leaves})
