"""The section `search`: what is wrong with a space is told when the recipe is read, and a run refuses the section."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.errors import RecipeError
from embertune.plan import plan
from embertune.recipe import load_recipe, replace
from embertune.recipe.check import known_paths
from embertune.recipe.searchable import UNSEARCHABLE, refuse_search, why_not
from embertune.recipe.searching import SPECS, SearchSection, rows_of_trial
from embertune.recipe.sections import Recipe
from embertune.watch import Silent


def problems(space: Any, leaves: dict[str, Any]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(set={"search.space": space, **leaves})
    return [str(problem) for problem in caught.value.problems]


FORMS = f"; {SPECS}"
WRONG: list[tuple[str, Any, str]] = [
    ("train.learnig_rate", [1e-5, 2e-5], "unknown key; did you mean 'train.learning_rate'?"),
    ("warmup", [0.1, 0.2], "unknown key; did you mean 'train.warmup'?"),
    ("xyzzy", [1, 2], "unknown key; write a path such as train.epochs"),
    ("guard", {"whole": [1, 2]}, "is a section; write whole paths, such as guard.patience"),
    (
        "data.dev",
        [0.1, 0.2],
        "cannot be searched: it decides which rows there are, and trials can be compared on the same rows only; "
        "leave it out",
    ),
    ("data.nli.neutral", [True, False], f"cannot be searched: {UNSEARCHABLE['data.nli']}; leave it out"),
    ("evaluate", ["x", "y"], f"cannot be searched: {UNSEARCHABLE['evaluate']}; leave it out"),
    ("seed", [1, 2], f"cannot be searched: {UNSEARCHABLE['seed']}; leave it out"),
    ("search.rows", [0.1, 0.2], "cannot be searched: it is the search itself; leave it out"),
    ("train.learning_rate", {"log": [0, 1e-4]}, f"found log: [0, 0.0001], and a logarithm begins above 0{FORMS}"),
    ("train.learning_rate", {"log": [1e-4, 1e-5]}, f"found log: [0.0001, 1e-05], which is empty{FORMS}"),
    ("train.epochs", {"whole": [3, 3]}, f"found whole: [3, 3], which is empty{FORMS}"),
    ("train.epochs", {"whole": [1, 2.5]}, f"found whole: [1, 2.5], which are not whole numbers{FORMS}"),
    ("train.epochs", {"whole": [1, 2, 3]}, f"found whole: [1, 2, 3], which is not two numbers{FORMS}"),
    ("train.epochs", {"whole": [True, 3]}, f"found whole: [True, 3], which is not two numbers{FORMS}"),
    ("train.epochs", {"int": [1, 3]}, f"found 'int'{FORMS}"),
    ("train.epochs", {"whole": [1, 3], "log": [1, 3]}, f"found {{'whole': [1, 3], 'log': [1, 3]}}{FORMS}"),
    ("train.epochs", 3, f"found 3{FORMS}"),
    ("train.epochs", [3], f"found [3], which leaves nothing to choose{FORMS}"),
    ("train.epochs", [], f"found [], which leaves nothing to choose{FORMS}"),
    ("train.epochs", [1, 2, 1.0], "found 1.0 twice; write each choice once"),
    ("train.freeze", [3, {"layers": 3}], "found {'layers': 3} twice; write each choice once"),
    ("train.batch_size", {"uniform": [16, 64]}, "found 16.0; write auto or a whole number of at least 2"),
    ("train.batch_size", {"whole": [1, 64]}, "found 1; write auto or a whole number of at least 2"),
    ("train.learning_rate", {"log": [1e-6, 2]}, "found 2.0; write auto or a number above 0, such as 2e-5"),
    ("train.layer_decay", {"uniform": [0.8, 1]}, "found 1.0; write null, auto or a number between 0 and 1, such as 0"),
    ("train.schedule", ["linear", "cosin"], "found 'cosin'; write one of linear, cosine, constant, cosine_with_rest"),
    ("train.schedule", {"whole": [1, 2]}, "found 1; write one of linear, cosine, constant, cosine_with_restarts"),
    ("model.dropout", ["auto", {"hiden": 0.1}], "found"),
    ("data.negatives.random", [0, 1], "has no effect without data.negatives; leave it out, or see to data.negatives"),
    ("train.guide", [None, "base"], "has no effect without train.known_positives: mask; leave it out, or see to train"),
    (
        "train.optimizer",
        ["adamw", "sgd"],
        "found 'sgd', and then train.learning_rate: found auto, and no rate is published for sgd on such models; write",
    ),
]


@pytest.mark.parametrize(("setting", "spec", "message"), WRONG, ids=[f"{where} {spec}" for where, spec, _ in WRONG])
def test_a_mistake_in_a_space_is_told_once_with_its_path_and_what_would_do(
    setting: str, spec: Any, message: str
) -> None:
    (found,) = problems({setting: spec}, {})
    assert found.startswith(f"search.space.{setting}")
    assert message in found


@pytest.mark.parametrize(
    ("space", "leaves", "message"),
    [
        (
            {"train.loss_options.margin": {"uniform": [0, 1]}},
            {"train.loss": "cosent"},
            "search.space.train.loss_options.margin: has no effect without a loss that takes it; "
            "leave it out, or see to train.loss",
        ),
        (
            {"train.epochs": {"whole": [1, 3]}},
            {"train.max_steps": 5},
            "search.space.train.epochs: has no effect without train.max_steps: null; "
            "leave it out, or see to train.max_steps",
        ),
        (
            {"train.freeze.embeddings": [True, False], "train.freeze": [None, 2]},
            {},
            "search.space.train.freeze.embeddings: is a part of train.freeze, which is searched; leave one of them out",
        ),
        (
            {"train.schedule": ["linear", "plateau"]},
            {"data.dev": "none"},
            "search.space.train.schedule: found plateau without dev rows to decide it; "
            "give data.dev, or write linear or cosine",
        ),
        (
            {"data.augment": [None, {}]},
            {},
            "search.space.data.augment: names no way to change a text; "
            "write one of delete, swap, synonyms, translate, or null",
        ),
        (
            {"train.learning_rate": {"log": [1e-6, 1e-4]}},
            {"train.floor": 1e-5},
            "search.space.train.learning_rate: found 1e-06, and then train.floor: found 1e-05, and the highest rate is "
            "1e-06; write less, such as 5e-08",
        ),
    ],
)
def test_what_the_rest_of_the_recipe_rules_out_is_told(space: Any, leaves: dict[str, Any], message: str) -> None:
    assert problems(space, leaves) == [message]


@pytest.mark.parametrize(
    ("space", "leaves"),
    [
        ({"train.loss_options.scale": {"log": [5, 50]}}, {}),
        ({"train.loss_options.margin": {"uniform": [0, 1]}, "train.loss": ["cosent", "contrastive"]}, {}),
        ({"train.optimizer": ["adamw", "sgd"], "train.learning_rate": {"log": [1e-5, 1e-3]}}, {}),
        ({"train.guide": [None, "base"], "train.known_positives": ["apart", "mask"]}, {}),
        ({"data.negatives": [None, {}], "data.negatives.num_negatives": {"whole": [1, 4]}}, {}),
        ({"train.freeze": [None, 3, 0.5, "all but 1"]}, {"train.freeze": 2, "train.unfreeze": "1 epoch"}),
        ({"train.unfreeze": [None, "1 epoch", "plateau"]}, {"train.freeze": 2}),
        ({"model.dropout": ["auto", 0.0, {"hidden": 0.2, "attention": 0.1}]}, {}),
        ({"train.warmup": [0.1, "100 steps"], "train.layer_decay": {"uniform": [0.7, 0.99]}}, {}),
        ({"train.known_positives": ["apart", "mask", "ignore"], "guard.on_overfit": ["stop", "regularise"]}, {}),
    ],
)
def test_a_space_in_which_each_value_can_be_is_read(space: Any, leaves: dict[str, Any]) -> None:
    section = load_recipe(set={"search.space": space, **leaves}).search
    assert section is not None
    assert section.space == space


def test_all_problems_of_a_space_are_told_at_once_beside_those_of_the_recipe() -> None:
    space = {"train.epoch": [1, 2], "train.warmup": {"uniform": [0.2, 0.1]}, "train.batch_size": [1, 16]}
    found = problems(space, {"data.dev": "none", "guard.metric": "cosine_x"})
    assert [line.split(": ")[0] for line in found] == [
        "guard.metric", "search.space.train.epoch", "search.space.train.warmup", "search.space.train.batch_size"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("leaf", "value", "found"),
    [
        ("search.space", {}, "found {}, which names no setting; write auto, or a mapping of settings"),
        ("search.space", "all", "found 'all'; write auto, or a mapping of settings"),
        ("search.rows", 1, "found 1; write auto, a share such as 0.3, or a whole number of rows"),
        ("search.rows", 1.5, "found 1.5; write auto, a share such as 0.3, or a whole number of rows"),
        ("search.trials", 20, "unknown key; known here: space, rows"),
    ],
)
def test_a_wrong_section_is_told(leaf: str, value: Any, found: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(set={leaf: value})
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{leaf}: {found}")


def test_every_reason_not_to_search_is_about_a_leaf_that_there_is_and_the_ready_settings_have_none() -> None:
    paths = list(known_paths())
    for setting in UNSEARCHABLE:
        assert any(f"{path}.".startswith(f"{setting}.") for path in paths), setting
    assert why_not("train.seed")
    assert not why_not("train.seeds")
    searchable = [path for path in paths if not why_not(path)]
    assert {path.split(".")[0] for path in searchable} == {"model", "data", "train", "guard"}


def test_a_run_refuses_a_recipe_of_a_search_and_takes_it_without() -> None:
    recipe = load_recipe(set={"search.rows": 0.2})
    message = "recipe: search: is for `embertune search`; leave it out of a run"
    with pytest.raises(RecipeError) as caught:
        plan(recipe, None, None, Silent())
    assert str(caught.value) == message
    refuse_search(replace(recipe, {"search": None}))
    assert Recipe().search is None


@given(st.integers(2, 10**7))
def test_a_trial_takes_all_of_few_rows_and_a_tenth_of_many(rows: int) -> None:
    found, why = rows_of_trial(None, rows)
    assert (found is None) == (rows <= 500)
    assert found is None or 500 <= found < rows
    assert rows < 20_000 or found == pytest.approx(rows / 10, abs=1)
    assert f"{rows:,} rows" in why


@given(st.integers(2, 10**6), st.one_of(st.floats(0.01, 0.99), st.integers(2, 10**6)))
def test_a_trial_takes_the_rows_that_are_asked_for_where_there_are_so_many(rows: int, asked: float) -> None:
    found, why = rows_of_trial(SearchSection(rows=asked), rows)
    wanted = asked if isinstance(asked, int) else max(2, round(asked * rows))
    assert found == (None if wanted >= rows else wanted)
    assert why.startswith(f"search.rows: {asked}")
