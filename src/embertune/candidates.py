"""The states a run could save, tried on dev and on what the model could do before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from embertune.choose import Candidate, Choice, best_on_dev, choose, choose_among, interpolated
from embertune.evaluate.retention import difference_of
from embertune.evaluate.scene import measure_retention
from embertune.evaluate.score import Scores
from embertune.model.states import State, copied, put, put_mixed
from embertune.plan import Plan
from embertune.training.fit import Fit
from embertune.training.looking import Dev, Error


@dataclass(frozen=True)
class Start:
    """The model before training: what dev says of it, and how it does at what it should still be able to.

    `weights` are its own where something of them may be mixed into what is saved, else None. `score` takes a look at
    dev, `error` compares two; both None without dev.
    """

    weights: State | None
    dev: Dev
    retention: tuple[Scores, ...]
    score: Callable[[], Dev] | None = None
    error: Error | None = None


class States:
    """The states by their names, each put into the model of the run where it has to be measured.

    When these are made the model holds the best state of training; `start` has the weights before it.
    """

    def __init__(self, planned: Plan, fitted: Fit, start: Start) -> None:
        keep = planned.resolved.recipe.train.keep_general
        assert keep != "auto"
        assert keep is not None
        assert start.weights is not None
        self.planned, self.start, self.model = planned, start, planned.built.model
        self.shares = {interpolated(share): share for share in (keep if isinstance(keep, tuple) else (keep,))}
        self.own: dict[str, State] = {"base": start.weights, "tuned": copied(self.model)}
        if fitted.average is not None:
            self.own["average"] = fitted.average
        self.looks = {"base": start.dev, "tuned": fitted.dev}
        self.kept = {"base": start.retention}

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.own, *self.shares)

    def wear(self, name: str) -> None:
        """The model has this state from here on."""
        if name in self.shares:
            put_mixed(self.own["base"], self.own["tuned"], self.shares[name], self.model)
        else:
            put(self.own[name], self.model)

    def dev(self, name: str) -> Dev:
        """What dev says of a state."""
        found = self.looks.get(name)
        if found is None:
            assert self.start.score is not None
            self.wear(name)
            found = self.looks[name] = self.start.score()
        return found

    def retention(self, name: str) -> tuple[Scores, ...]:
        """How a state does at what the model could do before."""
        if name not in self.kept:
            self.wear(name)
            self.kept[name] = measure_retention(self.planned.encode, self.planned.scene)
        return self.kept[name]


def settle_on(planned: Plan, fitted: Fit, start: Start) -> tuple[Choice, tuple[Scores, ...]]:
    """Which state is saved, and how it does at what the model could do before; the model is left in that state.

    When this is called the model holds the best state of training. At most six states are tried.
    """
    recipe = planned.resolved.recipe
    metric, keep = recipe.guard.metric, recipe.train.keep_general
    first = choose(fitted.best_step, fitted.steps, metric, smaller=bool(planned.smaller))
    if first.chosen == "base":
        return first, start.retention
    if keep is None:
        return first, measure_retention(planned.encode, planned.scene)
    states = States(planned, fitted, start)
    if isinstance(keep, float):
        why = f"{first.reason}; {keep:.0%} of the base mixed in, as train.keep_general says"
        choice = Choice(interpolated(keep), why)
    else:
        choice = choose_among(_on_dev(states, str(metric)), str(metric), first, _keeping(states))
    found = states.retention(choice.chosen)
    states.wear(choice.chosen)
    return choice, found


def _on_dev(states: States, metric: str) -> list[Candidate]:
    """Every state with what it reaches on dev, and how sure its difference to the best of them is."""
    plain = [Candidate(name, states.dev(name).values[metric]) for name in states.names]
    best = states.dev(best_on_dev(plain).name).items

    def error(name: str) -> float | None:
        items = states.dev(name).items
        if states.start.error is None or best is None or items is None:
            return None
        return states.start.error(best, items)

    return [Candidate(one.name, one.dev, error(one.name)) for one in plain]


def _keeping(states: States) -> Callable[[Sequence[str]], Sequence[tuple[float, float]] | None]:
    def keeping(names: Sequence[str]) -> Sequence[tuple[float, float]] | None:
        best, *others = names
        if not states.start.retention:
            return None
        difference, error = difference_of(states.start.retention, states.retention(best))
        if not difference < -error:
            return None  # nothing was lost that could be won back
        return [difference_of(states.retention(best), states.retention(name)) for name in others]

    return keeping
