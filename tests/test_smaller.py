"""Runs that make the model smaller: against the whole model as it came, with a plain small model at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune.data.prepared import Prepared
from embertune.errors import EmbertuneError
from embertune.model.encode import make_encode
from embertune.model.layers import find_layers
from embertune.model.project import components
from embertune.model.save import fingerprint
from embertune.plan import plan
from embertune.smaller import Smaller, make_smaller, some_texts
from embertune.watch import Silent
from tests import tiny
from tests.training.made import prepared

Loader = Callable[[], SentenceTransformer]
ROWS = {"triplets": tiny.toy_triplets, "labelled": tiny.toy_labelled, "classes": tiny.toy_classes}
SMALL = {"model.layers": 1, "model.dimensions": 16, "train.matryoshka": [8, 4]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    return {shape: tiny.write_jsonl(folder / f"{shape}.jsonl", make(60)) for shape, make in ROWS.items()}


@pytest.fixture
def recipe(tiny_model_path: Path, data: dict[str, Path]) -> Callable[..., et.Recipe]:
    def make(shape: str = "triplets", **leaves: Any) -> et.Recipe:
        settings = {
            "model.name": str(tiny_model_path), "data.train": str(data[shape]), "train.max_steps": 3,
            "evaluate.similarity": ["cosine"], "train.precision": "float32", "data.near_duplicates": None,
        }  # fmt: skip
        return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})

    return make


def metrics(result: et.Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((result.out / "metrics.json").read_text(encoding="utf-8"))
    return found


def loaded(result: et.Result) -> SentenceTransformer:
    return SentenceTransformer(str(result.model), device="cpu", local_files_only=True)


@pytest.mark.parametrize("shape", list(ROWS))
def test_a_smaller_model_is_measured_against_the_whole_one_and_saved_plain(
    recipe: Callable[..., et.Recipe], tmp_path: Path, shape: str
) -> None:
    usual = et.run(recipe(shape), tmp_path / "usual")
    result = et.run(recipe(shape, **SMALL), tmp_path / "small")
    assert usual.baseline.items() <= result.baseline.items(), "the baseline is the model as it came, whole"
    assert result.chosen == "tuned"
    small = loaded(result)
    assert len(find_layers(small).blocks) == 1
    assert small.encode("a dog").shape == (16,)
    size = metrics(result)["size"]
    assert (size["baseline"]["blocks"], size["baseline"]["dimensions"]) == (2, 32)
    assert (size["tuned"]["blocks"], size["tuned"]["dimensions"]) == (1, 16)
    assert size["tuned"]["parameters"] == sum(p.numel() for p in small.parameters()) < size["baseline"]["parameters"]
    at = {name.split("_", 1)[0] for name in result.change}
    assert {f"{shape}-test", f"{shape}-test-8", f"{shape}-test-4"} <= at
    assert "the baseline is the whole model as it came" in (result.out / "report.md").read_text(encoding="utf-8")
    sizes = json.loads((result.out / "facts.json").read_text(encoding="utf-8"))["seen"]["sizes"]
    assert [(one["label"], one["dimensions"], one["layers"]) for one in sizes] == [
        *(("baseline", dimensions, 2) for dimensions in (32, 8, 4)),
        *(("tuned", dimensions, 1) for dimensions in (16, 8, 4)),
    ]
    if shape == "labelled":
        assert "cosine_accuracy_threshold@8" in metrics(result)["thresholds"]


def test_the_resolved_recipe_of_such_a_run_gives_the_same_model_and_asked_again_it_is_finished(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    asked = recipe(**SMALL, model__dropout=0.2)
    first = et.run(asked, tmp_path / "first")
    again = et.run(et.load_recipe(first.out / "recipe.yaml"), tmp_path / "again")
    assert fingerprint(loaded(first)) == fingerprint(loaded(again))
    written = (first.out / "metrics.json").stat().st_mtime_ns
    et.run(asked, tmp_path / "first")
    assert (first.out / "metrics.json").stat().st_mtime_ns == written


def test_dropout_changes_the_trained_weights_and_no_configuration(
    recipe: Callable[..., et.Recipe], tmp_path: Path, tiny_model_path: Path
) -> None:
    results = [et.run(recipe(model__dropout=rate), tmp_path / str(rate)) for rate in ("auto", 0.0)]
    own_rates, none = (fingerprint(loaded(result)) for result in results)
    assert own_rates != none
    configs = [json.loads((result.model / "config.json").read_text(encoding="utf-8")) for result in results]
    own = json.loads((tiny_model_path / "config.json").read_text(encoding="utf-8"))
    assert all(config["hidden_dropout_prob"] == own["hidden_dropout_prob"] for config in configs)
    assert "dropout: 0.1 # the model's own" in " ".join((tmp_path / "auto/recipe.yaml").read_text("utf-8").split())


def test_a_model_handed_over_is_cut_and_trained_in_place(
    recipe: Callable[..., et.Recipe], tmp_path: Path, tiny_model: Loader
) -> None:
    model = tiny_model()
    result = et.run(recipe(**SMALL, model__name=None), tmp_path / "out", model=model)
    assert fingerprint(model) == fingerprint(loaded(result))


def test_the_choice_is_never_the_whole_model(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    result = et.run(recipe(**SMALL, train__learning_rate=1e-12), tmp_path / "out")
    assert result.chosen == "tuned"
    assert "beat the smaller model's cosine_accuracy at its start" in result.reason
    assert loaded(result).encode("a dog").shape == (16,)


def test_the_primary_metric_may_be_that_of_a_length(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    name = "triplets-test-4_cosine_accuracy"
    result = et.run(recipe(train__matryoshka=[4], evaluate__primary=name), tmp_path / "out")
    assert result.primary == name


def test_everything_is_planned_on_the_smaller_model(recipe: Callable[..., et.Recipe]) -> None:
    made = plan(recipe(**SMALL, train__freeze={"layers": 0, "embeddings": True}), None, None, Silent())
    assert [row.name for row in find_layers(made.built.model).layers][-1] == "head Dense"
    assert made.memory.dimensions == 16
    whole = plan(recipe(), None, None, Silent())
    assert made.memory.need(None) < whole.memory.need(None)
    with made.smaller.whole():
        assert fingerprint(made.built.model) == fingerprint(whole.built.model)
    assert made.built.model.get_embedding_dimension() == 16


@pytest.mark.parametrize(
    ("leaves", "said"),
    [
        ({"model.layers": 2}, "model.layers: found 2, and the model has 2 blocks"),
        ({"model.dimensions": 64}, "model.dimensions: found 64, and the model has 32"),
        ({"train.matryoshka": [64]}, "train.matryoshka.dimensions: found 64, and the model's vectors have 32"),
        ({"train.matryoshka": [32]}, "train.matryoshka: found 32 alone"),
        ({"train.matryoshka": [16], "model.dimensions": 8}, "found 16, and model.dimensions is 8"),
        ({"train.matryoshka": []}, "names no length"),
        ({"train.matryoshka": [4, 4]}, "names a length twice"),
        ({"train.matryoshka": {"dimensions": [8, 4], "weights": [1]}}, "found 1 weights for 2 lengths"),
        ({"train.matryoshka": [4], "train.loss": "softmax"}, "weights of its own"),
        ({"model.layers": {"choose": "first"}}, "model.layers.keep: found null"),
        ({"model.dropout": {"hidden": 0.1, "attention": 1.0}}, "model.dropout: found 1.0"),
        ({"model.dropout": None}, "model.dropout: found null, and the model has"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    recipe: Callable[..., et.Recipe], leaves: dict[str, Any], said: str
) -> None:
    with pytest.raises(EmbertuneError, match=said):
        plan(recipe(**leaves), None, None, Silent())


def column(train: Prepared, name: str) -> set[str]:
    return set(train.rows[name])


def test_texts_for_the_head_are_distinct_training_texts_chosen_by_what_they_say() -> None:
    rows = tiny.toy_pairs(60) * 2
    train = prepared("pairs", {name: [row[name] for row in rows] for name in ("anchor", "positive")})
    for most in (1, 30, 120, 500):
        found = dict(some_texts(train, most, 0))
        assert all(set(texts) <= column(train, name) for name, texts in found.items())
        chosen = [text for texts in found.values() for text in texts]
        assert len(chosen) == len(set(chosen)) == min(most, 120)
    reverse = prepared("pairs", {name: [row[name] for row in reversed(rows)] for name in ("anchor", "positive")})
    once, other = (dict(some_texts(made, 30, 0)) for made in (train, reverse))
    assert {name: sorted(texts) for name, texts in once.items()} == {n: sorted(texts) for n, texts in other.items()}


def test_a_head_begins_as_the_components_of_the_smaller_models_vectors(
    recipe: Callable[..., et.Recipe], tiny_model: Loader
) -> None:
    train = prepared(
        "pairs", {"anchor": [tiny.question(i) for i in range(40)], "positive": [tiny.answer(i) for i in range(40)]}
    )
    model = tiny_model()
    smaller = make_smaller(model, recipe(**SMALL))
    smaller.shrink()
    smaller.begin(train, make_encode(model, {}), 0)
    one = make_smaller(tiny_model(), recipe(model__layers=1))
    one.shrink()
    vectors = np.concatenate([one.model.encode(texts) for _, texts in some_texts(train, 1000, 0)])
    assert smaller.head is not None
    np.testing.assert_allclose(smaller.head.layer.linear.weight.detach().numpy(), components(vectors, 16), atol=1e-4)


def test_what_encodes_as_the_whole_gives_the_vectors_of_the_model_as_it_came(
    recipe: Callable[..., et.Recipe], tiny_model: Loader
) -> None:
    model, texts = tiny_model(), [tiny.question(i) for i in range(5)]
    before = model.encode(texts)
    smaller = make_smaller(model, recipe(**SMALL))
    smaller.shrink()
    np.testing.assert_allclose(smaller.as_whole(make_encode(model, {}))(texts, "anchor"), before, atol=1e-6)
    assert model.encode(texts).shape == (5, 16)


def test_a_model_that_is_not_made_smaller_stays_as_it_is(tiny_model: Loader) -> None:
    model = tiny_model()
    mark, nothing = fingerprint(model), Smaller(model)
    assert not nothing
    nothing.shrink()
    with nothing.whole():
        assert fingerprint(model) == mark
    assert nothing.notes() == ()
    assert nothing.record()["baseline"] == nothing.record()["tuned"]
