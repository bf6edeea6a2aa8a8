"""The highest rate of every parameter, row by row of the table of layers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from embertune.errors import Problem, RecipeError
from embertune.model.freezing import NOTHING, Frozen
from embertune.model.layers import Layer, LayerTable
from embertune.recipe.freezing import LOSS
from embertune.recipe.near import did_you_mean
from embertune.recipe.scaling import highest_rate
from embertune.recipe.sections import TrainSection

RATES, DECAY = "train.layer_rates", "train.layer_decay"
_KINDS = ("embeddings", "top", "head")
_BLOCKS = re.compile(r"blocks? (\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Row:
    """Parameters that are told of together, by name, and the highest rate of them all.

    Where only some of a layer have a rate of their own, they are a row of their own, `block 3, *.bias`.
    """

    name: str
    parameters: tuple[str, ...]
    rate: float


def rows_of(
    table: LayerTable, heads: Collection[str], settings: TrainSection, frozen: Frozen = NOTHING
) -> tuple[Row, ...]:
    """The rows from below, those of the loss (`heads`) last; `frozen` is what stays so for the whole run.

    The rate of a layer is the highest of the run times `layer_decay` to the power of its distance from the top (Howard
    & Ruder 2018, section 3.2; Clark et al. 2020, table 7), unless `layer_rates` names it; of two keys that meet a
    parameter, the later counts. Raises RecipeError for keys that decide over nothing that is trained.
    """
    highest, rates = highest_rate(settings), settings.layer_rates or {}
    assert highest is not None
    assert isinstance(settings.learning_rate, float)
    layers = list(table.layers)
    if heads:
        layers.append(Layer(LOSS, "head", "", tuple(heads), 0))
    at_rest = frozen.names(table)
    said = _said(layers, table, rates, at_rest)
    assert settings.layer_decay != "auto"
    decay = settings.layer_decay if isinstance(settings.layer_decay, float) else 1.0
    if decay < 1 and not table.blocks:
        raise RecipeError(Problem(DECAY, "no layers are found in this model", "leave it out"))
    rows = []
    for layer in layers:
        share = decay ** _distance(layer, table)
        for key, names in _parts(layer, said, frozen):
            rate = highest * (rates[key] / settings.learning_rate if key and key in rates else share)
            apart = key is not None and not _names_rows(key) and len(names) < len(layer.parameters)
            rows.append(Row(f"{layer.name}, {key}" if apart else layer.name, names, rate))
    if decay < 1 and all(at_rest.issuperset(_falling(layer, table, said)) for layer in layers):
        found = "changes no rate: all that is trained is at the top, or has a rate of its own in train.layer_rates"
        raise RecipeError(Problem(DECAY, found, "leave it out, or freeze less"))
    return tuple(rows)


def _falling(layer: Layer, table: LayerTable, said: Collection[str]) -> set[str]:
    """The parameters of a layer whose rate hangs on how far below the top it is."""
    return {name for name in layer.parameters if name not in said} if _distance(layer, table) else set()


def _names_rows(key: str) -> bool:
    """Whether a key names whole rows, and is no pattern."""
    return key in (*_KINDS, LOSS) or _BLOCKS.fullmatch(key) is not None


def _distance(layer: Layer, table: LayerTable) -> int:
    """How many layers are above, counting blocks; what is above the blocks is at the top."""
    if layer.kind == "embeddings":
        return len(table.blocks)
    return len(table.blocks) - 1 - table.blocks.index(layer) if layer.kind == "block" else 0


def _parts(layer: Layer, said: Mapping[str, str], frozen: Frozen) -> list[tuple[str | None, tuple[str, ...]]]:
    """The parameters of a layer, parted where a key gives some another rate, or a pattern freezes them."""
    parts: dict[str | None, list[str]] = {}
    for name in layer.parameters:
        key = said.get(name) or next((p for p in frozen.patterns if fnmatchcase(name, p)), None)
        parts.setdefault(key, []).append(name)
    return [(key, tuple(names)) for key, names in parts.items()]


def _said(
    layers: Collection[Layer], table: LayerTable, rates: Collection[str], frozen: Collection[str]
) -> dict[str, str]:
    """Parameter to the key that decides over its rate, for those that one does."""
    said = dict[str, str]()
    for key in rates:
        met = [name for name in _met(key, layers, table) if name not in frozen]
        if not met:
            raise _refusal(key, "all that it names is frozen for the whole run", "leave it out, or freeze less")
        said |= dict.fromkeys(met, key)
    for key in rates:
        if key not in said.values():
            raise _refusal(key, "the keys after it name all that it names", "leave it out, or write it later")
    return said


def _met(key: str, rows: Collection[Layer], table: LayerTable) -> list[str]:
    """The parameters that a key names; an error where there are none."""
    blocks = _BLOCKS.fullmatch(key)
    if blocks:
        first, last = int(blocks.group(1)), int(blocks.group(2) or blocks.group(1))
        if first > last:
            raise _refusal(key, "counts downward", f"write blocks {last}-{first}")
        if last >= len(table.blocks):
            there = f"blocks 0 to {len(table.blocks) - 1}" if table.blocks else "no blocks that are found"
            raise _refusal(key, f"the model has {there}", "name blocks that are there")
        found = [row for row in rows if row in table.blocks[first : last + 1]]
    elif key == LOSS:
        found = [row for row in rows if row.name == LOSS]
    elif key in _KINDS:
        found = [row for row in rows if row.kind == key and row.name != LOSS]
    else:
        return _fitting(key, rows)
    if not found:
        raise _refusal(key, f"there is none to train; there are {', '.join(row.name for row in rows)}", "leave it out")
    return [name for row in found for name in row.parameters]


def _fitting(pattern: str, rows: Iterable[Layer]) -> list[str]:
    names = [name for row in rows for name in row.parameters]
    if fitting := [name for name in names if fnmatchcase(name, pattern)]:
        return fitting
    known = [*_KINDS, LOSS, "block 0", "blocks 0-2"]
    remedy = did_you_mean(pattern, known, f"write {', '.join(known)}, or a pattern for names such as {names[0]!r}")
    raise _refusal(pattern, "no layer or parameter is called so", remedy)


def _refusal(key: str, found: str, remedy: str) -> RecipeError:
    return RecipeError(Problem(f"{RATES}.{key}", found, remedy))
