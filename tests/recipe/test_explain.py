"""A recipe that is written out is the recipe that is read back, whatever stands in it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from embertune.recipe import Recipe, load_recipe
from embertune.recipe.check import known_paths
from embertune.recipe.explain import to_yaml
from embertune.recipe.losses import LOSSES

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
shares = st.floats(0.001, 0.499)
positive = st.floats(1e-300, 1e300)
#: Texts that are short of letters and full of what means something in YAML.
marks = st.text("?:-,[]{}#&*!|>'\"%@`~= ab1", min_size=1, max_size=6)
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "model.name": st.none() | words,
    "model.pooling": st.sampled_from(["auto", "mean", "cls"]),
    "model.prompts": st.sampled_from(["auto", "none"]) | st.dictionaries(st.sampled_from(["anchor", "text"]), words),
    "model.max_length": st.just("auto") | st.integers(2, 10**6),
    "data.train": st.none() | words | st.lists(words, min_size=1, max_size=3),
    "data.dev": shares | words,
    "data.test": shares | words | st.dictionaries(words, words, min_size=1, max_size=3),
    "data.columns": st.dictionaries(words, words, max_size=3),
    "data.shape": st.sampled_from(["auto", "pairs", "nli"]),
    "data.group": words,
    "data.limit": st.none() | st.integers(2, 10**12),
    "data.nli": st.none() | st.fixed_dictionaries({"neutral": st.booleans(), "max_per_premise": st.integers(1, 9)}),
    "data.negatives": st.none() | st.fixed_dictionaries({"random": st.just(0), "max_score": st.floats(-1, 1)}),
    "train.loss": st.sampled_from([*LOSSES]),
    "train.batch_size": st.just("auto") | st.integers(2, 10**6),
    "train.learning_rate": st.just("auto") | st.floats(1e-12, 1),
    "train.weight_decay": st.floats(0, 1),
    "train.schedule": st.sampled_from(["linear", "cosine", "constant"]),
    "train.warmup": st.floats(0, 0.99) | st.sampled_from(["100 steps", "0.5 epoch"]),
    "train.optimizer_options": st.sampled_from([None, {"betas": (0.8, 0.9)}]),
    "train.gradient_clip": st.none() | positive,
    "train.accumulate": st.integers(1, 99),
    "train.chunk": st.sampled_from(["auto", None]) | st.integers(1, 10**9),
    "train.precision": st.sampled_from(["auto", "float32", "bfloat16"]),
    "train.extra": st.dictionaries(st.sampled_from(["use_cpu", "use_cache"]), st.booleans()),
    "guard.patience": st.none() | st.sampled_from(["3 evaluations", "0.5 epoch"]),
    "evaluate.similarity": st.lists(st.sampled_from(["cosine", "dot"]), min_size=1, max_size=2, unique=True),
    "report.examples": st.booleans(),
    "seed": st.integers(0, 2**31 - 1),
}
lengths = st.one_of(
    st.fixed_dictionaries({"train.epochs": st.just("auto") | positive}),
    st.fixed_dictionaries({"train.max_steps": st.integers(1, 10**9), "train.epochs": st.none()}),
)
recipes = st.builds(
    lambda leaves, length: load_recipe(set={**leaves, **length}), st.fixed_dictionaries({}, optional=LEAVES), lengths
)


def read_back(text: str) -> Recipe:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path)


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(recipes, st.dictionaries(st.sampled_from(sorted(known_paths())), words, max_size=6), words)
def test_a_recipe_written_with_any_reasons_is_read_back_equal(
    recipe: Recipe, reasons: dict[str, str], header: str
) -> None:
    assert read_back(to_yaml(recipe, reasons, header)) == recipe


def test_every_leaf_is_written_in_place() -> None:
    augment = {"swap": 0.1, "translate": {"there": "a/b", "back": "b/a"}}
    sections = {"data.nli": {}, "data.negatives": {}, "data.augment": augment, "train.loss_options": {"margin": 1.0}}
    sections |= {"train.optimizer_options": {"epsilon": 1e-8}, "model.layers": {"keep": 3}}
    sections |= {"train.schedule": "cosine_with_restarts", "train.schedule_options": {"cycles": 2}}
    sections |= {"train.freeze": {"layers": 3}, "train.unfreeze": {}, "train.matryoshka": {"dimensions": [8]}}
    recipe = load_recipe(set={**sections, "train.loss": "triplet", "search": {}})
    lines = [line.strip().partition(":")[0] for line in to_yaml(recipe, {}).splitlines()]
    for path in known_paths():
        assert path.rsplit(".", 1)[-1] in lines


def test_null_is_written_as_null() -> None:
    lines = to_yaml(Recipe(), {}).splitlines()
    assert "  limit: null" in lines
    assert not [line for line in lines if line.endswith((": ", ":~", ": ~"))]


@settings(max_examples=300, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.dictionaries(marks, marks, min_size=1, max_size=3), st.lists(marks, min_size=1, max_size=3), marks)
@example({"anchor": "?what", "positive": ":C(fL}"}, ["a:?b"], "a:")
def test_values_made_of_the_marks_of_yaml_are_read_back(columns: dict[str, str], files: list[str], group: str) -> None:
    recipe = load_recipe(set={"data.columns": columns, "data.train": files, "data.group": group})
    assert read_back(to_yaml(recipe, {})) == recipe


def test_a_reason_stands_as_a_comment_beside_its_leaf() -> None:
    text = to_yaml(Recipe(), {"train.epochs": "a few\n passes", "data.limit": "all"}, "First line.\n\nThird line.")
    assert text.startswith("# First line.\n#\n# Third line.\n")
    assert "  epochs: auto # a few passes\n" in text.replace("  #", " #")
    assert "  limit: null # all\n" in text.replace("  #", " #")
