"""Runs that mine: what joins the rows, what is kept of it, and that mining anew repeats."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from embertune.data.prepare import Given
from embertune.errors import DataError, ModelError, RecipeError, RunFolderError
from embertune.model.save import fingerprint
from embertune.negatives import mining_anew
from embertune.plan import Plan, plan
from embertune.recipe import load_recipe
from embertune.run import run
from embertune.watch import Silent
from tests import tiny
from tests.training import made

Loader = Callable[[], SentenceTransformer]


def planned(loaded: SentenceTransformer, rows: list[dict[str, Any]], **leaves: Any) -> Plan:
    return made.planned(loaded, rows, **{f"data__negatives__{name}": value for name, value in leaves.items()})


def test_rows_get_negatives_and_a_loss_that_takes_them(tiny_model: Loader) -> None:
    found = planned(tiny_model(), tiny.toy_pairs(60), num_negatives=2, random=1)
    train = found.data.sides.train
    assert train.shape == "triplets"
    assert train.text_columns == ("anchor", "positive", "negative", "negative_2")
    assert found.data.origin == "pairs"
    assert found.resolved.recipe.train.loss == "multiple_negatives_ranking"
    assert found.mined is not None
    assert found.mined["anchors"] == 60
    assert any("negatives mined for 60 anchors" in note.text for note in found.data.notes)


@pytest.mark.parametrize("rows", [tiny.toy_triplets, tiny.toy_nli])
def test_negatives_join_triplets_and_nli_rows_too(rows: Callable[..., Any], tiny_model: Loader) -> None:
    train = planned(tiny_model(), rows(60), num_negatives=1).data.sides.train
    assert train.text_columns == ("anchor", "positive", "negative", "negative_2")


def test_a_retrieval_set_offers_its_documents(tiny_model: Loader, tmp_path: Path) -> None:
    leaves = {"data.train": str(tiny.toy_beir(tmp_path, distractors=30)), "data.negatives": {}, "data.dev": "none"}
    found = plan(load_recipe(set=leaves), None, tiny_model(), Silent())
    assert found.mined is not None
    assert found.mined["candidates"] == 90
    assert found.data.sides.train.shape == "triplets"
    assert found.data.sides.tests["beir" if "beir" in found.data.sides.tests else tmp_path.name].shape == "retrieval"


def test_another_model_may_mine_and_is_kept_in_the_fingerprint(tiny_model: Loader, tiny_model_path: Path) -> None:
    own = planned(tiny_model(), tiny.toy_pairs(60), num_negatives=1)
    other = planned(tiny_model(), tiny.toy_pairs(60), model=str(tiny_model_path))
    assert own.fingerprint != other.fingerprint
    assert other.resolved.recipe.data.negatives is not None
    assert other.resolved.recipe.data.negatives.model == str(tiny_model_path.resolve())
    assert own.data.sides.train.rows.to_list() == other.data.sides.train.rows.to_list()


def test_a_run_that_mines_anew_repeats_bit_for_bit_and_says_when(tiny_model: Loader, tmp_path: Path) -> None:
    leaves = {"data.negatives.every": 1, "train.epochs": 3, "data.dev": "none", "train.batch_size": 16}
    prints = []
    for name in ("one", "two"):
        model = tiny_model()
        run(load_recipe(set=leaves), tmp_path / name, train=tiny.toy_pairs(40), model=model)
        prints.append(fingerprint(model))
        lines = [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        mined = [line["epoch"] for line in lines if "negatives" in line]
        assert mined == [1.0, 2.0]
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, lines[-1]["step"] + 1))
        audit = json.loads((tmp_path / name / "audit.json").read_text())["negatives"]
        assert audit["anchors"] == sum(audit["scores"]["counts"]["positive"])
    assert prints[0] == prints[1]


class Hears(Silent):
    """Notes the stages of a run."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.stages.append(name)


def test_a_finished_run_asked_for_again_mines_augments_and_loads_nothing(tiny_model_path: Path, tmp_path: Path) -> None:
    miner, out = tmp_path / "miner", tmp_path / "run"
    shutil.copytree(tiny_model_path, miner)
    leaves = {"model.name": str(tiny_model_path), "data.negatives": {"model": str(miner)}, "train.max_steps": 2}
    recipe = load_recipe(set={**leaves, "data.augment": {"delete": 0.2}})
    first = run(recipe, out, train=tiny.toy_pairs(60))
    shutil.rmtree(miner)
    for again in (recipe, load_recipe(out / "recipe.yaml")):
        hears = Hears()
        assert run(again, out, train=tiny.toy_pairs(60), watch=hears) == first
        assert hears.stages == ["data", "finished"]
    with pytest.raises(RunFolderError, match="was begun on other data"):
        run(recipe, out, train=tiny.toy_pairs(61))


def test_a_finished_run_is_not_taken_for_that_of_another_model_or_loss(tiny_model: Loader, tmp_path: Path) -> None:
    recipe = load_recipe(set={"train.max_steps": 1, "data.dev": "none", "data.test": "none"})
    run(recipe, tmp_path, train=tiny.toy_pairs(40), model=tiny_model())
    hears = Hears()
    run(recipe, tmp_path, train=tiny.toy_pairs(40), model=tiny_model(), watch=hears)
    assert hears.stages == ["data", "finished"]
    other = tiny_model()
    for parameter in other.parameters():
        parameter.data = parameter.data.flip(0)
    for handed in ({"model": other}, {"model": tiny_model(), "loss": MultipleNegativesRankingLoss}):
        with pytest.raises(RunFolderError, match="with another model handed over"):
            run(recipe, tmp_path, train=tiny.toy_pairs(40), **handed)


def test_mining_anew_changes_the_mined_columns_only(tiny_model: Loader) -> None:
    found = planned(tiny_model(), tiny.toy_triplets(60), every=1, num_negatives=2)
    train = found.data.sides.train
    renew = mining_anew(found.resolved.recipe, found.encode, Silent())
    assert renew is not None
    assert renew(train).rows.to_list() == train.rows.to_list()
    for parameter in found.built.model.parameters():
        parameter.data = parameter.data.flip(0)
    other = renew(train)
    kept = ["anchor", "positive", "negative", "group"]
    assert other.text_columns == train.text_columns
    assert other.rows.select_columns(kept).to_list() == train.rows.select_columns(kept).to_list()
    assert other.rows["negative_2"] != train.rows["negative_2"]


def test_with_a_mask_too_the_course_is_kept_whatever_is_mined(tiny_model: Loader, tmp_path: Path) -> None:
    leaves = {"data.negatives.every": 1, "train.epochs": 2, "train.known_positives": "mask", "train.batch_size": 8}
    out = tmp_path / "run"
    run(load_recipe(set={**leaves, "data.dev": "none"}), out, train=tiny.toy_pairs(40), model=tiny_model())
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if "loss" in line][-1] == 2.0


def test_what_cannot_be_mined_is_refused_with_what_would_do(tiny_model: Loader) -> None:
    with pytest.raises(RecipeError, match=r"data.negatives: has no effect on classes rows"):
        planned(tiny_model(), tiny.toy_classes(60), num_negatives=1)
    with pytest.raises(RecipeError, match=r"data.negatives.every: found 5, and training ends after 5 passes"):
        planned(tiny_model(), tiny.toy_pairs(60), every=5)
    with pytest.raises(DataError, match=r"ask for fewer \(num_negatives\)"):
        planned(tiny_model(), tiny.toy_pairs(10), num_negatives=10, range_max=20)
    with pytest.raises(ModelError, match=r"^data.negatives.model: there is no folder '/nowhere/at/all'"):
        planned(tiny_model(), tiny.toy_pairs(60), model="/nowhere/at/all")


@pytest.mark.parametrize(
    ("rows", "leaves", "said"),
    [
        (tiny.toy_pairs, {"train.loss": "cosent"}, r"train.loss: cosent takes scored, labelled, and the data is trip"),
        (tiny.toy_pairs, {"guard.metric": "cosine_acuracy"}, r"guard.metric: found 'cosine_acuracy'"),
        (tiny.toy_pairs, {"data.negatives.every": 2, "train.epochs": 2}, r"every: found 2, and training ends after 2"),
        (tiny.toy_scored, {}, r"data.negatives: has no effect on scored rows"),
        (tiny.toy_triplets, {"train.loss": "triplet", "train.known_positives": "mask"}, r"train.known_positives: has"),
    ],
)
def test_what_cannot_be_is_told_before_a_model_is_loaded_or_anything_is_mined(
    rows: Callable[[int], list[dict[str, Any]]], leaves: dict[str, Any], said: str
) -> None:
    nowhere = {"model.name": "/nowhere", "data.negatives.model": "/nowhere/at/all"}
    with pytest.raises(RecipeError, match=said):
        plan(load_recipe(set={**nowhere, **leaves}), Given(rows(60)), None, Silent())


def test_a_thesaurus_that_is_not_there_is_told_before_anything_is_mined(tiny_model_path: Path) -> None:
    nowhere = {"data.negatives": {"model": "/nowhere/at/all"}, "data.augment": {"synonyms": 0.5, "thesaurus": "no.csv"}}
    with pytest.raises(DataError, match=r"no\.csv"):
        plan(
            load_recipe(set={"model.name": str(tiny_model_path), **nowhere}), Given(tiny.toy_pairs(60)), None, Silent()
        )


def test_a_prompt_for_negatives_that_are_mined_is_taken(tiny_model_path: Path) -> None:
    leaves = {"model.name": str(tiny_model_path), "model.prompts": {"negative": "not: "}, "data.negatives": {}}
    assert plan(load_recipe(set=leaves), Given(tiny.toy_pairs(60)), None, Silent()).built.role_prompts


@pytest.mark.parametrize(
    ("leaves", "said"),
    [
        ({"random": 1}, "data.negatives.random: found 1 of 1 negatives, which leaves none to mine"),
        ({"range_min": 9, "range_max": 9}, "data.negatives.range_max: found 9, which leaves 0 ranks"),
        ({"relative_margin": 1.5}, "data.negatives.relative_margin: found 1.5"),
        ({"num_negative": 2}, "data.negatives.num_negative: unknown key"),
    ],
)
def test_settings_that_cannot_be_are_told_before_anything_is_read(leaves: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(set={f"data.negatives.{name}": value for name, value in leaves.items()})


def test_mining_anew_beside_a_guide_is_refused() -> None:
    leaves = {"data.negatives.every": 1, "train.guide": "base", "train.known_positives": "mask"}
    with pytest.raises(RecipeError, match=r"data.negatives.every: found 1 next to train.guide"):
        load_recipe(set=leaves)
