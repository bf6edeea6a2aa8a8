"""The trials of a search, kept in a file that goes on after a kill and that several processes may share (Optuna).

A trial is written down with all its settings before it begins, so that a killed one is gone on with. What is proposed
rests on the trials there are and on the seed alone: with one process, the same study asks the same questions again.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from embertune.engine.published import Lock, locked
from embertune.errors import RunFolderError
from embertune.recipe import Recipe
from embertune.recipe.space import Dimension, applies, with_point
from embertune.report.tried import Origin, State, Tried
from embertune.rundir import told_plainly

#: Trials whose settings are drawn evenly from the space before those that were good count.
STARTUP = 8
#: Trials are compared where they have done these shares of their training, in percent: the worse half of those that
#: came so far ends there (Li et al. 2020, "A system for massively parallel hyperparameter tuning", ASHA with eta 2).
RUNGS = (25, 50)
#: So many trials are not ended early, whatever they come to: there is nothing to compare the first ones with.
UNPRUNED = 4

_NAME, JOURNAL, _LOCK = "search", "study.journal", "study.lock"
_STATES: Mapping[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Space:
    """What is varied of the recipe `base`, those settings first that others need; trials begin with the `first`."""

    base: Recipe
    dimensions: tuple[Dimension, ...]
    first: tuple[tuple[Origin, Point], ...]


@dataclass(frozen=True)
class Trial:
    """A trial that this process works on, until `release`."""

    number: int
    settings: Point
    lock: Lock

    def release(self) -> None:
        """Nobody works on it any more; to be called once."""
        self.lock.release()


class Study:
    """The trials in `folder`, which is there; each is measured by a dev metric of which more is better."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self._seed = folder, seed
        path = folder / JOURNAL
        with told_plainly(path), _quietly():
            _check(path)
            self._storage = JournalStorage(JournalFileBackend(str(path)))
            # its own sampler is never asked; `_proposed` has one
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=_NAME,
                direction="maximize",
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(0),
            )

    def tried(self) -> tuple[Tried, ...]:
        """All trials that have ended, in their order."""
        return tuple(_told(one) for one in self._trials() if one.state in _STATES)

    def all_ended(self) -> bool:
        """Whether nobody works on any trial, nor has left one undone."""
        return all(one.state.is_finished() for one in self._trials())

    def importance(self) -> dict[str, float]:
        """The share of what trials differ by that each setting explains, the largest first; {} where too few ended.

        By fANOVA (Hutter et al. 2014) over complete trials, and settings that all of these have.
        """
        complete = [one for one in self._trials() if one.state == TrialState.COMPLETE]
        if len(complete) < 2 or len({one.value for one in complete}) < 2:
            return {}
        with _quietly():
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._seed)
            return dict(optuna.importance.get_param_importances(self._study, evaluator=evaluator))

    def claim(self, most: int, space: Space) -> Trial | None:
        """A trial to work on: one that was left undone, the next of the space's first ones, or one that is proposed.

        None where `most` trials were begun, failed ones not counted. Only one process at a time is in here.
        """
        lock = locked(self.folder / _LOCK, alone=True)
        assert lock is not None
        try:
            trials = self._trials()
            for one in trials:
                if one.state == TrialState.RUNNING and (mine := self._locked(one.number)) is not None:
                    return Trial(one.number, settings_of(one), mine)
            if sum(one.state != TrialState.FAIL for one in trials) >= most:
                return None
            number = len(trials)
            origin, wanted = space.first[number] if number < len(space.first) else ("proposed", None)
            params, distributions = _proposed(trials, space, wanted, [self._seed, number])
            mine = self._locked(number)
            assert mine is not None
            said: dict[str, Any] = {"user_attrs": {"origin": origin}, "params": params, "distributions": distributions}
            self._study.add_trial(create_trial(state=TrialState.RUNNING, **said))
            return Trial(number, settings_of(self._trials()[number]), mine)
        finally:
            lock.release()

    def falls_behind(self, trial: Trial, looks: Sequence[tuple[float, float]]) -> bool:
        """Whether a trial is to be ended early, by its looks: (share of its training done, best value so far).

        Looks are noted; the same ones may be handed over again, and are judged by all trials that came so far.
        """
        trials = self._trials()
        noted = dict(trials[trial.number].intermediate_values)
        for share, value in looks:
            percent = round(100 * share)
            if percent not in noted and percent < 100:
                self._storage.set_trial_intermediate_value(self._id(trial), percent, value)
                noted[percent] = value
        others = [one.intermediate_values for one in trials if one.number != trial.number]
        return trial.number >= UNPRUNED and any(_behind(noted, others, rung) for rung in RUNGS)

    def end(self, trial: Trial, state: State, value: float | None, seconds: float, error: str = "") -> None:
        """Write down how a trial ended."""
        self._storage.set_trial_user_attr(self._id(trial), "seconds", seconds)
        if error:
            self._storage.set_trial_user_attr(self._id(trial), "error", error)
        done = next(theirs for theirs, ours in _STATES.items() if ours == state)
        self._storage.set_trial_state_values(self._id(trial), done, None if value is None else [value])

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _id(self, trial: Trial) -> int:
        study = self._storage.get_study_id_from_name(_NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study, trial.number)

    def _locked(self, number: int) -> Lock | None:
        claims = self.folder / "trials"
        claims.mkdir(exist_ok=True)
        return locked(claims / f"trial-{number:03}.claim", alone=True, wait=False)


def _check(journal: Path) -> None:
    """RunFolderError for a file that is no journal; Optuna would pass over what it cannot read."""
    first = journal.read_bytes().split(b"\n", 1)[0] if journal.is_file() else b""
    try:
        known = not first or "op_code" in json.loads(first)
    except (ValueError, TypeError):
        known = False
    if not known:
        raise RunFolderError(str(journal), "is not a study that can be read", "restore it, or choose another --out")


def _behind(noted: Mapping[int, float], others: Sequence[Mapping[int, float]], rung: int) -> bool:
    """Whether a trial is among the worse half of all that came to a rung, itself included; False before it does."""
    mine = _at(noted, rung)
    if mine is None:
        return False
    theirs = [value for value in (_at(one, rung) for one in others) if value is not None]
    better = sum(value > mine for value in theirs)
    return better >= math.ceil((len(theirs) + 1) / 2)


def _at(noted: Mapping[int, float], rung: int) -> float | None:
    """The value at the first look from a rung on; -inf for one that is no number, None before."""
    value = next((noted[percent] for percent in sorted(noted) if percent >= rung), None)
    return -math.inf if value is not None and math.isnan(value) else value


def _proposed(
    known: Sequence[FrozenTrial], space: Space, wanted: Point | None, seed: Sequence[int]
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Settings as Optuna keeps them: those `wanted`, or what a sampler that saw the `known` trials proposes.

    Tree-structured Parzen estimators over all settings together (Bergstra et al. 2011; Falkner et al. 2018), on a copy
    of the study in memory: the sampler's chance begins anew with each trial, so that a kill does not change it.
    Settings that have no effect beside those drawn before them are left out.
    """
    distributions: dict[str, BaseDistribution] = {}
    params: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    with _quietly():
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, multivariate=True, group=True, seed=number)
        copy = optuna.create_study(direction="maximize", sampler=sampler)
        copy.add_trials(known)
        asked = copy.ask()
        for one in space.dimensions:
            name = one.setting
            if not applies(name, with_point(space.base, chosen)) or (wanted is not None and name not in wanted):
                continue
            distributions[name] = _distribution(one)
            params[name] = _asked(asked, one) if wanted is None else _kept(one, wanted[name])
            chosen[name] = _meant(one, params[name])
    return params, distributions


def _asked(asked: optuna.Trial, dimension: Dimension) -> Any:
    name, low, high = dimension.setting, dimension.low, dimension.high
    if dimension.kind == "choice":
        return asked.suggest_categorical(name, [json.dumps(choice) for choice in dimension.choices])
    if dimension.kind == "whole":
        return asked.suggest_int(name, int(low), int(high))
    return asked.suggest_float(name, low, high, log=dimension.kind == "log")


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.kind == "choice":
        return CategoricalDistribution([json.dumps(choice) for choice in dimension.choices])
    if dimension.kind == "whole":
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log")


def _kept(dimension: Dimension, value: Any) -> Any:
    """A value as Optuna keeps it: choices are words in JSON."""
    return json.dumps(value) if dimension.kind == "choice" else value


def _meant(dimension: Dimension, kept: Any) -> Any:
    return json.loads(kept) if dimension.kind == "choice" else kept


def settings_of(trial: FrozenTrial) -> dict[str, Any]:
    """The settings of a trial as a recipe spells them."""
    choices = {name for name, one in trial.distributions.items() if isinstance(one, CategoricalDistribution)}
    return {name: json.loads(value) if name in choices else value for name, value in trial.params.items()}


def _told(trial: FrozenTrial) -> Tried:
    attributes = trial.user_attrs
    looks = tuple((percent / 100, value) for percent, value in sorted(trial.intermediate_values.items()))
    value = trial.value if trial.value is not None else looks[-1][1] if looks else None
    if trial.state == TrialState.COMPLETE and value is not None:
        looks = (*looks, (1.0, value))
    ended = (_STATES[trial.state], value, looks, attributes.get("seconds", 0.0), attributes.get("error", ""))
    return Tried(trial.number, attributes["origin"], settings_of(trial), *ended)


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside, Optuna keeps what it says of experiments and of trials off the screen."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
