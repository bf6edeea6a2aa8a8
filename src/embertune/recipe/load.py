"""Reading a recipe from YAML or TOML, overriding leaves, and making varied copies."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from embertune.errors import Problem, RecipeError
from embertune.recipe.check import check
from embertune.recipe.overriding import overridden
from embertune.recipe.sections import Recipe


def load_recipe(path: str | Path | None = None, *, set: Mapping[str, Any] | None = None) -> Recipe:  # noqa: A002 the public name, as on the command line
    """The recipe in a YAML (1.2) or TOML file, or the default one, with leaves overridden by dotted path.

    Raises `RecipeError` naming every problem at once. Paths inside a recipe are relative to the working directory.
    """
    raw = {} if path is None else _read(Path(path))
    return check(overridden(raw, set or {}), source=str(path) if path else "recipe")


def replace(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A copy of `recipe` with the leaves at the dotted paths in `changes` set, checked anew."""
    return check(overridden(recipe.model_dump(exclude_unset=True), changes))


def get(recipe: Recipe, path: str) -> Any:
    """The leaf at a dotted path."""
    value: Any = recipe
    for part in path.split("."):
        value = getattr(value, part)
    return value


def parse_setting(text: str) -> tuple[str, Any]:
    """`'train.epochs=2'` as `('train.epochs', 2)`, the value read as YAML 1.2."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(
            Problem("--set", f"found {text!r}", "write key=value, such as train.epochs=2"), "command line"
        )
    return key.strip(), _yaml(value, "--set " + key) if value.strip() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(
            Problem(str(path), "no such file", "check the path, or write one with `embertune init DATA`")
        ) from None
    except IsADirectoryError:
        raise RecipeError(Problem(str(path), "is a folder", "give a recipe file (.yaml or .toml)")) from None
    except UnicodeDecodeError as error:
        raise RecipeError(Problem(str(path), f"is not UTF-8 at byte {error.start}", "save it as UTF-8")) from None
    except OSError as error:
        raise RecipeError(Problem(str(path), f"cannot be read ({error.strerror})", "check the path")) from None
    raw = _toml(text, str(path)) if path.suffix == ".toml" else _yaml(text, str(path))
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise RecipeError(
            Problem(
                str(path),
                f"holds {type(raw).__name__}, not sections",
                "write sections such as data: {train: rows.jsonl}",
            )
        )
    return raw


def _yaml(text: str, where: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, TypeError) as error:  # the last two: a date or a key that cannot be
        first = " ".join(str(error).split())
        raise RecipeError(Problem(where, f"is not YAML: {first[:300]}", "mend that line")) from None


def _toml(text: str, where: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(Problem(where, f"is not TOML: {error}", "mend that line")) from None
