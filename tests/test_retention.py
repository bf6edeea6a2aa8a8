"""`evaluate.retention`: which sets are scored before and after a run, and where the outcome stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune.data.prepare import BUNDLED
from embertune.errors import DataError
from embertune.evaluate.scene import measure_retention
from embertune.plan import Plan, plan
from embertune.recipe import load_recipe
from embertune.watch import Silent
from tests import tiny

Loader = Callable[[], SentenceTransformer]


def recipe_of(folder: Path, model: Path, **leaves: Any) -> et.Recipe:
    train = tiny.write_jsonl(folder / "faq.jsonl", tiny.toy_pairs(120))
    settings = {"model.name": str(model), "data.train": str(train), "train.max_steps": 4, "train.batch_size": 8}
    return load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})


def planned(recipe: et.Recipe) -> Plan:
    return plan(recipe, None, None, Silent())


def kept_rows(folder: Path, name: str = "old") -> Path:
    return tiny.write_jsonl(folder / f"{name}.jsonl", tiny.toy_scored(60))


def test_auto_is_the_bundled_pairs_and_is_written_into_the_resolved_recipe(
    tmp_path: Path, tiny_model_path: Path
) -> None:
    made = planned(recipe_of(tmp_path, tiny_model_path))
    assert made.resolved.recipe.evaluate.retention == "bundled"
    (general,) = made.scene.retention
    assert general.name == "general-retention"
    assert len(general) == len(BUNDLED.read_text(encoding="utf-8").splitlines())
    again = planned(made.resolved.recipe)
    assert again.scene.retention[0].texts == general.texts
    assert not [name for name in made.data.fingerprints if name.startswith("retention")]


def test_null_measures_nothing_and_says_nothing(tmp_path: Path, tiny_model_path: Path) -> None:
    recipe = recipe_of(tmp_path, tiny_model_path, evaluate__retention=None)
    result = et.run(recipe, tmp_path / "out")
    assert result.retention == ()
    assert planned(recipe).resolved.recipe.evaluate.retention is None
    assert "What it could do before" not in (tmp_path / "out" / "report.md").read_text()
    assert "What it could do before" not in result.report.read_text()


def test_sets_of_ones_own_are_scored_before_and_after_and_told_everywhere(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = {
        "sts": str(kept_rows(tmp_path)),
        "faq": str(tiny.write_jsonl(tmp_path / "q.jsonl", tiny.toy_pairs(40, 150))),
    }
    leaves = {"train__learning_rate": 5e-3, "guard__patience": None, "evaluate__retention": sets}
    result = et.run(recipe_of(tmp_path, tiny_model_path, **leaves), tmp_path / "out")
    sts, faq = result.retention
    assert (sts.name, sts.metric, sts.items) == ("sts", "sts-retention_spearman_cosine", 60)
    assert faq.metric == "faq-retention_cosine_accuracy@1"
    before = planned(recipe_of(tmp_path, tiny_model_path, **leaves))
    (first, _) = measure_retention(before.encode, before.scene)
    assert sts.before == pytest.approx(first.values[sts.metric])
    assert sts.after != sts.before
    assert sts.change.difference == pytest.approx(sts.after - sts.before)
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())["retention"]
    assert [one["name"] for one in record] == ["sts", "faq"]
    assert record[0]["change"]["low"] == sts.change.low
    for report in ("report.md", "report.html"):
        text = (tmp_path / "out" / report).read_text()
        assert "What it could do before" in text
        assert f"{sts.after:.4f}".replace("-", "−") in text
    from embertune.terminal import Terminal

    Terminal().result(result)
    assert "sts, spearman_cosine" in capsys.readouterr().out


def test_what_is_kept_is_that_of_the_saved_model(tmp_path: Path, tiny_model_path: Path) -> None:
    recipe = recipe_of(tmp_path, tiny_model_path, train__learning_rate=1e-12)
    result = et.run(recipe, tmp_path / "base")
    assert result.chosen == "base"
    assert all(one.before == one.after and one.word == "kept" for one in result.retention)


def test_other_retention_rows_are_other_data(tmp_path: Path, tiny_model_path: Path) -> None:
    path = kept_rows(tmp_path)
    recipe = recipe_of(tmp_path, tiny_model_path, evaluate__retention=str(path))
    before = planned(recipe)
    assert before.scene.retention[0].name == "old-retention"
    assert before.resolved.recipe.evaluate.retention == str(path)
    tiny.write_jsonl(path, tiny.toy_scored(50))
    assert planned(recipe).fingerprint != before.fingerprint
    path.unlink()
    with pytest.raises(DataError, match=r"old\.jsonl"):
        planned(recipe)
