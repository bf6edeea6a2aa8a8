"""`embertune evaluate`: models on the same sets, ranked, and what each costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.cli import main
from embertune.data.prepare import Given
from embertune.errors import RecipeError
from embertune.evaluated import FILE, evaluate_models
from embertune.recipe import load_recipe
from tests import tiny

Record = dict[str, Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Rows to train on, and others to measure on."""
    folder = tmp_path_factory.mktemp("rows")
    rows = {"train": tiny.toy_pairs(120), "test": tiny.toy_pairs(100, 120)}
    return {name: str(tiny.write_jsonl(folder / f"{name}.jsonl", some)) for name, some in rows.items()}


@pytest.fixture(scope="module")
def trained(files: dict[str, str], tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> et.Result:
    """A run that makes the tiny model better."""
    settings = {"data.train": files["train"], "data.test": files["test"], "data.dev": "none"}
    leaves = {"model.name": str(tiny_model_path), "train.epochs": 12, "train.learning_rate": 2e-3}
    return et.run(load_recipe(set=settings | leaves | {"train.batch_size": 24}), tmp_path_factory.mktemp("run") / "r")


def recipe_of(files: dict[str, str], model: Path, **more: Any) -> et.Recipe:
    settings = {"data.train": files["train"], "data.test": files["test"], "data.dev": "none", "model.name": str(model)}
    return load_recipe(set=settings | {path.replace("__", "."): value for path, value in more.items()})


def test_the_same_figures_as_the_run_says_of_base_and_tuned(
    files: dict[str, str], trained: et.Result, tiny_model_path: Path
) -> None:
    found = evaluate_models([str(tiny_model_path), str(trained.out)], recipe_of(files, tiny_model_path))
    base, tuned = found.models
    for metric, value in trained.baseline.items():
        assert base.values[metric] == pytest.approx(value, abs=1e-6)
        assert tuned.values[metric] == pytest.approx(trained.tuned[metric], abs=1e-6)
    assert found.ranking.metric == trained.primary
    assert [place.model for place in found.ranking.places] == [str(trained.out), str(tiny_model_path)]
    change = found.ranking.pairs[str(trained.out), str(tiny_model_path)]
    assert change.difference == pytest.approx(trained.change[trained.primary].difference, abs=1e-6)
    assert base.dimensions == tuned.dimensions == 32
    assert base.parameters == tuned.parameters > 0
    assert base.seconds > 0
    (general,) = trained.retention
    assert base.values[general.metric] == pytest.approx(general.before, abs=1e-6)
    assert tuned.values[general.metric] == pytest.approx(general.after, abs=1e-6)
    assert list(found.items.values()) == [100]


def test_the_command_prints_a_ranking_and_writes_it_down(
    files: dict[str, str], trained: et.Result, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {{train: {files['train']}, test: {files['test']}, dev: none}}\n", encoding="utf-8")
    words = ["evaluate", str(tiny_model_path), str(trained.out), "--recipe", str(recipe), "--out", str(tmp_path / "e")]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "beats" in text
    assert "s/1,000" in text
    assert main([*words, "--json"]) == 0
    record: Record = json.loads(capsys.readouterr().out)
    kept: Record = json.loads((tmp_path / "e" / FILE).read_text())
    assert kept["ranking"] == record["ranking"]
    assert record["ranking"][0]["model"] == str(trained.out)
    assert record["pairs"][0]["p_adjusted"] == record["pairs"][0]["p_value"]


def test_a_second_look_reads_embeddings_from_the_cache(
    files: dict[str, str], tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(tiny_model_path), "--train", files["train"], "--test", files["test"]]
    words += ["--cache-dir", str(tmp_path / "cache")]
    outputs = []
    for _ in range(2):
        assert main([*words, "--dev", "none"]) == 0
        outputs.append(capsys.readouterr().out)
    assert "were in the cache" not in outputs[0]
    assert "embeddings were in the cache" in outputs[1]


def test_thresholds_of_labelled_pairs_are_those_of_dev(tiny_model_path: Path) -> None:
    rows = tiny.toy_labelled(120)
    given = Given(rows[:60], rows[60:90], rows[90:])
    recipe = load_recipe(set={"model.name": str(tiny_model_path)})
    (model,) = evaluate_models([str(tiny_model_path)], recipe, given).models
    fitted_on_itself = evaluate_models(
        [str(tiny_model_path)], load_recipe(set={"data.dev": "none"}), Given(rows[:60], None, rows[90:])
    ).models[0]
    cuts = {name: value for name, value in model.values.items() if name.endswith("threshold")}
    assert cuts
    assert any(fitted_on_itself.values[name] != value for name, value in cuts.items())


def test_a_model_that_is_nowhere_is_told_before_any_is_measured(
    files: dict[str, str], tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--train", files["train"], "--test", files["test"], "--dev", "none"]
    assert main(["evaluate", str(tiny_model_path), "nobody/no-such-model", *words]) == 1
    told = capsys.readouterr()
    assert "'nobody/no-such-model' was not found" in told.err
    assert "measure" not in told.out


@pytest.mark.parametrize(
    ("leaves", "names", "message"),
    [
        ({"data.test": "none"}, ["a"], "data.test: there is no test set to measure on"),
        ({"evaluate.primary": "x_cosine_accuracy"}, ["a"], "evaluate.primary: x_cosine_accuracy is not measured here"),
        ({}, ["a", "a"], "a is named twice"),
    ],
)
def test_what_cannot_be_measured_is_told(
    files: dict[str, str], leaves: dict[str, Any], names: list[str], message: str
) -> None:
    settings = {"data.train": files["train"], "data.test": files["test"], "data.dev": "none"}
    with pytest.raises(RecipeError, match=message):
        evaluate_models(names, load_recipe(set=settings | leaves))
