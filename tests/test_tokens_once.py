"""A run reads each text once, and ends in the same place whether its tokens were there, were not, or had no place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

import embertune as et
from embertune import caches
from embertune.data.prepare import Given
from embertune.plan import plan
from embertune.tokenise import texts_of, tokenise
from embertune.training.fit import fit
from embertune.training.session import Surroundings
from embertune.watch import Silent
from tests import tiny

Load = Callable[[], SentenceTransformer]


class Notes(Silent):
    """Remembers what a person would be told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def recipe(model: Path, **leaves: Any) -> et.Recipe:
    settings = {
        "model.name": str(model),
        "train.max_steps": 4,
        "train.batch_size": 8,
        "evaluate.similarity": ["cosine"],
    }
    return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})


def left(folder: Path) -> list[Any]:
    """All that a run ends in and that may be compared between runs."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    history = (folder / "history.jsonl").read_text(encoding="utf-8")
    weights = (folder / "model" / "model.safetensors").read_bytes()
    return [
        *(metrics[part] for part in ("baseline", "tuned", "change")),
        history,
        weights,
        et.load_recipe(folder / "recipe.yaml"),
    ]


def test_a_run_ends_in_the_same_place_with_a_cold_cache_a_warm_one_and_none(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tiny.toy_triplets(120)
    made, notes = {}, {}
    (tmp_path / "file").write_text("in the way")
    for name, place in (("cold", "cache"), ("warm", "cache"), ("none", "file")):
        monkeypatch.setenv(caches.FOLDER, str(tmp_path / place))
        notes[name] = Notes()
        given = recipe(tiny_model_path, model__prompts={"anchor": "query: "})
        et.run(given, tmp_path / name, train=rows, watch=notes[name])
        made[name] = left(tmp_path / name)
    assert made["cold"] == made["warm"] == made["none"]
    assert [any("tokens stay in memory" in note for note in said.notes) for said in notes.values()] == [0, 0, 1]


@pytest.mark.parametrize("rows", [tiny.toy_triplets, tiny.toy_classes, tiny.toy_scored])
def test_after_planning_neither_training_nor_measuring_tokenises_anything(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Callable[[int], tiny.Rows]
) -> None:
    monkeypatch.setenv(caches.FOLDER, str(tmp_path / "cache"))
    settings = {"train.max_steps": 4, "train.batch_size": 6, "evaluate.similarity": ["cosine"]}
    planned = plan(et.load_recipe(set=settings), Given(rows(120)), tiny_model(), Silent())
    model, store = planned.built.model, planned.tokens
    assert store is not None
    read = store.texts
    monkeypatch.setattr(model[0], "preprocess", lambda *_, **__: 1 / 0)
    for evalset in (planned.scene.dev, *planned.scene.tests):
        assert evalset is not None
        for role, texts in evalset.texts.items():
            assert len(planned.encode(texts, role)) == len(texts)
    around = Surroundings(None, tmp_path / "history.jsonl", Silent(), {}, tokens=store)
    assert fit(model, planned.data.sides.train, planned.resolved.recipe, around, planned.course).steps == 4
    assert store.texts == read > 100


def test_what_is_tokenised_for_one_run_is_there_for_the_next(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(caches.FOLDER, str(tmp_path / "cache"))
    texts = []
    for rows in (60, 60, 80):
        recipe = et.load_recipe(set={"evaluate.retention": None})
        planned = plan(recipe, Given(tiny.toy_pairs(rows)), tiny_model(), Silent())
        assert planned.tokens is not None
        texts.append(planned.tokens.texts)
    assert texts == [120, 120, 160]


def test_somebody_who_waits_for_tokens_is_told_how_far_they_are(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(caches.FOLDER, str(tmp_path / "cache"))
    rows = [{"anchor": f"{tiny.question(i)} {i}", "positive": f"{tiny.answer(i)} {i}"} for i in range(1500)]
    settings = {"data.dev": "none", "data.test": "none"}
    planned = plan(et.load_recipe(set=settings), Given(rows), tiny_model(), Silent())
    watch, read = Notes(), (planned.data.sides.train, planned.scene, planned.built.role_prompts)
    tokenise(planned.tokens, texts_of(*read), watch)
    assert watch.notes == []
    monkeypatch.setattr("embertune.tokenise.TELL_EVERY", 0.0)
    tokenise(planned.tokens, texts_of(*read), watch)
    assert [note.split(" texts")[0] for note in watch.notes] == ["1,000", "2,000", "3,000"]
