"""Every mistake in a recipe is one message that says where, what was found, and what would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embertune.errors import RecipeError
from embertune.recipe import load_recipe, replace
from embertune.recipe.sections import Recipe


def problems(**leaves: Any) -> list[str]:
    """The problems of a recipe with these leaves; a double underscore is a dot."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(set={path.replace("__", "."): value for path, value in leaves.items()})
    return [str(problem) for problem in caught.value.problems]


def written(folder: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("train.learning_rat", "did you mean 'learning_rate' or 'layer_rates'?"),
        ("train.bacth_size", "did you mean 'batch_size'?"),
        ("sed", "did you mean 'seed'?"),
        ("train.patience", "did you mean 'guard.patience'?"),
        ("guard.seed", "did you mean 'seed'?"),
        ("pooling", "did you mean 'model.pooling'?"),
        ("data.nli.neutrl", "did you mean 'neutral'?"),
        ("train.loss_options.scal", "did you mean 'scale'?"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_known_one(path: str, remedy: str) -> None:
    assert problems(**{path.replace(".", "__"): 1}) == [f"{path}: unknown key; {remedy}"]


def test_a_key_like_no_other_is_told_with_all_keys_of_its_section() -> None:
    assert problems(report__xyzzy=1) == ["report.xyzzy: unknown key; known here: examples"]


def test_all_problems_are_told_at_once_with_their_paths() -> None:
    found = problems(train__warmup="much", seed=-1, guard__patience="3", data__shape="tables", model__nmae="x")
    assert [line.split(":")[0] for line in found] == [
        "model.nmae",
        "data.shape",
        "train.warmup",
        "guard.patience",
        "seed",
    ]


def test_several_problems_stand_on_lines_of_their_own_under_the_name_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "train: {warmup: 2}\nseed: x\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).splitlines() == [
        f"{path}: 2 problems",
        "  train.warmup: found 2; write a share from 0 to below 1, or steps or epochs: '100 steps', '0.5 epoch'",
        "  seed: found 'x'; write a whole number from 0",
    ]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seed", "2", "found '2'; write a whole number from 0"),
        ("seed", True, "found True; write a whole number from 0"),
        ("seed", 1.5, "found 1.5; write a whole number from 0"),
        ("train.warmup", "0.1", "found '0.1', which needs a number and a unit, such as '500 steps', '0.25 epoch'"),
        ("train.warmup", "auto", "found 'auto', which needs a number and a unit, such as '500 steps', '0.25 epoch'"),
        ("train.warmup", "3 evaluations", "found '3 evaluations', which counts in steps or epochs; write a share"),
        (
            "train.freeze",
            True,
            "found True; write null, auto, a number of layers, a share such as 0.5, 'all but 1', or a",
        ),
        ("train.freeze", ["*.bias"], "found ['*.bias']; write null, auto, a number of layers, a share"),
        ("train.optimizer_options.betas", [0.9], "found (0.9,); write two numbers from 0 to below 1"),
        ("train.weight_decay", True, "found True; write a number from 0 to 1"),
        ("train.batch_size", 16.0, "found 16.0; write auto or a whole number of at least 2"),
        ("train.batch_size", 1, "found 1; write auto or a whole number of at least 2"),
        ("train.epochs", 0, "found 0; write auto, a number above 0, or null with train.max_steps"),
        ("train.epochs", float("inf"), "found inf; write auto, a number above 0, or null with train.max_steps"),
        ("train.learning_rate", float("nan"), "found nan; write auto or a number above 0, such as 2e-5"),
        ("train.gradient_clip", float("inf"), "found inf; write null or a number above 0"),
        ("train.schedule", "linaer", "found 'linaer'; write one of linear, cosine, constant"),
        ("report.examples", "yes", "found 'yes'; write true or false"),
        ("report.examples", 1, "found 1; write true or false"),
        ("model.pooling", "average", "found 'average'; write auto, mean, cls, max, "),
        ("model.name", 3, "found 3; write a local folder or a Hub id"),
        ("evaluate.similarity", [], "found []; write a list out of cosine, dot, manhattan, euclidean"),
        ("evaluate.similarity", ["cosin"], "found 'cosin'; write a list out of cosine, dot, manhattan, euclidean"),
        ("data.columns", ["a"], "found ['a']; write a mapping such as {anchor: question, positive: answer}"),
        ("train", 3, "found 3; write a section of keys here"),
        ("guard.patience", "3", "found '3', which needs a number and a unit, such as '500 steps', '0.25 epoch'"),
        ("guard.patience", "3 steps", "found '3 steps', which counts in evaluations or epochs; write null, "),
        ("guard.patience", "1.5 evaluations", "found '1.5 evaluations', which evaluations come in whole numbers"),
        ("guard.eval_every", "0 steps", "found '0 steps', which must be above zero; write auto, or steps or a share"),
        ("guard.budget", 0, "found 0; write a share such as 0.15, or null for no limit"),
        ("guard.eval_every", "2 evaluations", "found '2 evaluations', which counts in steps or epochs"),
        ("model.prompts", {"query": "q: "}, "which names the role 'query'; the roles are anchor, positive"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_may_stand_there(path: str, value: Any, message: str) -> None:
    (found,) = problems(**{path.replace(".", "__"): value})
    assert found.startswith(f"{path}: ")
    assert message in found


@pytest.mark.parametrize(
    ("value", "found"),
    [(1.0, "found 1.0"), (-1, "found -1"), ("all but one", "found 'all but one', which needs a number, a share, or")],
)
def test_what_is_short_for_a_section_is_told_once_and_under_the_leaf_it_stands_for(value: Any, found: str) -> None:
    (told,) = problems(train__freeze=value)
    assert told.startswith(f"train.freeze.layers: {found}")
    assert told.endswith("write null, a number of layers, a share such as 0.5, or 'all but 1'")


def test_an_unknown_key_in_a_section_that_may_be_a_word_is_told_once() -> None:
    assert problems(train__freeze={"layer": 3}) == ["train.freeze.layer: unknown key; did you mean 'layers'?"]


CONFLICTS: list[tuple[dict[str, Any], str]] = [
    (
        {"train.freeze": 0, "train.unfreeze": "1 epoch"},
        "train.freeze: found no layers next to train.unfreeze, which thaws layers; "
        "write a number of layers, a share such as 0.5, or 'all but 1', or leave it out",
    ),
    (
        {"train.max_steps": 5, "train.epochs": 2},
        "train.max_steps: found 5 next to train.epochs: 2.0; write one of them",
    ),
    ({"train.epochs": None}, "train.epochs: found null without train.max_steps; write epochs, max_steps or auto"),
    (
        {"train.loss_options.scale": 30.0},
        "train.loss_options: found options without a named loss; name the loss in train.loss",
    ),
    (
        {"train.loss": "cosent", "train.loss_options.margin": 0.1},
        "train.loss_options.margin: has no effect on cosent; leave it out; cosent takes scale",
    ),
    ({"train.loss": "cosent", "train.loss_options": {}}, "train.loss_options: names no option; leave it out"),
    ({"evaluate.retention": {}}, "evaluate.retention: names no set; write auto, a path, {name: path}, or null"),
    ({"train.optimizer_options": {}}, "train.optimizer_options: names no option; leave it out"),
    ({"train.schedule_options": {}}, "train.schedule_options: names no option; leave it out"),
    (
        {"train.loss": "cosine_similarity", "train.loss_options.scale": 5.0},
        "train.loss_options.scale: has no effect on cosine_similarity; leave it out; "
        "cosine_similarity takes no options",
    ),
    (
        {"train.loss": "batch_hard_triplet", "train.loss_options.distance": "manhattan"},
        "train.loss_options.distance: found 'manhattan'; batch_hard_triplet takes cosine, euclidean",
    ),
    (
        {"train.extra": {"learning_rate": 1e-3}},
        "train.extra.learning_rate: embertune decides this argument; use train.learning_rate",
    ),
    (
        {"train.extra": {"dataloader_drop_last": True}},
        "train.extra.dataloader_drop_last: embertune decides this argument; "
        "leave it out: batches are put together as train.loss needs them",
    ),
    (
        {"train.extra": {"full_determinsm": True}},
        "train.extra.full_determinsm: the trainer has no such argument; did you mean 'full_determinism'?",
    ),
    *(
        ({"train.extra": {name: True}}, f"train.extra.{name}: embertune decides this argument; use train.precision")
        for name in ("bf16", "fp16", "tf32")
    ),
    (
        {"train.precision": "bf16"},
        "train.precision: found 'bf16'; write auto, float32, bfloat16, float16 or tf32 (the last two with a CUDA GPU)",
    ),
    (
        {"data.dev": "none", "guard.patience": "2 evaluations"},
        "guard.patience: has no effect without dev rows; leave it out, or give data.dev",
    ),
    (
        {"data.dev": "none", "guard.metric": "cosine_accuracy"},
        "guard.metric: has no effect without dev rows; leave it out, or give data.dev",
    ),
    (
        {"data.dev": "none", "guard.eval_every": "5 steps"},
        "guard.eval_every: has no effect without dev rows; leave it out, or give data.dev",
    ),
    (
        {"guard.patience": None, "guard.min_change": 0.01},
        "guard.min_change: has no effect without guard.patience; leave it out, or give guard.patience",
    ),
    (
        {"guard.min_change": None},
        "guard.min_change: found null with guard.patience; write auto, or 0 for any difference",
    ),
    (
        {"guard.min_change": "2 errors"},
        "guard.min_change: found '2 errors', which is neither a number nor so many standard errors, such as "
        "'1 standard error'; write auto, a difference such as 0.002, or '1 standard error'",
    ),
    ({"guard.metric": None}, "guard.metric: found null with dev rows; write auto, or data.dev: none"),
    (
        {"data.dev": "none", "guard.budget": 0.1},
        "guard.budget: has no effect without dev rows; leave it out, or give data.dev",
    ),
    (
        {"data.dev": "none", "guard.items": 100},
        "guard.items: has no effect without dev rows; leave it out, or give data.dev",
    ),
    (
        {"data.test": "none", "evaluate.test": False},
        "evaluate.test: found false without test rows to hold out; leave it out, or give data.test",
    ),
    ({"guard.eval_every": None}, "guard.eval_every: found null with dev rows; write auto, or data.dev: none"),
    (
        {"data.test": "none", "evaluate.primary": "x-test_cosine_accuracy"},
        "evaluate.primary: has no effect without test rows; leave it out, or give data.test",
    ),
    (
        {"data.dev": 0.5, "data.test": 0.5},
        "data.test: found dev and test shares that add up to 1.0; leave rows to train on",
    ),
    ({"data.test": {}}, "data.test: found an empty mapping; name at least one path, or write none"),
]


@pytest.mark.parametrize(("leaves", "message"), CONFLICTS, ids=[message.split(";")[0] for _, message in CONFLICTS])
def test_settings_that_are_impossible_together_are_told(leaves: dict[str, Any], message: str) -> None:
    assert problems(**{path.replace(".", "__"): value for path, value in leaves.items()}) == [message]


def test_a_copy_with_changes_is_checked_like_a_recipe_that_is_read() -> None:
    with pytest.raises(RecipeError, match=r"train\.warmup: found 7"):
        replace(Recipe(), {"train.warmup": 7})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "seed: 1\nseed: 2\n", "found duplicate key"),
        ("a.yaml", "train: {epochs: 1\n", "is not YAML"),
        ("a.yaml", "seed: 2026-13-45\n", "is not YAML"),
        ("a.yaml", "- train\n", "holds list, not sections; write sections such as data: {train: rows.jsonl}"),
        ("a.yaml", "train\n", "holds str, not sections"),
        ("a.toml", "seed = \n", "is not TOML"),
        ("a.toml", "seed = 1\nseed = 2\n", "is not TOML: Cannot overwrite a value"),
    ],
)
def test_a_file_that_is_no_recipe_is_told_with_its_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["12: x\n", "train: {1: 2}\n", "? [1, 2]\n: 3\n", "? {a: 1}\n: 3\n"])
def test_a_key_that_is_no_text_is_an_error_and_not_a_crash(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError):
        load_recipe(written(tmp_path, text))


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file; check the path, or write one with `embertune init DATA`"):
        load_recipe(tmp_path / "none.yaml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"is a folder; give a recipe file \(.yaml or .toml\)"):
        load_recipe(tmp_path)


def test_a_recipe_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"seed: 1 # caf\xe9\n")
    with pytest.raises(RecipeError, match="is not UTF-8 at byte 13; save it as UTF-8"):
        load_recipe(path)
