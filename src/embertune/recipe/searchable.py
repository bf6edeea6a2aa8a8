"""What is wrong with `search.space`: what cannot be searched, empty ranges, and values that a setting refuses."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from embertune.errors import Problem, RecipeError
from embertune.recipe.conditions import conditions_of, pointed, value_at
from embertune.recipe.overriding import overridden
from embertune.recipe.searching import SPECS, Reach, parse_spec
from embertune.recipe.sections import Recipe

WHERE = "search.space"
#: The problems of a recipe as it is written, or of a point in it.
Told = Callable[[Mapping[str, Any]], Sequence[Problem]]

_ROWS = "it decides which rows there are, and trials can be compared on the same rows only"
_MEASURE = "it decides how dev or test is measured, and trials can be compared by the same measure only"
_KEEPS = "it decides nothing about what is learnt"
_CHANCE = "a seed is no setting: the best of several is the luckiest"
#: What cannot be searched, each with all below it, and why.
UNSEARCHABLE: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "data.train", "data.dev", "data.test", "data.fold", "data.columns", "data.shape", "data.group",
            "data.limit", "data.subset", "data.nli", "data.leaks", "data.near_duplicates",
        ),
        _ROWS,
    ),
    "model.name": "a search is of one model, which its trials are measured against; search each by itself",
    "train.seed": _CHANCE,
    "train.max_steps": "so many steps are more passes on the rows of a trial than on all; search train.epochs",
    "train.keep_general": "it trades dev for what the model could do before, so that dev would always choose none",
    **dict.fromkeys(
        (
            "train.chunk", "train.prefix_cache", "train.save_every", "train.keep_checkpoints", "train.report_to",
        ),
        _KEEPS,
    ),
    "train.extra": "what the underlying trainer makes of its arguments is not known here",
    **dict.fromkeys(("guard.eval_every", "guard.min_change", "guard.metric", "guard.budget", "guard.items"), _MEASURE),
    "evaluate": _MEASURE,
    "report": _KEEPS,
    "search": "it is the search itself",
    "seed": _CHANCE,
}  # fmt: skip


def why_not(setting: str) -> str:
    """Why a setting cannot be searched; empty for one that can."""
    return next((why for path, why in UNSEARCHABLE.items() if f"{setting}.".startswith(f"{path}.")), "")


def refuse_search(recipe: Recipe) -> None:
    """`RecipeError` for a recipe of a search where a plain run is asked for."""
    if recipe.search is not None:
        raise RecipeError(Problem("search", "is for `embertune search`", "leave it out of a run"))


def problems_of_search(recipe: Recipe, paths: Sequence[str], told: Told) -> Iterator[Problem]:
    """All that can be known before the data: `paths` are the leaves of a recipe, `told` the problems of a raw one."""
    if recipe.search is None or recipe.search.space == "auto":
        return
    reaches: dict[str, Reach] = {}
    for setting, spec in recipe.search.space.items():
        where = f"{WHERE}.{setting}"
        if problem := _unknown(setting, paths):
            yield problem
            continue
        try:
            reaches[setting] = parse_spec(spec)
        except ValueError as error:
            yield Problem(where, str(error), SPECS)
    fitting: dict[str, Reach] = {}
    for setting, reach in reaches.items():
        problems = list(_of_leaf(setting, reach, told)) or list(_of_place(setting, recipe, reaches))
        yield from problems
        if not problems:
            fitting[setting] = reach
    yield from _together(recipe, fitting, told)


def _unknown(setting: str, paths: Sequence[str]) -> Problem | None:
    where = f"{WHERE}.{setting}"
    if why := why_not(setting):
        return Problem(where, f"cannot be searched: {why}", "leave it out")
    if setting in paths:
        return None
    searchable = [path for path in paths if not why_not(path)]
    if within := [path for path in searchable if path.startswith(f"{setting}.")]:
        return Problem(where, "is a section", f"write whole paths, such as {within[0]}")
    ending = [path for path in searchable if path.rsplit(".", 1)[-1] == setting.rsplit(".", 1)[-1]]
    near = ending[:1] or difflib.get_close_matches(setting, searchable, n=1)
    return Problem(where, "unknown key", f"did you mean {near[0]!r}?" if near else "write a path such as train.epochs")


def _of_leaf(setting: str, reach: Reach, told: Told) -> Iterator[Problem]:
    """Ends and choices that the leaf itself refuses, and choices that are the same."""
    seen: set[str] = set()
    for value in reach.ends():
        alone = overridden({}, {setting: value})
        try:
            leaf = value_at(Recipe.model_validate(alone), setting)
        except ValidationError:
            yield from (_moved(setting, value, problem) for problem in told(alone))
            return
        kept = leaf.model_dump() if hasattr(leaf, "model_dump") else leaf
        spelled = json.dumps(kept, sort_keys=True, default=dict)
        if spelled in seen:
            yield Problem(f"{WHERE}.{setting}", f"found {value!r} twice", "write each choice once")
        seen.add(spelled)


def _of_place(setting: str, recipe: Recipe, reaches: Mapping[str, Reach]) -> Iterator[Problem]:
    """A setting that has no effect in this recipe whatever is chosen, or that stands within another."""
    where = f"{WHERE}.{setting}"
    for one in conditions_of(setting):
        open_still = one.on == "train.loss" and recipe.train.loss == "auto"
        if one.on not in reaches and not open_still and not one.holds(recipe, setting):
            yield Problem(where, f"has no effect without {one.words}", f"leave it out, or see to {one.on}")
    for other, reach in reaches.items():
        choices = reach.choices if setting.startswith(f"{other}.") else ()
        if any(one is not None and not isinstance(one, Mapping) for one in choices):
            yield Problem(where, f"is a part of {other}, which is searched", "leave one of them out")


def _together(recipe: Recipe, reaches: Mapping[str, Reach], told: Told) -> Iterator[Problem]:
    """Values that the rest of the recipe rules out."""
    raw = recipe.model_dump(exclude_unset=True)
    raw.pop("search")
    known = told(raw)

    def new(point: Mapping[str, Any]) -> list[Problem]:
        return [problem for problem in told(pointed(raw, point)) if problem not in known]

    yield from unmended({setting: reach.ends() for setting, reach in reaches.items()}, new)


def unmended(tries: Mapping[str, Sequence[Any]], told: Told) -> Iterator[Problem]:
    """A problem for each value that cannot be, whatever value another setting has; `told` has those of a point."""
    for setting, values in tries.items():
        for value in values:
            for problem in told({setting: value}):
                others = (
                    {setting: value, other: theirs} for other in tries if other != setting for theirs in tries[other]
                )
                if all(problem in told(point) for point in others):
                    yield _moved(setting, value, problem)
                    break


def _moved(setting: str, value: Any, problem: Problem) -> Problem:
    """The problem of a recipe as one of its search."""
    if f"{problem.where}.".startswith(f"{setting}."):
        return Problem(f"{WHERE}.{problem.where}", problem.found, problem.remedy)
    found = f"found {value!r}, and then {problem.where}: {problem.found}"
    return Problem(f"{WHERE}.{setting}", found, problem.remedy)


def reaches_of(recipe: Recipe) -> dict[str, Reach]:
    """What a checked recipe says of the settings that are searched; empty where it leaves them to the ready space."""
    if recipe.search is None or recipe.search.space == "auto":
        return {}
    return {setting: parse_spec(spec) for setting, spec in recipe.search.space.items()}
