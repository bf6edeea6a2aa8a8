"""A search: what it leaves behind, that it goes on after a kill, that more of it goes on too, and what it refuses."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import embertune as et
from embertune.cli import main
from embertune.confirm import Gain, wanted
from embertune.errors import RecipeError, RunFolderError, TrainingError
from embertune.evaluate.bootstrap import Change
from embertune.evaluate.seeds import Joint, OverSeeds
from embertune.plan import read
from embertune.recipe.explain import to_yaml
from embertune.report.tried import Candidate, Tried
from embertune.search import answer_of
from embertune.terminal import Terminal
from embertune.trials import ground_of, looks_of, refuse_failures
from embertune.watch import Silent
from tests import tiny

RATES = [1e-4, 5e-3]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "triplets.jsonl", tiny.toy_triplets(80))


@pytest.fixture(scope="module")
def recipe(tiny_model_path: Path, rows: Path) -> et.Recipe:
    settings = {
        "model.name": str(tiny_model_path), "data.train": str(rows), "train.max_steps": 4, "train.batch_size": 8,
        "evaluate.similarity": ["cosine"], "evaluate.retention": None,
        "data.dev": 0.3, "data.test": 0.3, "search.space": {"train.learning_rate": RATES}, "search.rows": 0.8,
    }  # fmt: skip
    return et.load_recipe(set=settings)


@pytest.fixture(scope="module")
def found(recipe: et.Recipe, tmp_path_factory: pytest.TempPathFactory) -> et.Found:
    return et.search(recipe, tmp_path_factory.mktemp("search") / "whole", 2, seeds=2)


def told(out: Path) -> Any:
    """All that a search says, but for seconds and its own place."""
    record = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    record["tried"] = [{**one, "seconds": None} for one in record["tried"]]
    return {**record, "model": Path(record["model"]).relative_to(out).as_posix()}


# What it leaves behind


def test_each_trial_is_an_ordinary_run_on_a_part_of_the_rows_that_reads_nothing_of_test(found: et.Found) -> None:
    tried = found.searched.tried
    assert [one.number for one in tried] == [0, 1]
    assert {one.settings["train.learning_rate"] for one in tried} <= {*RATES, 5e-5}
    for one in tried:
        folder = found.out / "trials" / f"trial-{one.number:03}"
        made = et.load_recipe(folder / "recipe.yaml")
        assert made.train.learning_rate == one.settings["train.learning_rate"]
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        assert [side["role"] for side in facts["sides"]] == ["train", "dev"]
        assert facts["sides"][0]["rows"] == pytest.approx(found.searched.rows, abs=2)  # whole groups
        assert json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["verdict"] == "unmeasured"
        assert not (folder / "model").exists()
    assert found.searched.rows < found.searched.of


def test_trials_begin_with_the_recipe_and_then_the_defaults_unless_they_are_the_same(
    found: et.Found, recipe: et.Recipe
) -> None:
    assert [one.origin for one in found.searched.tried] == ["defaults", "proposed"]
    assert found.searched.tried[0].settings == {"train.learning_rate": 5e-5}
    asked = et.replace(recipe, {"train.learning_rate": 5e-3})
    first = ground_of(asked, read(et.replace(asked, {"search": None}), None, Silent()), {}, Silent()).space.first
    rates = [(origin, point["train.learning_rate"]) for origin, point in first]
    assert rates == [("recipe", 5e-3), ("defaults", 5e-5)]


def test_the_value_of_a_trial_is_the_best_of_its_looks(found: et.Found) -> None:
    for one in found.searched.tried:
        assert one.looks[-1] == (1.0, one.value)
        made = et.load_recipe(found.out / "trials" / f"trial-{one.number:03}" / "recipe.yaml")
        looks = looks_of(found.out / "trials" / f"trial-{one.number:03}", made)
        assert [share for share, _ in looks] in ([0.25, 0.5, 0.75], [0.25, 0.5, 0.75, 1.0])  # patience may end it
        assert looks[-1][1] == one.value
        assert [best for _, best in looks] == sorted(best for _, best in looks)


def test_candidates_are_trained_on_all_rows_with_every_seed_and_the_best_on_dev_wins(found: et.Found) -> None:
    searched = found.searched
    assert searched.candidates[0].name == "defaults"
    assert all(len(one.dev) == 2 for one in searched.candidates)
    assert max(one.mean for one in searched.candidates) == next(
        one.mean for one in searched.candidates if one.name == searched.winner
    )
    for one in searched.candidates:
        for seed in (0, 1):
            facts = json.loads((found.out / "confirm" / one.name / f"seed-{seed}" / "facts.json").read_text("utf-8"))
            assert next((side["role"], side["rows"]) for side in facts["sides"]) == ("train", searched.of)


def test_the_winner_is_a_recipe_that_can_be_run_and_a_model_that_loads(found: et.Found, recipe: et.Recipe) -> None:
    from sentence_transformers import SentenceTransformer

    made = et.load_recipe(found.recipe)
    winner = next(one for one in found.searched.candidates if one.name == found.searched.winner)
    assert made.train.learning_rate == winner.settings["train.learning_rate"]
    assert made.search is None
    assert made == et.replace(recipe, {"search": None, **winner.settings})
    assert "tried" in found.recipe.read_text(encoding="utf-8")
    assert SentenceTransformer(str(found.model)).encode("a road").shape == (32,)


def test_the_gain_over_the_defaults_is_that_of_the_saved_models_on_test(found: et.Found) -> None:
    searched = found.searched
    assert searched.over_base is not None
    assert searched.over_base.counts is not None
    assert searched.over_base.counts.items > 10
    assert (searched.gain is None) == (searched.winner == "defaults")
    assert searched.answer in found.recipe.read_text(encoding="utf-8").replace("\n# ", " ")
    for name in ("report.md", "report.html"):
        assert "defaults" in (found.out / name).read_text(encoding="utf-8")


def test_the_terminal_says_who_won_and_where_it_is(found: et.Found) -> None:
    screen = StringIO()
    Terminal(console=Console(file=screen, width=100)).searched(found)
    assert all(str(path) in screen.getvalue() for path in (found.recipe, found.model, found.report))
    assert found.searched.answer in screen.getvalue()
    assert f"▲ {found.searched.winner}" in screen.getvalue()


def test_a_dry_run_shows_the_space_and_what_all_runs_would_take(
    recipe: et.Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe, {}), encoding="utf-8")
    words = ["search", str(tmp_path / "recipe.yaml"), "--trials", "7", "--seeds", "2", "--dry-run"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "train.learning_rate: 0.0001, 0.005, 5e-05" in shown
    assert "4 for each of 7 trials, and 4 for each of 8 runs on all rows" in shown
    assert not (tmp_path / "out").exists()


# Going on


def test_the_same_call_again_makes_nothing_anew(found: et.Found, recipe: et.Recipe) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in found.out.glob("*/*/**/metrics.json")}
    again = et.search(recipe, found.out, 2, seeds=2)
    assert again == found
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_a_search_that_is_killed_goes_on_and_ends_in_the_same_place(
    found: et.Found, recipe: et.Recipe, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe, {}), encoding="utf-8")
    words = ["search", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out"), "--trials", "2", "--seeds", "2"]
    (tmp_path / "out").mkdir()
    for name in ("finish.lock", ".manifest.json.abcdefgh"):  # what one that began at the same time leaves
        (tmp_path / "out" / name).touch()
    first = subprocess.Popen([sys.executable, "-m", "embertune", *words, "--quiet"])
    end = time.monotonic() + 120
    while not (tmp_path / "out" / "trials" / "trial-000" / "history.jsonl").is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(random.uniform(0, 8))
    first.kill()
    first.wait()
    et.search(et.load_recipe(tmp_path / "recipe.yaml"), tmp_path / "out", 2, seeds=2)
    assert told(tmp_path / "out") == told(found.out)


def test_more_trials_go_on_from_those_there_are_also_side_by_side(
    found: et.Found, recipe: et.Recipe, tmp_path: Path
) -> None:
    shutil.copytree(found.out, tmp_path / "out")
    more = et.search(recipe, tmp_path / "out", 3, seeds=2, processes=2)
    assert len(more.searched.tried) == 3
    assert [replace(one, seconds=0) for one in more.searched.tried[:2]] == [
        replace(one, seconds=0) for one in found.searched.tried
    ]


# What it refuses


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"trials": 1}, "trials: found 1; ask for at least 2"),
        ({"seeds": 1}, "seeds: found 1; ask for at least 2"),
        ({"processes": 0}, "processes: found 0; ask for at least 1"),
        ({"hours": 0.0}, "hours: found 0; write a number above 0"),
    ],
)
def test_limits_that_cannot_be_are_refused(
    recipe: et.Recipe, tmp_path: Path, limits: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        et.search(recipe, tmp_path / "out", **limits)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"data.dev": "none"}, r"data\.dev: there is none, and trials are compared on it"),
        ({"guard.metric": "loss"}, r"guard\.metric: found loss, and losses of different settings cannot be compared"),
        ({"search.space": {"train.loss_options.margin": {"log": [0.1, 2]}, "train.loss": ["triplet", "cosent"]}},
         "cosent"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_before_anything_is_written(
    recipe: et.Recipe, tmp_path: Path, leaves: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        et.search(et.replace(recipe, leaves), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"train.warmup": 0.2}, "holds a search of another recipe"),
        ({"search.space": {"train.learning_rate": [1e-4, 1e-3]}}, "holds a search of another recipe"),
    ],
)
def test_a_study_of_another_recipe_is_refused(
    found: et.Found, recipe: et.Recipe, leaves: dict[str, Any], message: str
) -> None:
    before = (found.out / "metrics.json").read_bytes()
    with pytest.raises(RunFolderError, match=message):
        et.search(et.replace(recipe, leaves), found.out, 2, seeds=2)
    assert (found.out / "metrics.json").read_bytes() == before


def test_a_study_of_other_data_is_refused(found: et.Found, recipe: et.Recipe, rows: Path) -> None:
    before = rows.read_bytes()
    try:
        tiny.write_jsonl(rows, tiny.toy_triplets(79))
        with pytest.raises(RunFolderError, match="was begun on other data"):
            et.search(recipe, found.out, 2, seeds=2)
    finally:
        rows.write_bytes(before)


def test_folders_that_hold_something_else_are_refused(recipe: et.Recipe, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunFolderError, match="holds files that are not a search"):
        et.search(recipe, tmp_path)
    with pytest.raises(RunFolderError, match=r"notes\.txt"):
        et.search(recipe, tmp_path / "notes.txt" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# What is decided from what is known


def tried(number: int, value: float | None, origin: Any = "proposed", state: Any = "complete") -> Tried:
    settings = {"train.learning_rate": 1e-5 * (1 + number % 4)}
    return Tried(number, origin, settings, state, value, (), 1.0, "" if value is not None else "no room")


def test_the_best_three_and_the_defaults_are_candidates_none_of_them_twice() -> None:
    known = [tried(0, 0.5, "defaults"), tried(1, 0.9), tried(2, 0.8), tried(3, 0.7), tried(4, 0.95), tried(5, 0.9)]
    pruned = tried(6, 0.99, state="pruned")
    assert [one.trial for one in wanted([*known, pruned])] == [0, 1, 2, 3]  # 4 has the settings of 0, 5 those of 1


def test_a_search_ends_where_trials_fail_one_after_the_other() -> None:
    good, bad = tried(0, 0.5, "defaults"), [tried(number, None, state="failed") for number in range(1, 6)]
    refuse_failures((good, *bad[:4]))
    refuse_failures((good, *bad, tried(6, 0.4)))
    with pytest.raises(TrainingError, match="the last 5 trials failed: no room"):
        refuse_failures((good, *bad))
    with pytest.raises(TrainingError, match="the first trial failed: no room"):
        refuse_failures((tried(0, None, "defaults", "failed"),))


def joint(verdict: Any, difference: float, sentence: str) -> Joint:
    change = OverSeeds(Change(difference, difference - 0.01, difference + 0.01, 0.01, 1_000), (difference,), 0.0)
    return Joint({"m": 0.5}, {"m": 0.5 + difference}, {"m": change}, "m", verdict, sentence)


@pytest.mark.parametrize(
    ("winner", "gain", "begins"),
    [
        ("trial-002", Gain(joint("better", 0.1, "better: 14 more"), joint("better", 0.2, "b")),
         "trial 2 beats the defaults; trial 2 against them, better: 14 more"),
        ("trial-002", Gain(joint("no clear change", 0.0, "no clear change"), joint("better", 0.2, "b")),
         "the defaults are as good; trial 2 against them, no clear change"),
        ("trial-002", Gain(joint("worse", -0.1, "worse: 9 fewer"), joint("better", 0.2, "b")),
         "the defaults are better, whatever dev said; trial 2 against them, worse: 9 fewer"),
        ("trial-002", Gain(joint("too few to tell", 0.1, "too few to tell: 2 more"), joint("better", 0.2, "b")),
         "test is too small to tell trial 2 from the defaults; trial 2 against them, too few to tell: 2 more"),
        ("trial-002", None, "trial 2 is best on dev, 0.9000 against 0.8000 with the defaults; without test rows"),
        ("defaults", Gain(None, joint("better", 0.2, "better: 3 more")),
         "the defaults are as good: nothing that was tried on all rows did better"),
    ],
)  # fmt: skip
def test_the_answer_says_whether_the_defaults_are_as_good(winner: str, gain: Gain | None, begins: str) -> None:
    candidates = [Candidate("defaults", 0, {}, (0.8, 0.8)), Candidate("trial-002", 2, {}, (0.9, 0.9))]
    chosen = next(one for one in candidates if one.name == winner)
    assert answer_of(candidates, chosen, gain).startswith(begins)


def test_a_line_of_history_that_is_being_written_is_not_read(tmp_path: Path, recipe: et.Recipe) -> None:
    look = {"step": 1, "epoch": 0.1, "dev": {"cosine_accuracy": 0.5}}
    text = json.dumps(look) + "\n" + json.dumps({**look, "step": 2})[:20]
    (tmp_path / "history.jsonl").write_text(text, encoding="utf-8")
    assert looks_of(tmp_path, et.replace(recipe, {"guard.metric": "cosine_accuracy"})) == [(0.25, 0.5)]


def test_a_plain_run_refuses_a_recipe_for_a_search(recipe: et.Recipe, tmp_path: Path) -> None:
    run: Callable[..., Any] = et.run
    with pytest.raises(RecipeError, match="search"):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_once_the_time_is_over_no_trial_is_begun(found: et.Found, recipe: et.Recipe, tmp_path: Path) -> None:
    shutil.copytree(found.out, tmp_path / "out")
    again = et.search(recipe, tmp_path / "out", 9, seeds=2, hours=1e-9)
    assert again.searched == found.searched
