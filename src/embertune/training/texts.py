"""The texts of all columns of a batch as one set of padded rows, and how they are cut into chunks by their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from embertune.errors import TrainingError

#: Says how many tokens of a prompt pooling leaves out; one number for a whole call, in each of the host's forms.
_PROMPT = "prompt_length"


@dataclass(frozen=True)
class Texts:
    """n texts that may be embedded in one call.

    `rows` are the features with one row for each text, (n, width) for those of tokens; `rest` is what is said of all
    of them. `lengths` (n,) are real tokens, `ends` (n,) the place behind the last of them, `places` (n,) where the
    texts stand in the batch, columns one after the other.
    """

    rows: Mapping[str, Tensor]
    rest: Mapping[str, Any]
    lengths: Tensor
    ends: Tensor
    places: Tensor

    def features(self, chosen: Tensor) -> dict[str, Any]:
        """The features of the texts `chosen` (m,), as wide as the longest of them."""
        width, whole = int(self.ends[chosen].max()), self.rows["input_ids"].shape[1]
        made = {
            name: (rows[:, :width] if rows.ndim > 1 and rows.shape[1] == whole else rows).index_select(0, chosen)
            for name, rows in self.rows.items()
        }
        return {**made, **self.rest}


def cut(lengths: Sequence[int], most: int) -> list[int]:
    """How many texts go into each chunk: as many, in their order, as have at most `most` tokens, and at least one."""
    sizes: list[int] = []
    tokens = 0
    for length in lengths:
        if sizes and tokens + length <= most:
            sizes[-1] += 1
            tokens += length
        else:
            sizes.append(1)
            tokens = length
    return sizes


def gather(columns: Sequence[Mapping[str, Any]], padding: int = 0) -> list[Texts]:
    """Columns of features as sets of texts: one set, except where columns must not share a call.

    That is so where a prompt of another length is left out by pooling, or where texts are padded on the left: there
    positions may count the padding, so the width stays. `padding` is the id of the padding token.
    """
    sets: dict[tuple[Any, ...], list[tuple[Mapping[str, Any], int]]] = {}
    first = 0
    for column in columns:
        _check(column)
        rest = _rest(column)
        key = (tuple(sorted(column)), tuple(map(str, rest.values())), _fixed_width(column["attention_mask"]))
        sets.setdefault(key, []).append((column, first))
        first += len(column["input_ids"])
    return [_merge(members, padding) for members in sets.values()]


def are_rows(column: Mapping[str, Any]) -> bool:
    """Whether features are those of texts as padded rows of tokens, which can be cut into chunks."""
    ids, mask = column.get("input_ids"), column.get("attention_mask")
    return isinstance(ids, Tensor) and isinstance(mask, Tensor) and ids.ndim == 2 and ids.shape == mask.shape


def _check(column: Mapping[str, Any]) -> None:
    if not are_rows(column):
        found = "this model does not read texts as padded rows of tokens, so a batch cannot be cut into chunks"
        raise TrainingError("train.chunk", found, "write train.chunk: null")


def _rest(column: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of all rows of the column together."""
    count = len(column["input_ids"])
    made = {}
    for name in sorted(column):
        value = column[name]
        if name == _PROMPT:
            made[name] = int(value.reshape(-1)[0]) if isinstance(value, Tensor) else value
        elif not (isinstance(value, Tensor) and value.ndim and len(value) == count):
            made[name] = value
    return made


def _fixed_width(mask: Tensor) -> int:
    """The width of a column whose texts are padded on the left; 0 where padding, if any, is on the right."""
    left = (mask[:, 0] == 0) & (mask[:, -1] != 0)
    return mask.shape[1] if bool(left.any()) else 0


def _merge(members: Sequence[tuple[Mapping[str, Any], int]], padding: int) -> Texts:
    """Columns (each with the place of its first text) one below the other, padded to the widest."""
    columns = [column for column, _ in members]
    rest = _rest(columns[0])
    width = max(column["input_ids"].shape[1] for column in columns)
    rows = {}
    for name in columns[0]:
        if name not in rest:
            fill = padding if name == "input_ids" else 0
            parts = [_widen(column[name], column["input_ids"].shape[1], width, fill) for column in columns]
            rows[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    mask = rows["attention_mask"]
    seen = mask.ne(0)
    across = torch.arange(1, width + 1, device=mask.device)
    places = [torch.arange(first, first + len(column["input_ids"]), device=mask.device) for column, first in members]
    return Texts(rows, rest, seen.sum(1), (seen * across).amax(1).clamp_min(1), torch.cat(places))


def _widen(rows: Tensor, own: int, width: int, fill: int) -> Tensor:
    """Features of tokens, (n, own), padded to `width` on the right; others as they are."""
    if rows.ndim != 2 or rows.shape[1] != own or own == width:
        return rows
    return pad(rows, (0, width - own), value=fill)
