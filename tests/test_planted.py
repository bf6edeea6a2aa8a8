"""Faults planted in data, in a weight, in a gradient and between two starts of a run: each has one clear outcome."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import nn

import embertune as et
from embertune.cli import main
from embertune.errors import DataError, RunFolderError
from embertune.watch import Progress, Silent
from tests.tiny import toy_labelled, toy_pairs, toy_scored, write_jsonl

Rows = list[dict[str, Any]]
STEPS = {"train.max_steps": 6, "train.batch_size": 8, "evaluate.similarity": ["cosine"], "guard.eval_every": "2 steps"}


def recipe(model: Path, folder: Path, **leaves: Any) -> et.Recipe:
    sides = {f"data.{side}": str(folder / f"{side}.jsonl") for side in ("train", "dev", "test")}
    settings = {path.replace("__", "."): value for path, value in leaves.items()}
    return et.load_recipe(set={"model.name": str(model), **sides, **STEPS, **settings})


def write_sides(folder: Path, rows: Callable[..., Rows]) -> dict[str, Rows]:
    """Train, dev and test of the same kind."""
    sides = {"train": rows(40), "dev": rows(20, 60), "test": rows(20, 90)}
    for side, made in sides.items():
        write_jsonl(folder / f"{side}.jsonl", made)
    return sides


def history(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text(encoding="utf-8").splitlines()]


# In data

FAULTS: Mapping[str, tuple[Callable[..., Rows], str, Any, str]] = {
    "a score that is no number": (toy_scored, "score", math.nan, "'score' holds nan, no finite number, in 1 row (4)"),
    "an infinite score": (toy_scored, "score", math.inf, "'score' holds inf, no finite number, in 1 row (4)"),
    "a score without bounds": (toy_scored, "score", 1e30, "holds 1e+30 in row 4; scores are 0..1"),
    "a label that is no number": (toy_labelled, "label", math.nan, "'label' holds nan"),
    "an empty text": (toy_pairs, "positive", "", "'positive' is empty or null in 1 row (4)"),
    "a text of spaces": (toy_pairs, "positive", " \t \u00a0\n", "'positive' is empty or null in 1 row (4)"),
    "a text that is null": (toy_pairs, "anchor", None, "'anchor' is empty or null in 1 row (4)"),
}


@pytest.mark.parametrize("side", ["train", "dev", "test"])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_in_a_row_is_told_with_its_file_column_and_row(
    fault: str, side: str, tiny_model_path: Path, tmp_path: Path
) -> None:
    rows, column, value, message = FAULTS[fault]
    sides = write_sides(tmp_path, rows)
    sides[side][3][column] = value
    write_jsonl(tmp_path / f"{side}.jsonl", sides[side])
    with pytest.raises(DataError) as caught:
        et.run(recipe(tiny_model_path, tmp_path), tmp_path / "out")
    told = str(caught.value)
    assert f"{side}.jsonl" in told
    assert message in told
    assert not (tmp_path / "out").exists()


# In a weight


def test_a_weight_that_is_no_number_is_named_before_anything_is_measured(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sides(tmp_path, toy_pairs)
    model = shutil.copytree(tiny_model_path, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    weights[name][3, 5] = math.nan
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    rows = [f"--{side}={tmp_path / side}.jsonl" for side in ("train", "dev", "test")]
    assert main(["run", f"--model={model}", *rows, f"--out={tmp_path / 'out'}"]) == 1
    told = capsys.readouterr().err
    assert f"1 of 2,048 weights of 0.model.{name} are NaN or infinite; take another copy of the model" in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


# In training


class Planted(nn.Module):
    """The loss of ranking; in the third step `change` is done to it."""

    def __init__(self, model: SentenceTransformer, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.change, self.steps = MultipleNegativesRankingLoss(model), change, 0

    def forward(self, features: Any, labels: Any) -> torch.Tensor:
        if self.training:
            self.steps += 1
        loss: torch.Tensor = self.inner(features, labels)
        return self.change(loss) if self.training and self.steps == 3 else loss


def with_broken_gradient(loss: torch.Tensor) -> torch.Tensor:
    loss.register_hook(lambda gradient: gradient * math.nan)
    return loss


def finite(model: Path) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in load_file(model / "model.safetensors").values())


@pytest.mark.parametrize(
    ("change", "skipped"),
    [
        (with_broken_gradient, "gradient norm is nan"),
        (lambda loss: loss * math.inf, "loss is inf"),
        (lambda loss: loss * 1e30, "gradient norm is nan"),
        (lambda loss: loss * 1e12, None),  # clipped
    ],
    ids=["a gradient that is no number", "an infinite loss", "a row that explodes", "a row that clipping bears"],
)
def test_a_step_that_goes_wrong_costs_that_step_at_most(
    change: Callable[[torch.Tensor], torch.Tensor], skipped: str | None, tiny_model_path: Path, tmp_path: Path
) -> None:
    write_sides(tmp_path, toy_pairs)
    made = recipe(tiny_model_path, tmp_path, guard__patience=None)
    result = et.run(made, tmp_path / "out", loss=lambda model: Planted(model, change))
    steps = [line for line in history(result.out) if "loss" in line]
    assert [line.get("skipped") for line in steps] == [None, None, skipped, None, None, None]
    assert finite(result.model)
    report = (result.out / "report.md").read_text(encoding="utf-8")
    assert ("1 step changed nothing: loss or gradients were not finite" in report) == (skipped is not None)


def test_vectors_of_no_length_end_in_a_model_of_numbers(tiny_model: Any, tmp_path: Path) -> None:
    write_sides(tmp_path, toy_pairs)
    model = tiny_model()
    last = model[0].auto_model.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        last.weight.fill_(1e-25)
        last.bias.fill_(0)
    made = et.replace(recipe(tmp_path, tmp_path), {"model.name": None})
    result = et.run(made, tmp_path / "out", model=model)
    assert finite(result.model)
    assert result.verdict in ("no clear change", "too few to tell", "better", "worse")


# Between two starts


class Interrupts(Silent):
    """Presses Ctrl-C after the first step."""

    def step(self, progress: Progress) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("rows", [20, 300])
def test_a_run_does_not_go_on_with_another_dev_file_in_the_place_of_its_own(
    rows: int, tiny_model_path: Path, tmp_path: Path
) -> None:
    """With as many rows every decision is the same; with more, looks at dev are decided otherwise."""
    write_sides(tmp_path, toy_pairs)
    made = recipe(tiny_model_path, tmp_path, guard__eval_every="auto")
    with pytest.raises(KeyboardInterrupt):
        et.run(made, tmp_path / "out", watch=Interrupts())
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    write_jsonl(tmp_path / "dev.jsonl", [{"anchor": f"who is {n}", "positive": f"he is {n}"} for n in range(rows)])
    with pytest.raises(
        RunFolderError, match=r"was begun on other data .*its fingerprint differs.*choose another --out"
    ):
        et.run(made, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()} == kept
