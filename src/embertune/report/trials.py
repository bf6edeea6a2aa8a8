"""A search in words and figures: what both of its reports show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from embertune.evaluate.seeds import Joint
from embertune.report import numbers
from embertune.report.results import Group, grouped
from embertune.report.settings import ABSENT, cell, differing, short_names
from embertune.report.tried import Candidate, Searched, State, Tried

#: Of fewer finished trials, what explains their values is hardly more than chance.
FEW = 10
#: What the trials are that were not proposed.
ORIGINS: Mapping[str, str] = {"recipe": "the recipe as written", "defaults": "the defaults", "proposed": ""}


@dataclass(frozen=True)
class Column:
    """A candidate of the table of those confirmed; `cells` are its values of the settings in which they differ."""

    one: Candidate
    winner: bool
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Varied:
    """A setting of the space: how much it explains (None: not known), and between what it was tried, and why."""

    path: str
    share: float | None
    words: str


@dataclass(frozen=True)
class Against:
    """The winner on test against something, by metric."""

    what: str
    joint: Joint
    groups: tuple[Group, ...]


def columns(found: Searched) -> tuple[list[str], list[Column]]:
    """The settings in which the candidates differ, and a column for each: the best on dev first."""
    paths = differing([one.settings for one in found.candidates])
    ordered = sorted(found.candidates, key=lambda one: one.mean if found.lower else -one.mean)
    return paths, [
        Column(one, one.name == found.winner, tuple(cell(one.settings, path) for path in paths)) for one in ordered
    ]


def varied(found: Searched) -> list[Varied]:
    """Every setting of the space, what explains most first."""
    paths = sorted(found.space, key=lambda path: -found.importance.get(path, 0.0))
    return [Varied(path, found.importance.get(path), found.space[path]) for path in paths]


def against(found: Searched) -> list[Against]:
    """What the winner was held against on test."""
    named = (("the defaults", found.gain), ("the untouched model", found.over_base))
    return [Against(what, joint, tuple(_groups(joint))) for what, joint in named if joint is not None and joint.primary]


def _groups(joint: Joint) -> list[Group]:
    changes = {metric: one.change for metric, one in joint.change.items()}
    return grouped(joint.baseline, joint.tuned, changes, joint.primary or "")


def counted(found: Searched) -> str:
    """How many trials on how many rows, what became of them, and how long they took together."""
    states = Counter[str](trial.state for trial in found.tried)
    became = [f"{states[state]} {state}" for state in get_args(State) if states[state]]
    rows = f"{found.rows:,} of {found.of:,} rows" if found.rows < found.of else f"all {found.of:,} rows"
    took = numbers.duration(sum(trial.seconds for trial in found.tried))
    trials = "one trial" if len(found.tried) == 1 else f"{len(found.tried)} trials"
    return f"{trials} on {rows}: {', '.join(became)}; {took} in all"


def on_parts(found: Searched) -> str:
    """How the values of trials are to be read."""
    pruned = any(trial.state == "pruned" for trial in found.tried)
    early = "Pruned trials were ended early, being behind others. " if pruned else ""
    return f"{early}Values of trials are the best on dev of a training; they chose the candidates, and prove nothing."


def caution(found: Searched) -> str:
    """What few finished trials cannot say; '' where there are enough."""
    finished = sum(trial.state == "complete" for trial in found.tried)
    if finished >= FEW and found.importance:
        return ""
    whole = "no trial was" if finished == 0 else "one trial was" if finished == 1 else f"{finished} trials were"
    if not found.importance:
        return f"{whole} finished, which is too few to say what each setting explains".capitalize() + "."
    return f"only {whole} finished, so that these shares may well be chance: hold them for hints.".capitalize()


def untested(found: Searched) -> str:
    """Why nothing, or not all, was measured on test; '' where all was."""
    if found.gain is None and found.over_base is None:
        return "There was no test set, so that nothing says whether the winner is better where it was not chosen."
    return "" if found.gain else "The winner is the defaults themselves, so that there is no gain over them to measure."


def ordered(found: Searched) -> tuple[list[Tried], dict[str, str]]:
    """The trials by number, and the short names of their settings."""
    trials = sorted(found.tried, key=lambda trial: trial.number)
    return trials, short_names(path for trial in trials for path in trial.settings)


def best_first(found: Searched) -> list[Tried]:
    """The trials that came to a value, the best first."""
    sign = 1 if found.lower else -1
    known = [(trial.value, trial) for trial in found.tried if trial.value is not None and trial.value == trial.value]
    return [trial for _, trial in sorted(known, key=lambda pair: (sign * pair[0], pair[1].number))]


def as_rows(found: Searched) -> Iterator[Sequence[str | float]]:
    """All trials as the lines of a table, settings as they are."""
    trials, names = ordered(found)
    yield "trial", "origin", "state", found.metric, "seconds", *names, "error"
    for trial in trials:
        value = float("nan") if trial.value is None else trial.value
        cells = (_exact(trial, path) for path in names)
        yield str(trial.number), trial.origin, trial.state, value, trial.seconds, *cells, trial.error


def _exact(trial: Tried, path: str) -> str:
    value = trial.settings.get(path)
    if path not in trial.settings:
        return ""
    return repr(value) if isinstance(value, float) else cell(trial.settings, path)


def settings_of(trial: Tried, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a trial was tried with, by short name."""
    return [(names[path], cell(trial.settings, path)) for path in names if path in trial.settings]


def by_seed(one: Candidate) -> str:
    """The values of each seed, or a dash."""
    return " ".join(map(numbers.number, one.dev)) or ABSENT
