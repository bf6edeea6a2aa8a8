"""From a raw mapping to a `Recipe`, with every problem told at once: where, what was found, what would do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from embertune.errors import Problem, RecipeError
from embertune.recipe.augmenting import problems_of_augment
from embertune.recipe.extra import problems_of_extra
from embertune.recipe.folding import problems_of_fold
from embertune.recipe.freezing import problems_of_freezing, problems_of_rates
from embertune.recipe.guarding import problems_of_guard
from embertune.recipe.losses import LOSSES
from embertune.recipe.mixing import problems_of_mixing
from embertune.recipe.near import did_you_mean
from embertune.recipe.negatives import problems_of_negatives
from embertune.recipe.options import filled, problems_of_options
from embertune.recipe.positives import guide_conflicts
from embertune.recipe.prefix import problems_of_prefix
from embertune.recipe.saving import problems_of_saving
from embertune.recipe.scaling import problems_of_rate
from embertune.recipe.searchable import problems_of_search
from embertune.recipe.sections import Recipe, TrainSection
from embertune.recipe.smaller import problems_of_smaller


def check(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """The recipe that `raw` describes; `RecipeError` with all its problems if it describes none."""
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(_deepest(map(_translate, error.errors())), source) from None
    if problems_together := [*_conflicts(recipe), *problems_of_search(recipe, list(known_paths()), _problems_of)]:
        raise RecipeError(problems_together, source)
    return recipe


def _problems_of(raw: Mapping[str, Any]) -> Sequence[Problem]:
    try:
        check(raw)
    except RecipeError as error:
        return error.problems
    return ()


def known_paths(section: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Every leaf of the recipe as a dotted path, sections that may be null included with their leaves."""
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is None or not isinstance(field.default, BaseModel):
            yield prefix + name
        if inner is not None:
            yield from known_paths(inner, f"{prefix}{name}.")


def _section_of(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next((a for a in candidates if isinstance(a, type) and issubclass(a, BaseModel)), None)


#: What pydantic calls a branch of a leaf that may be a word or a section.
_BRANCH = re.compile(r"literal\[.*\]|[A-Z]\w*Section")


def _deepest(problems: Iterable[Problem]) -> list[Problem]:
    """One problem for each place; none of a place in which one is told more exactly."""
    found = {problem.where: problem for problem in problems}
    return [found[where] for where in found if not any(other.startswith(f"{where}.") for other in found)]


def _translate(error: Any) -> Problem:
    section: type[BaseModel] = Recipe
    walked: list[str] = []
    path = [part for part in map(str, error["loc"]) if not _BRANCH.fullmatch(part)]
    for part in path:
        field = section.model_fields.get(part)
        walked.append(part)
        if field is None:
            where = ".".join(walked)
            if error["type"] == "extra_forbidden":
                return Problem(where, "unknown key", _near_key(where, section))
            return Problem(where, f"found {error['input']!r}", "write a section of keys here")
        inner = _section_of(field.annotation)
        if inner is None or len(walked) == len(path):
            return Problem(".".join(walked), _found(error), _remedy(field))
        section = inner
    return Problem("recipe", _found(error), "write sections of keys, such as data: {train: rows.jsonl}")


def _found(error: Any) -> str:
    own = error.get("ctx", {}).get("error")
    return f"found {error['input']!r}" + (f", which {own}" if isinstance(own, ValueError) else "")


def _remedy(field: Any) -> str:
    extra = field.json_schema_extra
    return f"write {extra['expects']}" if extra else "write a section of keys here"


def _near_key(where: str, section: type[BaseModel]) -> str:
    paths = list(known_paths())
    last = where.rsplit(".", 1)[-1]
    elsewhere = [path for path in paths if path.rsplit(".", 1)[-1] == last]
    if elsewhere:
        return f"did you mean {min(elsewhere, key=lambda path: path.count('.'))!r}?"
    return did_you_mean(last, list(section.model_fields), f"known here: {', '.join(section.model_fields)}")


def _conflicts(recipe: Recipe) -> Iterator[Problem]:
    """Settings that are fine alone and impossible together."""
    train = recipe.train
    if train.max_steps is not None and "epochs" in train.model_fields_set and train.epochs not in (None, "auto"):
        yield Problem(
            "train.max_steps", f"found {train.max_steps} next to train.epochs: {train.epochs}", "write one of them"
        )
    if train.max_steps is None and train.epochs is None:
        yield Problem("train.epochs", "found null without train.max_steps", "write epochs, max_steps or auto")
    yield from _loss_conflicts(train)
    yield from guide_conflicts(train)
    model = recipe.model
    yield from problems_of_smaller(model.layers, model.dimensions, train.matryoshka, train.loss)
    yield from problems_of_rate(recipe)
    yield from problems_of_rates(train.layer_rates, train.loss)
    yield from problems_of_freezing(train.freeze, train.unfreeze, dev=recipe.data.dev != "none")
    yield from problems_of_prefix(train.prefix_cache, train.freeze, train.extra)
    yield from problems_of_saving(
        train.save_every, train.keep_checkpoints, written="keep_checkpoints" in train.model_fields_set
    )
    yield from _chunk_conflicts(train)
    yield from problems_of_extra(train.extra)
    yield from _data_conflicts(recipe)
    yield from problems_of_negatives(recipe.data.negatives, recipe.train.guide)
    dev = recipe.data.dev != "none"
    yield from problems_of_guard(recipe.guard, dev=dev)
    smaller = model.layers is not None or model.dimensions is not None
    yield from problems_of_mixing(train.keep_general, dev=dev, smaller=smaller, metric=recipe.guard.metric)


def _loss_conflicts(train: TrainSection) -> Iterator[Problem]:
    if train.loss_options is None:
        return
    if train.loss == "auto":
        yield Problem("train.loss_options", "found options without a named loss", "name the loss in train.loss")
        return
    yield from problems_of_options("train.loss_options", train.loss, LOSSES[train.loss].options, train.loss_options)


#: Arguments of the trainer that wrap the model or cut it up; gradient caching has not been tested with them.
_WRAPPING = ("fsdp", "deepspeed", "parallelism_config", "torch_compile")


def _chunk_conflicts(train: TrainSection) -> Iterator[Problem]:
    wrapping = [name for name in _WRAPPING if train.extra.get(name)]
    if wrapping and isinstance(train.chunk, int):
        found = f"found {train.chunk} next to train.extra.{wrapping[0]}, with which it has not been tested"
        yield Problem("train.chunk", found, "write null, or leave the other out")


def _data_conflicts(recipe: Recipe) -> Iterator[Problem]:
    data = recipe.data
    yield from problems_of_augment(data.augment)
    yield from problems_of_fold(data.fold, data.test)
    if recipe.evaluate.retention in ({}, ""):
        yield Problem("evaluate.retention", "names no set", "write auto, a path, {name: path}, or null")
    if data.test == "none" and recipe.evaluate.primary not in (None, "auto"):
        yield Problem("evaluate.primary", "has no effect without test rows", "leave it out, or give data.test")
    if not recipe.evaluate.test:
        yield from _unread_conflicts(recipe)
    shares = [share for share in (data.dev, data.test) if isinstance(share, float)]
    if sum(shares) >= 1:
        yield Problem("data.test", f"found dev and test shares that add up to {sum(shares)}", "leave rows to train on")
    if data.leaks != "drop" and (data.dev, data.test) == ("none", "none"):
        yield Problem("data.leaks", f"found {data.leaks} without dev or test rows", "leave it out, or give data.test")
    if isinstance(data.test, Mapping) and not data.test:
        yield Problem("data.test", "found an empty mapping", "name at least one path, or write none")


def _unread_conflicts(recipe: Recipe) -> Iterator[Problem]:
    if recipe.data.test == "none":
        yield Problem("evaluate.test", "found false without test rows to hold out", "leave it out, or give data.test")
    elif recipe.evaluate.primary not in (None, "auto"):
        remedy = "leave one of them out"
        yield Problem("evaluate.primary", "has no effect with evaluate.test: false", remedy)


def loss_options(train: TrainSection) -> dict[str, float | bool | str]:
    """All options of the named loss, the table's defaults filled in; the loss must not be `auto`."""
    assert train.loss != "auto"
    return filled(LOSSES[train.loss].options, train.loss_options)
