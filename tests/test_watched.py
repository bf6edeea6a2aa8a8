"""What the guard saw of a run reaches history, metrics.json, result, report, terminal and tracker alike."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

import embertune as et
from embertune.recipe import load_recipe
from embertune.result import Result, read_result
from embertune.terminal import Terminal
from tests import tiny


class Fails(MultipleNegativesRankingLoss):
    """Gives no number in the training steps 9 to 11."""

    steps = 0

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().forward(*args, **kwargs)
        self.steps += torch.is_grad_enabled()
        return loss * float("nan") if torch.is_grad_enabled() and self.steps in (9, 10, 11) else loss


@pytest.fixture(scope="module")
def seen(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    """The result of such a run, and what a log has of it."""
    out = tmp_path_factory.mktemp("seen") / "run"
    recipe = load_recipe(
        set={
            "data.dev": 0.4,
            "data.test": "none",
            "train.max_steps": 16,
            "train.batch_size": 8,
            "train.learning_rate": 5e-3,
            "train.precision": "float32",
            "guard.eval_every": "4 steps",
            "guard.patience": None,
        }
    )
    file = io.StringIO()
    terminal = Terminal(console=Console(file=file, width=200, highlight=False))
    model = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
    result = et.run(recipe, out, train=tiny.toy_pairs(120), model=model, loss=Fails, watch=terminal)
    terminal.result(result)
    return result, file.getvalue()


def test_the_result_tells_the_diagnosis_the_remedy_and_what_to_try(seen: tuple[Result, str]) -> None:
    result, _ = seen
    looks = [json.loads(line) for line in (result.out / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [look for look in looks if "dev" in look][-1]
    assert (result.diagnosis, result.diagnosis_reason) == (last["diagnosis"], last["reason"])
    (remedy,) = result.remedies
    assert (remedy.step, remedy.rung) == (11, "rate")
    assert remedy.back_to in (0, 4, 8)
    assert remedy.result
    assert (result.advice[0].setting, result.advice[0].what) == ("train.learning_rate", "0.0025 instead of 0.005")
    assert result.advice[0].why.startswith("3 of 16 steps changed nothing")


def test_metrics_json_keeps_it_and_it_is_read_back_as_it_was(seen: tuple[Result, str]) -> None:
    result, _ = seen
    record = json.loads((result.out / "metrics.json").read_text(encoding="utf-8"))
    assert record["diagnosis"] == {"name": result.diagnosis, "reason": result.diagnosis_reason}
    assert record["skipped_steps"] == 3
    assert [one["rung"] for one in record["remedies"]] == ["rate"]
    assert read_result(result.out) == result


def test_the_log_has_a_line_for_each_look_and_ends_with_what_to_try(seen: tuple[Result, str]) -> None:
    result, log = seen
    lines = [line.strip() for line in log.splitlines()]
    assert [line.split()[1] for line in lines if "  epoch " in line] == ["0", "4", "8", "12", "16"]
    assert any(line.startswith(f"seen:   {result.diagnosis}") for line in lines)
    assert any(line.startswith("try:    train.learning_rate: 0.0025 instead of 0.005 (3 of 16") for line in lines)
    assert any(line.startswith("remedy rate at step 11: dev") for line in lines)


def test_the_report_draws_the_losses_the_remedy_and_the_steps_that_were_skipped(seen: tuple[Result, str]) -> None:
    result, _ = seen
    page = result.report.read_text(encoding="utf-8")
    for words in ("Loss on train and dev", "a remedy of the guard", "a step was skipped"):
        assert words in page
    told = (result.out / "report.md").read_text(encoding="utf-8")
    assert "## What the guard saw" in told
    assert "3 steps changed nothing" in told
    assert "1. `train.learning_rate`: 0.0025 instead of 0.005. 3 of 16 steps" in told
