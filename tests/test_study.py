"""The study of a search: what it proposes, that a kill changes nothing of it, and when a trial falls behind."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import embertune as et
from embertune.errors import RunFolderError
from embertune.recipe.space import Dimension
from embertune.report.tried import Tried
from embertune.study import JOURNAL, UNPRUNED, Space, Study, Trial

RATE = Dimension("train.learning_rate", "log", 1e-6, 1e-3, (), "")
LOSS = Dimension("train.loss", "choice", 0, 0, ("multiple_negatives_ranking", "triplet"), "")
MARGIN = Dimension("train.loss_options.margin", "uniform", 0.1, 0.5, (), "")
DISTANCE = Dimension("train.loss_options.distance", "choice", 0, 0, ("cosine", "euclidean"), "")
PASSES = Dimension("train.epochs", "whole", 1, 9, (), "")
FIRST = {"train.learning_rate": 2e-5, "train.loss": "triplet", "train.loss_options.margin": 0.3, "train.epochs": 3}
Value = Callable[[Any], float]


def space(*dimensions: Dimension, first: dict[str, Any] | None = None) -> Space:
    base = et.load_recipe(set={"data.train": "rows.jsonl"})
    return Space(base, dimensions or (LOSS, RATE, PASSES, MARGIN, DISTANCE), (("defaults", first),) if first else ())


def by_rate(settings: Any) -> float:
    """Best at a rate of 1e-4."""
    return -abs(math.log10(settings["train.learning_rate"]) + 4)


def work(study: Study, where: Space, most: int, value: Value = by_rate, upto: int | None = None) -> None:
    """Make trials whose value is known without training; of `upto` trials the last is left undone."""
    while (trial := study.claim(most, where)) is not None:
        if trial.number == upto:
            trial.release()
            return
        finish(study, trial, value(trial.settings))


def finish(study: Study, trial: Trial, value: float) -> None:
    if study.falls_behind(trial, [(0.25, value - 1), (0.5, value), (1.0, value)]):
        study.end(trial, "pruned", None, 1.0)
    else:
        study.end(trial, "complete", value, 1.0)
    trial.release()


def shown(study: Study) -> list[tuple[Any, ...]]:
    return [(one.number, one.settings, one.state, one.value) for one in study.tried()]


def test_the_first_trial_is_the_one_that_is_given_and_the_others_lie_within_the_space(tmp_path: Path) -> None:
    study = Study(tmp_path, 0)
    work(study, space(first=FIRST), 30)
    first, *others = study.tried()
    assert (first.origin, first.settings) == ("defaults", FIRST)
    assert len(others) == 29
    for one in others:
        assert one.origin == "proposed"
        assert 1e-6 <= one.settings["train.learning_rate"] <= 1e-3
        assert one.settings["train.epochs"] in range(1, 10)
    assert len({one.settings["train.epochs"] for one in others}) > 3


def test_a_setting_is_drawn_only_where_it_has_an_effect(tmp_path: Path) -> None:
    study = Study(tmp_path, 0)
    work(study, space(), 20)
    seen = {(one.settings["train.loss"], "train.loss_options.distance" in one.settings) for one in study.tried()}
    assert seen == {("multiple_negatives_ranking", False), ("triplet", True)}


def test_what_is_proposed_comes_nearer_to_what_was_good(tmp_path: Path) -> None:
    study = Study(tmp_path, 1)
    work(study, space(RATE), 40)
    values = [by_rate(one.settings) for one in study.tried()]
    assert sum(values[-10:]) / 10 > sum(values[:10]) / 10 + 0.3
    assert next(iter(study.importance())) == "train.learning_rate"


def test_the_same_study_asks_the_same_again_whatever_was_killed_on_the_way(tmp_path: Path) -> None:
    found = []
    for name, stops in (("whole", []), ("killed", [0, 3, 3, 11])):
        (tmp_path / name).mkdir()
        for stop in stops:
            work(Study(tmp_path / name, 5), space(first=FIRST), 14, upto=stop)
        work(Study(tmp_path / name, 5), space(first=FIRST), 14)
        found.append(shown(Study(tmp_path / name, 5)))
    assert found[0] == found[1]
    (tmp_path / "other").mkdir()
    work(Study(tmp_path / "other", 6), space(first=FIRST), 14)
    assert shown(Study(tmp_path / "other", 6)) != found[0]


def test_a_kill_between_noting_a_look_and_ending_the_trial_does_not_save_it(tmp_path: Path) -> None:
    study, where = Study(tmp_path, 0), space()
    for value in (1.0, 2.0, 3.0, 4.0):
        trial = study.claim(9, where)
        assert trial is not None
        assert not study.falls_behind(trial, [(0.25, value)])
        study.end(trial, "complete", value, 1.0)
        trial.release()
    trial = study.claim(9, where)
    assert trial is not None
    assert trial.number == UNPRUNED
    assert study.falls_behind(trial, [(0.3, 1.5)])
    trial.release()  # as a kill does
    again = Study(tmp_path, 0).claim(9, where)
    assert again is not None
    assert again.number == trial.number
    assert Study(tmp_path, 0).falls_behind(again, [])  # by what was noted
    again.release()


@pytest.mark.parametrize(
    ("looks", "behind"),
    [([(0.2, 0.0)], False), ([(0.25, 0.0)], True), ([(0.25, 9.0)], False), ([(0.25, 9.0), (0.5, 9.1)], False),
     ([(0.25, 9.0), (0.6, 0.5)], True), ([(0.25, math.nan)], True), ([(0.25, 2.5)], False)],
)  # fmt: skip
def test_the_worse_half_at_a_rung_falls_behind(tmp_path: Path, looks: list[tuple[float, float]], behind: bool) -> None:
    study, where = Study(tmp_path, 0), space()
    for value in (1.0, 2.0, 3.0, 4.0):
        trial = study.claim(9, where)
        assert trial is not None
        assert not study.falls_behind(trial, [(0.25, value), (0.5, value + 1)])
        study.end(trial, "complete", value, 1.0)
    trial = study.claim(9, where)
    assert trial is not None
    assert study.falls_behind(trial, looks) is behind


def test_two_who_share_a_study_never_work_on_the_same_trial(tmp_path: Path) -> None:
    one, other = Study(tmp_path, 0), Study(tmp_path, 0)
    first, second = one.claim(9, space()), other.claim(9, space())
    assert first is not None
    assert second is not None
    assert {first.number, second.number} == {0, 1}
    assert first.settings != second.settings
    assert not one.all_ended()
    first.release()
    again = other.claim(2, space())
    assert again is not None
    assert again.number == first.number
    assert other.claim(2, space()) is None


def test_failed_trials_take_no_place_of_others(tmp_path: Path) -> None:
    study = Study(tmp_path, 0)
    for _ in range(2):
        trial = study.claim(3, space())
        assert trial is not None
        study.end(trial, "failed", None, 1.0, "no room")
        trial.release()
    work(study, space(), 3)
    tried: tuple[Tried, ...] = study.tried()
    assert [one.state for one in tried].count("failed") == 2
    assert tried[0].error == "no room"
    assert len(tried) == 5


def test_importance_of_nothing_is_nothing(tmp_path: Path) -> None:
    study = Study(tmp_path, 0)
    assert study.importance() == {}
    work(study, space(RATE), 3, value=lambda _: 1.0)
    assert study.importance() == {}


def test_choices_of_every_kind_come_back_as_they_are(tmp_path: Path) -> None:
    choices = (None, 0.5, "all but 1", {"layers": 2, "embeddings": False})
    freeze = Dimension("train.freeze", "choice", 0, 0, choices, "")
    study = Study(tmp_path, 0)
    work(study, space(RATE, freeze), 16)
    found = [one.settings["train.freeze"] for one in study.tried()]
    assert {json.dumps(one) for one in found} == {json.dumps(one) for one in choices}


def test_a_journal_that_is_no_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text("this is no journal\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"study\.journal: is not a study that can be read"):
        Study(tmp_path, 0)
    assert (tmp_path / JOURNAL).read_text(encoding="utf-8") == "this is no journal\n"
