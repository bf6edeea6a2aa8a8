"""The model of a run: loaded as the recipe says or handed over, on its fastest path, and what the recipe says of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from sentence_transformers import SentenceTransformer

from embertune.engine.pack import choose_path
from embertune.errors import ModelError, Problem, RecipeError
from embertune.model.build import POOLINGS, Built, adopt, build, pooling_of
from embertune.model.dropout import dropout_of, set_dropout
from embertune.model.finite import broken
from embertune.recipe import Recipe
from embertune.recipe.sections import ModelSection

#: Arguments of the trainer under which models keep their padding until packing has been tested with them.
_UNTESTED = ("fsdp", "deepspeed", "parallelism_config", "torch_compile")


def load(section: ModelSection, model: SentenceTransformer | None) -> Built:
    """The model that `section` names, or the one handed over, which `section` must then leave as it is."""
    if model is None:
        if section.name is None:
            raise RecipeError(Problem("model.name", "found null", "write a local folder or a Hub id"))
        built = build(section.name, pooling=section.pooling, prompts=section.prompts, max_length=section.max_length)
        return _with_dropout(_finite(built), section)
    for name in ("pooling", "max_length"):
        if getattr(section, name) != "auto":
            found = f"found {getattr(section, name)!r} for a model that is handed over"
            raise RecipeError(Problem(f"model.{name}", found, "set it on the model, and leave it out here"))
    return _with_dropout(_finite(adopt(model, section.prompts)), section)


def _finite(built: Built) -> Built:
    """The same model, if all its weights are numbers; ModelError names the first parameter that has others."""
    if bad := broken(dict(built.model.named_parameters())):
        name, count = next(iter(bad.items()))
        more = f", and {len(bad) - 1} more parameters have some" if len(bad) > 1 else ""
        found = f"{count:,} of {built.model.get_parameter(name).numel():,} weights of {name} are NaN or infinite{more}"
        raise ModelError(built.source, found, "take another copy of the model: nothing can be learnt from such weights")
    return built


def _with_dropout(built: Built, section: ModelSection) -> Built:
    """The same model with the rates that `section` gives, set in place."""
    if section.dropout != "auto":
        set_dropout(built.model, section.dropout)
    return built


def on_fastest_path(built: Built, recipe: Recipe) -> Built:
    """The same model, packed in place where that gives the same results; notes tell where it does not."""
    if untested := [name for name in _UNTESTED if recipe.train.extra.get(name)]:
        notes = [f"runs with padding: it has not been tested without under train.extra.{untested[0]}"]
    else:
        notes = choose_path(built.model)
    return dataclasses.replace(built, notes=(*built.notes, *notes))


def leaves_of(
    section: ModelSection, built: Built, roles: tuple[str, ...], handed_over: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """The model section with every `auto` replaced by what the model has, and why."""
    if handed_over:
        return {"model.name": None}, {"model.name": "handed over from Python"}
    leaves: dict[str, Any] = {}
    why: dict[str, str] = {}
    pooling, length = pooling_of(built.model), built.model.max_seq_length
    if section.pooling == "auto" and pooling in POOLINGS:
        leaves["model.pooling"], why["model.pooling"] = pooling, "the model's own"
    if section.max_length == "auto" and length is not None:
        leaves["model.max_length"], why["model.max_length"] = length, "the model's own"
    if section.dropout == "auto":
        rates = dropout_of(built.model)
        same = len(set(rates.values())) == 1
        leaves["model.dropout"], why["model.dropout"] = (
            max(rates.values()) if same else rates or None,
            "the model's own",
        )
    if section.prompts == "auto":
        own = {role: prompt for role, prompt in built.role_prompts.items() if role in roles}
        leaves["model.prompts"], why["model.prompts"] = own or "none", "the model's own"
    return leaves, why
