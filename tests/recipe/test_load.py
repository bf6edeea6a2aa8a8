"""What a recipe file may look like: YAML 1.2 or TOML, with leaves overridden by dotted path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from embertune.errors import RecipeError
from embertune.recipe import Recipe, load_recipe, parse_setting, replace
from embertune.recipe.units import parse_span

YAML = """
model: {name: some/model, prompts: {anchor: "query: "}}
data: {train: [a.jsonl, b.jsonl], dev: 0.2, test: {no: x.csv, on: y.csv}, columns: {anchor: question}}
train:
  learning_rate: 3e-5
  epochs: 2
  loss: multiple_negatives_ranking
  loss_options: {symmetric: true, scale: 25}
guard: {patience: null}
seed: 0o17
"""
TOML = """
seed = 15
[model]
name = "some/model"
prompts = {anchor = "query: "}
[data]
train = ["a.jsonl", "b.jsonl"]
dev = 0.2
test = {no = "x.csv", on = "y.csv"}
columns = {anchor = "question"}
[train]
learning_rate = 3e-5
epochs = 2
loss = "multiple_negatives_ranking"
loss_options = {symmetric = true, scale = 25.0}
"""


def read(folder: Path, text: str, name: str = "recipe.yaml") -> Recipe:
    (folder / name).write_text(text, encoding="utf-8")
    return load_recipe(folder / name)


def test_a_number_with_an_exponent_and_no_dot_is_a_number(tmp_path: Path) -> None:
    assert read(tmp_path, "train: {learning_rate: 2e-5}").train.learning_rate == 2e-5


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "y", "n"])
def test_a_short_word_is_a_word_and_not_a_truth_value(tmp_path: Path, word: str) -> None:
    assert read(tmp_path, f"data: {{train: {word}}}").data.train == word
    with pytest.raises(RecipeError, match=f"found '{word}'; write true or false"):
        read(tmp_path, f"report: {{examples: {word}}}")


def test_octal_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    assert read(tmp_path, "seed: 0o17").seed == 15
    assert read(tmp_path, "seed: 017").seed == 17


def test_toml_and_yaml_give_the_same_recipe(tmp_path: Path) -> None:
    from_yaml = read(tmp_path, YAML)
    from_toml = read(tmp_path, TOML, "recipe.toml")
    assert replace(from_toml, {"guard.patience": None}) == from_yaml


def test_an_empty_file_is_the_default_recipe(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing yet\n") == Recipe() == load_recipe()


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffseed: 3\n").seed == 3
    assert read(tmp_path, "\ufeffseed = 3\n", "recipe.toml").seed == 3


def test_an_override_changes_its_leaf_and_no_other(tmp_path: Path) -> None:
    recipe = read(tmp_path, YAML)
    changed = load_recipe(
        tmp_path / "recipe.yaml", set={"train.loss_options.scale": 30.0, "data.columns.positive": "a"}
    )
    assert changed.train.loss_options is not None
    assert (changed.train.loss_options.scale, changed.train.loss_options.symmetric) == (30.0, True)
    assert changed.data.columns == {"anchor": "question", "positive": "a"}
    back = replace(changed, {"train.loss_options.scale": 25.0, "data.columns": {"anchor": "question"}})
    assert back == recipe


def test_an_override_reaches_into_a_section_that_is_null() -> None:
    assert load_recipe(set={"data.nli.neutral": True}).data.nli is not None


def test_replace_leaves_the_recipe_it_is_given_alone() -> None:
    recipe = load_recipe(set={"data.columns": {"anchor": "q"}})
    replace(recipe, {"data.columns.anchor": "other", "train.epochs": 3})
    assert recipe == load_recipe(set={"data.columns": {"anchor": "q"}})


def test_a_recipe_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().seed = 3


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("train.epochs=2", ("train.epochs", 2)),
        ("train.learning_rate=2e-5", ("train.learning_rate", 2e-5)),
        ("guard.patience=", ("guard.patience", None)),
        ("guard.patience=null", ("guard.patience", None)),
        ("data.train=no", ("data.train", "no")),
        ("evaluate.similarity=[cosine, dot]", ("evaluate.similarity", ["cosine", "dot"])),
        ("data.train=a=b.csv", ("data.train", "a=b.csv")),
    ],
)
def test_a_setting_of_the_command_line_is_read_as_yaml(text: str, setting: tuple[str, object]) -> None:
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["train.epochs", "=3", " = 3"])
def test_a_setting_without_key_or_value_says_how_to_write_one(text: str) -> None:
    with pytest.raises(RecipeError, match=r"write key=value, such as train.epochs=2"):
        parse_setting(text)


def test_a_setting_that_is_no_yaml_names_its_key() -> None:
    with pytest.raises(RecipeError, match=r"--set data.columns: is not YAML"):
        parse_setting("data.columns={a: ")


@pytest.mark.parametrize(
    ("text", "steps"),
    [("500 steps", 500), ("1 step", 1), ("0.25 epoch", 25), ("2 epochs", 200), ("0.001 epochs", 1), (" 3  steps ", 3)],
)
def test_a_span_is_counted_in_steps(text: str, steps: int) -> None:
    assert parse_span(text).in_steps(100) == steps


def test_evaluations_have_no_length_in_steps() -> None:
    with pytest.raises(ValueError, match="no fixed length"):
        parse_span("3 evaluations").in_steps(100)


def test_reading_a_recipe_loads_neither_torch_nor_the_data_libraries() -> None:
    heavy = ("torch", "transformers", "sentence_transformers", "datasets", "pandas", "sklearn", "scipy")
    program = (
        "import sys, embertune\n"
        "from embertune.errors import EmbertuneError\n"
        "try:\n"
        "    embertune.load_recipe(set={'train.epoch': 2})\n"
        "except EmbertuneError as error:\n"
        "    print(error)\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["recipe: train.epoch: unknown key; did you mean 'epochs'?", "[]"]
