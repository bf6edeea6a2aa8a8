"""The states a run could have saved, in words and figures."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embertune.choose import Candidate, Choice, best_on_dev
from embertune.report.numbers import number, signed

_WORDS = {
    "base": "the model as it came",
    "tuned": "the best state of training",
    "average": "the average of the states that were best at their time",
}
_SHARE = re.compile(r"interpolated\((.+)\)")


@dataclass(frozen=True)
class State:
    """A line of the table: a state in words, what it reaches on dev, and how it stands to the best there.

    `behind` is by how much it falls short on dev, `kept` by how much more it keeps of what the model could do, each
    with one standard error; empty where there is nothing to say.
    """

    words: str
    dev: str
    behind: str
    kept: str
    chosen: bool


def words_of(name: str) -> str:
    """`interpolated(0.25)` as `25 % of the model as it came, the rest of the best state`."""
    share = _SHARE.fullmatch(name)
    return f"{float(share[1]):.0%} of the model as it came, the rest of the best state" if share else _WORDS[name]


def states(choice: Choice) -> list[State]:
    """All that were tried; empty where nothing was to be chosen among."""
    if not choice.candidates:
        return []
    best = best_on_dev(choice.candidates)
    return [_state(one, best, choice.chosen) for one in choice.candidates]


def _state(one: Candidate, best: Candidate, chosen: str) -> State:
    behind = "" if one.name == best.name else _with_error(one.dev - best.dev, one.error)
    kept = "" if one.kept is None else _with_error(one.kept, one.kept_error)
    return State(words_of(one.name), number(one.dev), behind, kept, one.name == chosen)


def _with_error(difference: float, error: float | None) -> str:
    return signed(difference) + ("" if error is None else f" ± {number(error)}")
