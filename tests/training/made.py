"""Plans and runs in training over the toy rows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer

from embertune.data.prepare import Given
from embertune.data.prepared import Prepared
from embertune.model.prompts import column_prompts
from embertune.plan import Plan, plan
from embertune.recipe import load_recipe
from embertune.training.fit import Fit, fit
from embertune.training.looking import Dev
from embertune.training.session import Surroundings
from embertune.watch import Silent
from tests import tiny

Rows = list[dict[str, Any]]


#: Toy rows of every shape that rows have by themselves.
ROWS: dict[str, Callable[..., Rows]] = {
    "pairs": tiny.toy_pairs,
    "triplets": tiny.toy_triplets,
    "scored": tiny.toy_scored,
    "labelled": tiny.toy_labelled,
    "classes": tiny.toy_classes,
    "nli": tiny.toy_nli,
}


def planned(model: SentenceTransformer, rows: Rows, **leaves: Any) -> Plan:
    """A plan over all the rows, no dev and no test unless asked for; a double underscore is a dot."""
    given = {"data.dev": "none", "data.test": "none"}
    settings = given | {path.replace("__", "."): value for path, value in leaves.items()}
    return plan(load_recipe(set=settings), Given(rows), model, Silent())


def trained(
    made: Plan, score: Callable[[], Mapping[str, float]] | None = None, base: Mapping[str, float] | None = None
) -> tuple[Fit, list[dict[str, Any]]]:
    """Train the model of the plan in place, dev being what `score` says; what `fit` says, and its history."""
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.jsonl"
        prompts = column_prompts(made.built.role_prompts, made.data.sides.train.text_columns)
        told = (lambda: Dev(score())) if score else None
        around = Surroundings(told, history, Silent(), prompts, Dev(base or {}), encode=made.encode)
        fitted = fit(made.built.model, made.data.sides.train, made.resolved.recipe, around, made.course)
        return fitted, [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]


def prepared(shape: Any, columns: Mapping[str, Sequence[Any]], classes: tuple[str, ...] = ()) -> Prepared:
    """Rows that are prepared already, column by column."""
    return Prepared(
        "made", shape, Dataset.from_dict({name: list(values) for name, values in columns.items()}), classes=classes
    )


def weights(model: SentenceTransformer) -> dict[str, torch.Tensor]:
    """A copy of all weights."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def distance(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> float:
    """The largest difference of any two weights."""
    assert set(left) == set(right)
    return max(float((left[name] - right[name]).abs().max()) for name in left)
