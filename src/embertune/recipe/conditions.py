"""Which settings have an effect only beside others, and a recipe whose settings are chosen one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from embertune.recipe.freezing import FreezeSection
from embertune.recipe.losses import LOSSES
from embertune.recipe.optimizers import OPTIMIZERS
from embertune.recipe.overriding import overridden
from embertune.recipe.schedules import SCHEDULES
from embertune.recipe.sections import Recipe

#: The tables whose rows take options, by the setting that names the row.
TABLES: Mapping[str, Mapping[Any, Any]] = {
    "train.loss": LOSSES, "train.schedule": SCHEDULES, "train.optimizer": OPTIMIZERS
}  # fmt: skip

#: Sections of which null means that there is nothing of the kind.
SECTIONS = ("data.negatives", "data.augment", "train.matryoshka", "train.freeze", "train.unfreeze", "model.layers")


@dataclass(frozen=True)
class Condition:
    """`setting`, or with a dot at its end all below it, needs what `words` say of the setting `on`.

    `holds` is asked with the recipe and the setting. Where it does not hold the setting becomes `off`.
    """

    setting: str
    on: str
    words: str
    holds: Callable[[Recipe, str], bool]
    off: Any = None

    def covers(self, setting: str) -> bool:
        """Whether `setting` is the one that is meant, or below it."""
        return setting.startswith(self.setting if self.setting.endswith(".") else f"{self.setting}.") or (
            setting == self.setting
        )


def value_at(recipe: Recipe, path: str) -> Any:
    """The leaf at a dotted path, None below a section that is null or a word."""
    value: Any = recipe
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def option_at(recipe: Recipe, setting: str) -> Any:
    """The row's `Option` for a leaf such as `train.loss_options.scale`; None where the named row takes none such."""
    section, _, name = setting.rpartition(".")
    table = section.removesuffix("_options")
    row = TABLES[table].get(value_at(recipe, table)) if section.endswith("_options") and table in TABLES else None
    return row.options.get(name) if row is not None else None


def _options_of(table: str) -> Condition:
    words = f"a {table.removeprefix('train.')} that takes it"
    return Condition(f"{table}_options.", table, words, lambda recipe, path: option_at(recipe, path) is not None)


def _below(section: str) -> Condition:
    return Condition(f"{section}.", section, section, lambda recipe, _: value_at(recipe, section) is not None)


def _from_batch(recipe: Recipe, _: str) -> bool:
    return recipe.train.loss == "auto" or LOSSES[recipe.train.loss].in_batch_negatives


def _freezes_layers(recipe: Recipe, _: str) -> bool:
    freeze = recipe.train.freeze
    return isinstance(freeze, FreezeSection) and bool(freeze.layers)


def _frozen_whole(recipe: Recipe, path: str) -> bool:
    freeze = recipe.train.freeze
    return freeze == "auto" or (_freezes_layers(recipe, path) and freeze is not None and freeze.with_embeddings)


CONDITIONS: tuple[Condition, ...] = (
    *map(_options_of, TABLES),
    *map(_below, SECTIONS),
    Condition("train.known_positives", "train.loss", "a loss with negatives from the batch", _from_batch, "auto"),
    Condition(
        "train.guide",
        "train.known_positives",
        "train.known_positives: mask",
        lambda r, _: r.train.known_positives == "mask",
    ),
    Condition("train.guide_margin", "train.guide", "a guide", lambda r, _: r.train.guide is not None),
    Condition("train.floor", "train.schedule", "a schedule that falls", lambda r, _: SCHEDULES[r.train.schedule].falls),
    Condition("train.epochs", "train.max_steps", "train.max_steps: null", lambda r, _: r.train.max_steps is None),
    Condition("train.unfreeze", "train.freeze", "frozen layers", _freezes_layers),
    Condition(
        "train.unfreeze.patience",
        "train.unfreeze.every",
        "every: plateau",
        lambda r, _: value_at(r, "train.unfreeze.every") == "plateau",
    ),
    Condition("train.prefix_cache", "train.freeze", "frozen layers and embeddings", _frozen_whole, "auto"),
    Condition(
        "guard.remedies",
        "guard.on_overfit",
        "guard.on_overfit: regularise",
        lambda r, _: r.guard.on_overfit == "regularise",
    ),
    Condition(
        "guard.min_change", "guard.patience", "guard.patience", lambda r, _: r.guard.patience is not None, "auto"
    ),
)


def conditions_of(setting: str) -> tuple[Condition, ...]:
    """What a setting needs."""
    return tuple(one for one in CONDITIONS if one.covers(setting))


def applies(setting: str, recipe: Recipe) -> bool:
    """Whether a setting can have an effect in a recipe whose settings before it (`rank`) are chosen already."""
    return all(one.holds(recipe, setting) for one in conditions_of(setting))


def rank(setting: str) -> int:
    """0 for a setting that needs no other, 1 for one that needs such a one, and so on: the order of choosing."""
    return max((1 + rank(one.on) for one in conditions_of(setting)), default=0)


def pointed(raw: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as it is written, with the settings of `point` that apply; what then has no effect is taken out.

    It is not checked. Options that were written for one loss, schedule or optimizer are not those of another. A loss
    that is chosen lets `auto` decide anew what becomes of known positives, where that was null.
    """
    made = dict(raw)
    for setting in sorted(point, key=rank):
        built, value = _built(made), point[setting]
        if built is None or applies(setting, built):
            made = overridden(made, {setting: value})
        if built is not None and setting in TABLES and value_at(built, setting) != value:
            made = overridden(made, {f"{setting}_options": None})
    built = _built(made)
    if built is None:
        return made
    if "train.loss" in point and built.train.known_positives is None:
        made = overridden(made, {"train.known_positives": "auto"})
    return _without_idle(made, built)


def _built(raw: Mapping[str, Any]) -> Recipe | None:
    try:
        return Recipe.model_validate(raw)
    except ValidationError:
        return None


def _without_idle(raw: dict[str, Any], built: Recipe) -> dict[str, Any]:
    """Without the options that the named rows do not take, and the settings that need what is not there."""
    for one in CONDITIONS:
        if one.setting.endswith("_options."):
            raw = _without_options(raw, built, one.setting.removesuffix("."))
        elif not one.setting.endswith(".") and value_at(built, one.setting) not in (None, "auto", one.off):
            raw = raw if one.holds(built, one.setting) else overridden(raw, {one.setting: one.off})
            built = _built(raw) or built
    return raw


def _without_options(raw: dict[str, Any], built: Recipe, section: str) -> dict[str, Any]:
    given = value_at(built, section)
    if given is None:
        return raw
    written = {name: value for name, value in given.model_dump().items() if value is not None}
    kept = {name: value for name, value in written.items() if option_at(built, f"{section}.{name}") is not None}
    return raw if kept == written else overridden(raw, {section: kept or None})
