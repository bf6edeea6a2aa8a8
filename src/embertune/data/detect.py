"""From a table's columns to roles: by name, checked against what the columns hold, and never by their order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Value

from embertune.data.prepared import ShapeName
from embertune.data.roles import (
    KNOWN,
    LABEL_WORDS,
    LAYOUTS,
    NEUTRAL,
    WRITABLE,
    Layout,
    is_id,
    negative_number,
    plain,
)
from embertune.errors import DataError

_TEXT_ROLES = frozenset({"anchor", "positive", "negative", "sentence1", "sentence2", "premise", "hypothesis", "text"})
_UUID = re.compile(r"^[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$")
_SHOWN = 60


@dataclass(frozen=True)
class Found:
    """Roles and the columns they are read from; `negatives` are all of them in order (one may hold lists)."""

    layout: str
    columns: Mapping[str, str]
    negatives: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True)
class Table:
    """What detection sees of a split: types, and the first row as an example."""

    place: str
    types: Mapping[str, str]
    example: Mapping[str, Any]

    @property
    def shown(self) -> str:
        """Every column on a line of its own, with an example."""
        return "".join(f"\n    {name}: {_short(self.example[name])}" for name in self.types)

    def is_text(self, name: str) -> bool:
        """Whether a column holds text that may speak: strings, by type, and neither ids by name nor by looks."""
        return self.types[name] == "text" and not is_id(name) and not _UUID.match(str(self.example[name] or ""))


def look(rows: Dataset, place: str) -> Table:
    """The table that detection needs, from the types and the first row."""
    first = rows.with_format("arrow")[:1].to_pylist()[0]
    return Table(place, {name: _type(feature) for name, feature in rows.features.items()}, first)


def _type(feature: Any) -> str:
    if isinstance(feature, Value):
        return "text" if feature.dtype in ("string", "large_string", "string_view") else str(feature.dtype)
    if type(feature).__name__ == "ClassLabel":
        return "int64"
    inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else None)
    return "texts" if inner is not None and _type(inner) == "text" else "nested"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def detect(table: Table, declared: Mapping[str, str], shape: ShapeName | None) -> Found:
    """Find the one layout that the columns make. Raises DataError, with columns and what to write, where in doubt."""
    _check_declared(table, declared)
    if shape == "retrieval":
        remedy = "name a folder with corpus.jsonl, queries.jsonl and qrels/*.tsv; pairs are searched anyway"
        raise DataError("data.shape", f"{table.place} is no retrieval set", remedy)
    layouts = [layout for layout in LAYOUTS if shape is None or shape in layout.shapes]
    complete = [found for layout in layouts if (found := _fill(layout, table, declared, only_declared=True))]
    if declared and complete:
        return max(complete, key=lambda found: len(found.columns))
    candidates = [found for layout in layouts if (found := _fill(layout, table, declared))]
    if not candidates:
        raise _doubt(table, "no shape fits the columns", layouts, declared)
    size = max(len(found.columns) for found in candidates)
    best = [found for found in candidates if len(found.columns) == size]
    for found in best:
        if found.doubt:
            nearest = [layout for layout in layouts if layout.name == found.layout]
            raise _doubt(table, found.doubt, nearest, declared)
    if len(best) > 1:
        names = " or ".join(found.layout for found in best)
        raise _doubt(table, f"the columns fit more than one shape ({names})", layouts, declared)
    if shape is None:
        _check_leftovers(table, best[0], declared)
    return best[0]


def _check_declared(table: Table, declared: Mapping[str, str]) -> None:
    for role, column in declared.items():
        if role not in WRITABLE and negative_number(role) is None:
            raise DataError("data.columns", f"no role {role!r}", _did_you_mean(role, WRITABLE, "the roles are"))
        if column not in table.types:
            names = list(table.types)
            raise DataError(
                "data.columns", f"no column {column!r} in {table.place}", _did_you_mean(column, names, "the data has")
            )
        if role in _TEXT_ROLES and is_id(column):
            raise DataError("data.columns", f"{column!r} is an id and never text", f"name another column for {role}")
    if len(set(declared.values())) < len(declared):
        raise DataError("data.columns", "one column stands for two roles", "give every role a column of its own")


def _did_you_mean(word: str, names: Sequence[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}{otherwise} {', '.join(names)}"


def _fill(layout: Layout, table: Table, declared: Mapping[str, str], only_declared: bool = False) -> Found | None:
    """The layout with its columns, or None where a role has none; `doubt` says where a role has more than one."""
    written = {"class" if role == "label" and layout.name == "classes" else role: c for role, c in declared.items()}
    if any(role not in layout.roles and not (_is_negative(role) and "negative" in layout.roles) for role in written):
        return None
    columns: dict[str, str] = {}
    negatives: tuple[str, ...] = ()
    doubt = ""
    for role in layout.roles:
        if role == "negative":
            negatives, clash = _negatives(table, written, only_declared)
            matches = list(clash or negatives[:1])
        else:
            matches = [written[role]] if role in written else [] if only_declared else _matches(role, table, written)
        if not matches:
            return None
        if len(matches) > 1:
            doubt = f"{' and '.join(matches)} may both be the {role}"
        columns[role] = matches[0]
    if len(set(columns.values())) < len(columns):
        return None
    used = {*columns.values(), *negatives}
    unused = tuple(name for name in table.types if name not in used and not is_id(name))
    return Found(layout.name, columns, negatives, unused, doubt)


def _is_negative(role: str) -> bool:
    return role in ("negative", "negatives") or negative_number(role) is not None


def _can_be(role: str, name: str, table: Table) -> bool:
    """Whether a column's type allows the role."""
    if role == "negative" and table.types[name] == "texts":
        return True
    return table.is_text(name) if role in _TEXT_ROLES else not is_id(name)


def _matches(role: str, table: Table, written: Mapping[str, str]) -> list[str]:
    free = [name for name in table.types if name not in written.values()]
    matches = [name for name in free if plain(name) in KNOWN[role] and _can_be(role, name, table)]
    if role == "class" and len(matches) > 1:
        matches = [name for name in matches if plain(name) in LABEL_WORDS] or matches
    return matches


def _negatives(table: Table, written: Mapping[str, str], only_declared: bool) -> tuple[tuple[str, ...], list[str]]:
    """The columns of negatives in order, and those of which only one can be the first, where there are several."""
    mine = {role: column for role, column in written.items() if _is_negative(role)}
    if mine or only_declared:
        return tuple(mine[role] for role in sorted(mine, key=lambda role: negative_number(role) or 0)), []
    free = [name for name in table.types if name not in written.values() and table.types[name] in ("text", "texts")]
    first = [name for name in free if plain(name) in KNOWN["negative"] | KNOWN["negatives"]]
    numbers = {name: number for name in free if (number := negative_number(name)) is not None}
    return (*first, *sorted(numbers, key=lambda name: numbers[name])), first if len(first) > 1 else []


def _check_leftovers(table: Table, found: Found, declared: Mapping[str, str]) -> None:
    """Refuse to pass over a column that may be a misspelt role, or a score beside two sentences."""
    if found.layout == "pairs" and found.unused and any(plain(c) in NEUTRAL for c in found.columns.values()):
        names = ", ".join(found.unused)
        raise _doubt(table, f"two sentences, and {names}, which no role is known for", LAYOUTS, declared)
    wanted = {"pairs": ("negative", "score", "label"), "triplets": ("negative",)}.get(found.layout, ())
    for name in found.unused:
        for role in wanted:
            if difflib.get_close_matches(plain(name), KNOWN[role], n=1, cutoff=0.8):
                raise _doubt(table, f"{name!r} may be meant as the {role}", LAYOUTS, {**declared, role: name})


def _doubt(table: Table, found: str, layouts: Sequence[Layout], declared: Mapping[str, str]) -> DataError:
    """The error for doubt: the columns with an example each, and the text to write for the layout that is nearest."""
    guesses = [_guess(layout, table, declared) for layout in layouts]
    best = max(
        guesses, key=lambda guess: sum(not column.startswith("<") for column in guess.values()) - len(guess) / 10
    )
    written = ", ".join(f"{role}: {column}" for role, column in best.items())
    remedy = f"write data.columns: {{{written}}}, or rename columns; {table.place} has, with the first row's values:"
    return DataError("data.columns", found, remedy + table.shown)


def _guess(layout: Layout, table: Table, declared: Mapping[str, str]) -> dict[str, str]:
    guess: dict[str, str] = {}
    for role in layout.roles:
        name = "label" if role == "class" else role
        free = {plain(c): c for c in table.types if c not in guess.values() and _can_be(role, c, table)}
        near = [c for alias in KNOWN[role] for c in difflib.get_close_matches(alias, free, n=1, cutoff=0.75)]
        exact = [c for c in near if c in KNOWN[role]]
        guess[name] = declared.get(name) or (free[(exact or near)[0]] if near else "<column>")
    return guess
