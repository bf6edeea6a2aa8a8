"""What a search came to, as plain values: what its report and the terminal show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from embertune.evaluate.seeds import Joint

State = Literal["complete", "pruned", "failed"]
#: Where a trial's settings come from: the recipe as written, embertune's defaults, or the sampler.
Origin = Literal["recipe", "defaults", "proposed"]


@dataclass(frozen=True)
class Tried:
    """One trial on a part of the rows. `settings` are those of the space, by dotted path, as a recipe spells them.

    `value` is the best dev metric it reached in training (of a pruned trial: until it was ended), None where it failed.
    `looks` are (share of its training done, best value so far). `error` says why it failed.
    """

    number: int
    origin: Origin
    settings: Mapping[str, Any]
    state: State
    value: float | None
    looks: tuple[tuple[float, float], ...]
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Candidate:
    """A trial's settings (`defaults`: those of embertune) on all rows with several seeds; `dev` has a value a seed."""

    name: str
    trial: int
    settings: Mapping[str, Any]
    dev: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return sum(self.dev) / len(self.dev)


@dataclass(frozen=True)
class Searched:
    """A whole search. `metric` is the dev metric that chose (its short name), `lower` says that less of it is better.

    `space` says in words between what each setting was tried, and why. `rows` are those a trial trains on, of `of`.
    `importance` is the share of the variation of trials that each setting explains (fANOVA), empty where too few
    trials were finished. `winner` is the name of a candidate; `gain` is its change over the candidate `defaults` on
    test, None where they are the same, `over_base` its change over the untouched model; both None without test.
    `answer` is the outcome in a sentence, `recipe` the winner's as a file, with reasons.
    """

    metric: str
    lower: bool
    base: float
    space: Mapping[str, str]
    rows: int
    of: int
    tried: tuple[Tried, ...]
    importance: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    winner: str
    gain: Joint | None
    over_base: Joint | None
    answer: str
    recipe: str
