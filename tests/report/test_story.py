"""The story that a history tells: looks once each, remedies with what came of them, steps that were skipped."""

from __future__ import annotations

from typing import Any

from embertune.report.story import story
from tests.report import made

METRIC = "cosine_accuracy@1"


def _look(step: int, value: float, **more: Any) -> dict[str, Any]:
    return {"step": step, "epoch": step / 10, "dev": {METRIC: value}, "best": False, "stop": "", **more}


def _remedy(step: int, rung: str) -> dict[str, Any]:
    return {"step": step, "remedy": rung, "reason": "dev fell", "back_to": 0, "result": None}


def test_remedies_skipped_steps_and_thaws_are_told_in_order() -> None:
    told = story(made.guarded_history(), METRIC)
    assert [(one.step, one.rung, one.result) for one in told.remedies] == [
        (180, "rate", "dev rose from 0.69 to 0.7"),
        (270, "freeze", ""),
    ]
    assert told.skipped == 2
    assert told.events[0].text == "thawed: block 3"
    assert told.diagnosis is not None
    assert told.diagnosis.diagnosis == "overfitting"
    assert [look.step for look in told.looks] == list(range(0, 301, 30))


def test_a_remedy_helped_where_dev_was_then_better_than_ever_before() -> None:
    history = [
        _look(0, 0.5),
        _look(10, 0.6),
        _remedy(10, "rate"),
        _look(20, 0.7),
        _remedy(20, "freeze"),
        _look(30, 0.7),
    ]
    assert story(history, METRIC).helped == ("rate",)


def test_of_a_loss_less_is_better() -> None:
    history = [_look(0, 0.5), _look(10, 0.6), _remedy(10, "rate"), _look(20, 0.4)]
    for record in history:
        record["dev"] = {"loss": record["dev"][METRIC]} if "dev" in record else None
    assert story(history, "loss").helped == ("rate",)
    assert story(history[:2], "loss").fell_at_once


def test_a_look_taken_again_by_a_run_that_goes_on_counts_as_taken_last() -> None:
    told = story([_look(0, 0.5), _look(10, 0.6), _look(10, 0.61)], METRIC)
    assert [(look.step, look.value) for look in told.looks] == [(0, 0.5), (10, 0.61)]


def test_a_history_from_before_there_was_a_guard_tells_of_looks_only() -> None:
    told = story(made.history(300, 30), METRIC)
    assert (len(told.looks), told.diagnosis, told.remedies, told.events) == (11, None, (), ())
    assert told.as_record() == {"diagnosis": None, "remedies": [], "skipped_steps": 0}


def test_of_many_looks_the_first_the_last_and_the_best_are_among_those_that_are_shown() -> None:
    told = story([_look(step, 0.5) for step in range(1000)], METRIC)
    shown = [look.step for look in told.shown(50, best_step=333)]
    assert {0, 333, 999} <= set(shown)
    assert len(shown) <= 51
    assert story([], METRIC).shown(50, 0) == []
