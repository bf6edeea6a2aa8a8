"""Freezing: which parameters of a model are left as they are, and their modules without dropout."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from embertune.errors import Problem, RecipeError
from embertune.model.layers import LayerTable
from embertune.recipe.freezing import FREEZE, Freeze, all_but

_AT = f"{FREEZE}.layers"


@dataclass(frozen=True)
class Frozen:
    """What is not trained for a while: the lowest `blocks`, the embeddings, parameters whose names fit a pattern."""

    blocks: int = 0
    embeddings: bool = False
    patterns: tuple[str, ...] = ()

    @property
    def prefix(self) -> int:
        """The blocks that give the same for the same text as long as this holds: none where the embeddings change."""
        return self.blocks if self.embeddings else 0

    def names(self, table: LayerTable) -> frozenset[str]:
        """The names of the parameters, as in `model.named_parameters()`."""
        rows = [*table.blocks[: self.blocks], *(row for row in table.layers if row.kind == "embeddings")]
        rows = rows if self.embeddings else rows[: self.blocks]
        every = [name for row in table.layers for name in row.parameters]
        fitting = [name for name in every if any(fnmatchcase(name, pattern) for pattern in self.patterns)]
        return frozenset(fitting).union(*(row.parameters for row in rows))


#: Everything is trained.
NOTHING = Frozen()


def find_frozen(table: LayerTable, section: Freeze) -> Frozen:
    """What `section` freezes of a model with these layers; `RecipeError` where it cannot, or leaves nothing."""
    assert section != "auto"
    if section is None:
        return NOTHING
    blocks = 0 if section.layers is None else _blocks(table, section.layers)
    if section.with_embeddings and not any(row.kind == "embeddings" for row in table.layers):
        raise _refusal(FREEZE, f"no embeddings are found in this model, which has {_told(table)}", "name patterns")
    for pattern in section.patterns:
        if not Frozen(patterns=(pattern,)).names(table):
            name = table.layers[0].parameters[0]
            raise _refusal(f"{FREEZE}.patterns", f"no parameter fits {pattern!r}", f"names are such as {name!r}")
    frozen = Frozen(blocks, section.with_embeddings, section.patterns)
    left = {name for row in table.layers for name in row.parameters} - frozen.names(table)
    if all("pooler" in name for name in left):  # a pooler of the backbone is not asked by sentence-transformers
        raise _refusal(FREEZE, f"nothing of the model is left to train; it has {_told(table)}", "freeze fewer layers")
    return frozen


def _blocks(table: LayerTable, layers: int | float | str) -> int:
    """How many blocks that are."""
    there = len(table.blocks)
    if not there:
        remedy = f"write {FREEZE}: {{patterns: [...]}} with names of parameters, or null"
        raise _refusal(_AT, f"no layers are found in this model, which has {_told(table)}", remedy)
    kept = all_but(layers)
    if kept is not None:
        blocks = there - kept
    elif isinstance(layers, float):
        blocks = int(layers * there + 0.5)
    else:
        assert isinstance(layers, int)
        blocks = layers
    if blocks < 0 or blocks > there or (not blocks and layers != 0):
        few = "none is frozen" if not blocks else "that is more"
        raise _refusal(_AT, f"found {layers!r}, and the model has {_count(table)}: {few}", f"write 1 to {there}")
    return blocks


def _count(table: LayerTable) -> str:
    blocks = table.blocks
    times = f", run {blocks[0].repeated} times over" if blocks[0].repeated > 1 else ""
    return f"{len(blocks)} layer{'s' if len(blocks) > 1 else ''}{times}"


def _told(table: LayerTable) -> str:
    """The rows of a table in short: `embeddings, 12 layers, top of the backbone`."""
    names = [row.name for row in table.layers if row.kind != "block"]
    at = sum(row.kind == "embeddings" for row in table.layers)
    return ", ".join([*names[:at], *([_count(table)] if table.blocks else []), *names[at:]])


def _refusal(where: str, found: str, remedy: str) -> RecipeError:
    return RecipeError(Problem(where, found, remedy))


@contextmanager
def held(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Inside, the parameters `names` need no gradient, and modules of these alone run without dropout.

    The host puts the whole model into training mode at every step, so `train` is exchanged on those instances: the
    topmost ones, which decide for what is in them. Afterwards all is as it was.
    """
    parameters = [(p, p.requires_grad) for name, p in model.named_parameters() if name in names]
    modules = [(module, module.training) for module in _wholly(model, names, "")]
    for parameter, _ in parameters:
        parameter.requires_grad_(False)
        parameter.grad = None
    for module, _ in modules:
        module.eval()
        vars(module)["train"] = _Still(module)
    try:
        yield
    finally:
        for parameter, needed in parameters:
            parameter.requires_grad_(needed)
        for module, mode in modules:
            del vars(module)["train"]
            module.train(mode)


class _Still:
    """`train` of a module that stays in evaluation mode."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, _mode: bool = True) -> nn.Module:
        """Nothing."""
        return self.module


def _wholly(module: nn.Module, names: Collection[str], path: str) -> Iterator[nn.Module]:
    """The topmost modules that have parameters, all of them among `names`; `module` is at the dotted `path`."""
    own = [f"{path}{name}" for name, _ in module.named_parameters(remove_duplicate=False)]
    if own and all(name in names for name in own):
        yield module
        return
    for name, child in module.named_children():
        yield from _wholly(child, names, f"{path}{name}.")
