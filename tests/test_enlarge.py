"""`data.augment` from the recipe to the run folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from embertune.dryrun import dry_run
from embertune.errors import EmbertuneError
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.run import run
from embertune.watch import Silent
from tests import tiny


class Heard(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def settings(tmp_path: Path, tiny_model_path: Path) -> dict[str, Any]:
    rows = tiny.write_jsonl(tmp_path / "faq.jsonl", tiny.toy_pairs(80))
    thesaurus = [{"lemma": noun[0], "pos": "n", "synonyms": noun[1]} for noun in tiny.NOUNS]
    tiny.write_csv(tmp_path / "words.csv", thesaurus)
    return {
        "data.train": str(rows),
        "model.name": str(tiny_model_path),
        "train.max_steps": 2,
        "train.epochs": None,
        "data.augment": {"synonyms": 0.5, "thesaurus": str(tmp_path / "words.csv")},
    }


def test_a_run_trains_on_copies_too_and_writes_down_how_many(settings: dict[str, Any], tmp_path: Path) -> None:
    recipe = load_recipe(set=settings)
    without = plan(load_recipe(set={**settings, "data.augment": None}), None, None, Silent())
    heard = Heard()
    run(recipe, tmp_path / "out", watch=heard)
    audit = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    (note,) = [note for note in audit["notes"] if note["stage"] == "augment" and "joined them" in note["text"]]
    assert note["count"] > 0
    assert note["text"] in heard.notes
    assert all(" -> " in example for example in note["examples"])
    rows = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["data"]["augment"]["rows"]
    assert rows == note["count"]
    again = plan(load_recipe(tmp_path / "out" / "recipe.yaml"), None, None, Silent())
    assert len(again.data.sides.train) == len(without.data.sides.train) + note["count"]
    assert again.resolved.recipe.data.augment is not None
    assert again.resolved.recipe.data.augment.columns == ("anchor",)


def test_dev_and_test_are_as_without(settings: dict[str, Any]) -> None:
    one, other = (
        plan(load_recipe(set={**settings, "data.augment": wanted}), None, None, Silent()).data.sides
        for wanted in (settings["data.augment"], None)
    )
    assert one.dev is not None
    assert other.dev is not None
    assert one.dev.rows.to_list() == other.dev.rows.to_list()
    assert [s.rows.to_list() for s in one.tests.values()] == [s.rows.to_list() for s in other.tests.values()]


def test_no_copy_becomes_what_test_asks_for(settings: dict[str, Any], tmp_path: Path) -> None:
    copies = plan(load_recipe(set=settings), None, None, Silent()).data.sides.train.rows["anchor"][-5:]
    asked = [{"anchor": text, "positive": f"answer {n}"} for n, text in enumerate(copies)]
    test = tiny.write_jsonl(tmp_path / "asked.jsonl", [*asked, *tiny.toy_pairs(10, start=150)])
    found = plan(load_recipe(set={**settings, "data.test": str(test), "data.dev": 0.2}), None, None, Silent())
    assert set(copies).isdisjoint(found.data.sides.train.rows["anchor"])
    assert any("would repeat a text of dev or test" in note.text for note in found.data.notes)


def test_the_neighbours_of_held_out_texts_are_rows_as_they_were_and_no_copies(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    rows = tiny.write_jsonl(tmp_path / "classes.jsonl", tiny.toy_classes(80))
    found = plan(load_recipe(set={**settings, "data.train": str(rows), "data.test": 0.2}), None, None, Silent())
    assert len(found.data.sides.train) > len(found.plain.train)
    assert len(found.scene.tests[0].index["reference"]) == len(found.plain.train)


def test_a_dry_run_tells_of_the_copies(settings: dict[str, Any]) -> None:
    heard = Heard()
    preview = dry_run(load_recipe(set=settings), heard)
    assert any("synonyms put in anchor" in note for note in heard.notes)
    assert any(note.startswith("for example: ") and " -> " in note for note in heard.notes)
    assert "synonyms: 0.5" in preview.recipe_yaml


def test_another_thesaurus_makes_another_run(settings: dict[str, Any], tmp_path: Path) -> None:
    before = plan(load_recipe(set=settings), None, None, Silent()).fingerprint
    tiny.write_csv(tmp_path / "words.csv", [{"lemma": "stone", "pos": "n", "synonyms": "pebble"}])
    assert plan(load_recipe(set=settings), None, None, Silent()).fingerprint != before


def test_the_band_of_similarity_is_that_of_the_model_to_be_trained(
    settings: dict[str, Any], tiny_model: Callable[[], SentenceTransformer]
) -> None:
    augment = {"delete": 0.3, "keep": [0.6, 0.95]}
    recipe = load_recipe(set={**settings, "data.augment": augment, "model.name": None})
    model = tiny_model()
    rows = plan(recipe, None, model, Silent()).data.sides.train.rows.to_list()
    whole = len(plan(load_recipe(set={**settings, "data.augment": None}), None, None, Silent()).data.sides.train)
    origin = {row["positive"]: row["anchor"] for row in rows[:whole]}
    copies = rows[whole:]
    assert 0 < len(copies) < whole
    fresh = tiny_model()
    old = fresh.encode([origin[row["positive"]] for row in copies], normalize_embeddings=True)
    new = fresh.encode([row["anchor"] for row in copies], normalize_embeddings=True)
    cosine = (old * new).sum(axis=1)
    assert cosine.min() >= 0.6 - 1e-4
    assert cosine.max() <= 0.95 + 1e-4


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"synonyms": 0.5, "thesaurus": "./none.csv"}, "data.augment.thesaurus: ./none.csv: no such file"),
        ({"translate": {"there": "./none", "back": "./none"}}, "data.augment.translate.there: there is no folder"),
        ({"delete": 0.1, "columns": ["positve"]}, "data.augment.columns: pairs rows have no text 'positve'"),
    ],
)
def test_what_is_not_there_is_refused_before_training(
    settings: dict[str, Any], augment: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EmbertuneError) as caught:
        run(load_recipe(set={**settings, "data.augment": augment}), tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()
