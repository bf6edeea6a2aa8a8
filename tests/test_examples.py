"""`report.examples: false` leaves every text of the data out of the run folder; hostile texts do no harm in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.recipe import load_recipe
from tests import tiny
from tests.report.made import HOSTILE

#: What stands in every text and in every name of a class, and nowhere else.
MARK = "quokka"
_HOSTILE = [text.replace("\ud800", "") for text in HOSTILE.values()]


def pairs() -> tiny.Rows:
    """Marked and partly hostile rows, with repeats, an empty text and a conflict, so that the audit has examples."""
    rows = [{key: f"{text} {MARK} {n}" for key, text in row.items()} for n, row in enumerate(tiny.toy_pairs(90))]
    for row, text in zip(rows[::6], (*_HOSTILE, *_HOSTILE), strict=False):
        row["anchor"] = f"{MARK} {text}"
    return [*rows, *rows[:3], {"anchor": rows[0]["anchor"], "positive": f"... {MARK}"}]


def classes() -> tiny.Rows:
    """The same of texts and classes, one of which is rare."""
    rows = [
        {"text": f"{MARK} {row['text']} {n}", "label": f"{MARK}-{row['label']}"}
        for n, row in enumerate(tiny.toy_classes(90))
    ]
    return [
        *rows,
        *rows[:3],
        {"text": f"{MARK} alone", "label": f"{MARK}-rare"},
        {**rows[0], "label": rows[1]["label"]},
    ]


LEARNS, STAYS = {"train.learning_rate": 3e-3, "train.max_steps": 12}, {"train.learning_rate": 1e-12}
RUNS: dict[str, tuple[Callable[[], tiny.Rows], dict[str, Any]]] = {
    "tuned": (pairs, {**LEARNS, "data.negatives.num_negatives": 1}),
    "base": (classes, STAYS),
    "shown": (pairs, {**STAYS, "report.examples": True}),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model_path: Path) -> dict[str, et.Result]:
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name, (rows, leaves) in RUNS.items():
        shared = {"model.name": str(tiny_model_path), "train.max_steps": 2, "evaluate.retention": None}
        train = tiny.write_jsonl(folder / f"{name}.jsonl", rows())
        recipe = load_recipe(set={**shared, "data.train": str(train), "report.examples": False, **leaves})
        found[name] = et.run(recipe, folder / name)
    return found


def marked(result: et.Result) -> Iterator[str]:
    """The files of a run folder in which a text of the data stands."""
    for file in result.out.rglob("*"):
        if file.is_file() and MARK in file.read_bytes().decode("utf-8", "replace").lower():
            yield str(file.relative_to(result.out))


@pytest.mark.parametrize("name", [name for name in RUNS if name != "shown"])
def test_where_no_text_may_be_shown_none_is_in_the_run_folder(runs: dict[str, et.Result], name: str) -> None:
    assert (runs[name].chosen == "base") == (name == "base")
    assert sorted(marked(runs[name])) == []


def test_elsewhere_reports_show_texts_and_the_card_and_the_figures_never_do(runs: dict[str, et.Result]) -> None:
    assert {"facts.json", "report.html", "report.md"} <= set(marked(runs["shown"]))
    assert not {"model/README.md", "metrics.json", "history.jsonl", "manifest.json"} & set(marked(runs["shown"]))


def test_hostile_texts_are_kept_short_and_nothing_in_them_acts(runs: dict[str, et.Result]) -> None:
    seen = json.loads((runs["shown"].out / "facts.json").read_text(encoding="utf-8"))["seen"]
    texts = [near["text"] for one in seen["neighbours"] for near in one["before"] + one["after"]]
    assert len(texts) > 10
    assert max(map(len, texts)) <= 280
    assert not any("\u202e" in text or "\x1b" in text for text in texts)
