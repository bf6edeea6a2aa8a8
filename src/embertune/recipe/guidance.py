"""What `auto` becomes: the table of rules applied to the facts of data and model, with the reason of every decision.

`auto` values, `init`, and the notes about unusual settings all read one table, so that no rule is written twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from embertune.errors import Problem, RecipeError
from embertune.recipe.guarding import ON_DEV
from embertune.recipe.load import get, replace
from embertune.recipe.losses import LOSSES
from embertune.recipe.measured import MEASURED, Measured
from embertune.recipe.misfits import misfits_of_data, misfits_of_loss, misfits_of_metrics
from embertune.recipe.optimizers import OPTIMIZERS
from embertune.recipe.options import unusual_options
from embertune.recipe.rules import RANGES, RULES, Facts, Rule
from embertune.recipe.scaling import highest_rate, notes_on_accumulation, reasons_of_rate
from embertune.recipe.schedules import SCHEDULES
from embertune.recipe.sections import Recipe


@dataclass(frozen=True)
class Resolved:
    """A recipe without `auto`, the reason of every decision by dotted path, and notes about unusual settings.

    `measured` has the settings that a measurement decided, by dotted path; they bind a run that goes on.
    """

    recipe: Recipe
    reasons: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())
    measured: Mapping[str, Measured] = field(default_factory=dict)


def decide(recipe: Recipe, facts: Facts) -> Resolved:
    """The recipe with every `auto` of training, guard and evaluation decided; `RecipeError` for what cannot work."""
    reasons: dict[str, str] = {}
    _refuse(misfits_of_data(recipe, facts))
    for setting in dict.fromkeys(rule.setting for rule in RULES):
        if get(recipe, setting) != "auto" or setting in MEASURED or not _rule_of(setting, recipe, facts):
            continue
        value, reasons[setting] = decided(setting, recipe, facts)
        recipe = replace(recipe, {setting: value})
        if setting == "train.loss":
            _refuse(misfits_of_loss(recipe, facts))
    _refuse(misfits_of_loss(recipe, facts))
    if recipe.train.known_positives == "auto":
        recipe = replace(recipe, {"train.known_positives": None})
    if facts.looking is None:
        recipe = replace(recipe, {f"guard.{name}": None for name in ON_DEV})
    if recipe.train.save_every is None:
        recipe = replace(recipe, {"train.keep_checkpoints": None})
    if not facts.test_metric:
        recipe = replace(recipe, {"evaluate.primary": None})
    _refuse(misfits_of_metrics(recipe, facts))
    reasons |= reasons_of_rate(recipe.train)
    return Resolved(recipe, reasons, tuple(_unusual(recipe, facts)))


def decided(setting: str, recipe: Recipe, facts: Facts) -> tuple[Any, str]:
    """What the first rule of `setting` that holds gives, and why; one must hold."""
    rule = _rule_of(setting, recipe, facts)
    assert rule is not None
    text = rule.reason.format(**facts.__dict__)
    return rule.value.of(facts, recipe), f"{text} ({rule.source})" if rule.source else text


def _rule_of(setting: str, recipe: Recipe, facts: Facts) -> Rule | None:
    return next((rule for rule in RULES if rule.setting == setting and rule.when.holds(facts, recipe)), None)


def _refuse(problems: Iterator[Problem]) -> None:
    if found := list(problems):
        raise RecipeError(found)


def _unusual(recipe: Recipe, facts: Facts) -> Iterator[str]:
    train = recipe.train
    assert train.loss != "auto"
    for limits in RANGES:
        value = get(recipe, limits.setting)
        if limits.setting == "train.learning_rate":
            value = highest_rate(train) if OPTIMIZERS[train.optimizer].published else None
        if isinstance(value, int | float) and not limits.low <= value <= limits.high:
            published = f"{limits.low:g} to {limits.high:g} is published ({limits.source})"
            yield f"{limits.setting}: {value} is unusual; {published}"
    for where, row, given in (
        ("train.loss_options", LOSSES[train.loss], train.loss_options),
        ("train.optimizer_options", OPTIMIZERS[train.optimizer], train.optimizer_options),
        ("train.schedule_options", SCHEDULES[train.schedule], train.schedule_options),
    ):
        yield from unusual_options(where, row.options, given, row.source)
    pairs = LOSSES[train.loss].samplers[facts.shape] == "class_pairs"
    yield from notes_on_accumulation(train, facts.classes if pairs else None)
