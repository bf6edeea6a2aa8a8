"""A second, slower reading of a text file, one record at a time, for when the fast one fails.

It either names the line at fault, or yields the rows with types that hold for the whole file: the fast reader settles
the types on the first stretch of a file and stumbles over a column that is null or whole-numbered there and not later.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from embertune.errors import DataError

Row = dict[str, Any]
DELIMITERS = {"csv": ",", "tsv": "\t"}
_KINDS = {bool: "true/false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Kind:
    """What a column holds so far, and the line that first held it."""

    name: str
    line: int


def open_bytes(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The file's bytes, unzipped where its name ends in .gz."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Turn the many ways in which a gzip can be broken into one error."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(str(path), f"this is no sound gzip file ({error})", "copy or make the file again") from None


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, from 1. Raises DataError at a byte that is not UTF-8."""
    with sound(path), open_bytes(path) as file:
        for number, raw in enumerate(file, 1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                found = f"byte 0x{raw[error.start]:02x} at column {error.start + 1} is not UTF-8"
                remedy = f"convert the file, for example: iconv -f latin1 -t utf-8 {path.name}"
                raise DataError(f"{path}, line {number}", found, remedy) from None


def check_utf8(path: Path) -> None:
    """Raise DataError for a byte that is not UTF-8 or a broken gzip: the fast JSON reader passes over such bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with sound(path), open_bytes(path) as file:
            while block := file.read(1 << 20):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        for _ in lines(path):  # names the line
            pass


def opening(path: Path) -> str:
    """The first line that is not blank, stripped; empty where there is none. Raises DataError for a corrupt gzip."""
    with sound(path), open_bytes(path) as file:
        for raw in file:
            text = raw.decode("utf-8", "replace").lstrip("\ufeff").strip()
            if text:
                return text
    return ""


def records(path: Path, form: str) -> Iterator[tuple[int, Row]]:
    """Rows with the line each ends on, of a `json` (lines), `csv` or `tsv` file. Raises DataError at a broken one."""
    return _json_records(path) if form == "json" else _delimited_records(path, DELIMITERS[form])


def _json_records(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = parse_json(line, where)
        if not isinstance(row, dict):
            raise DataError(where, f"{_KINDS.get(type(row), 'null')} and not an object", "write one {…} a line")
        yield number, row


def parse_json(text: str, where: str) -> Any:
    """A JSON value. Raises DataError where it breaks, where a key stands twice, and for a lone surrogate."""

    def unique(pairs: list[tuple[str, Any]]) -> Row:
        row = dict(pairs)
        if len(row) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(where, f"the key {twice!r} stands twice in one object", "give every key once")
        return row

    try:
        value = json.loads(text, object_pairs_hook=unique)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        found = f"this is no JSON: {error.msg} at column {error.colno}" + (
            f", line {error.lineno}" if "\n" in text.strip() else ""
        )
        raise DataError(where, found, "mend that place") from None
    except UnicodeEncodeError:
        raise DataError(
            where, "a \\u escape stands for half a character", "write both surrogates, or the character"
        ) from None
    return value


def header(path: Path, form: str) -> list[str]:
    """The column names of a CSV or TSV file. Raises DataError for empty and for repeated names."""
    names = next(csv.reader((line for _, line in lines(path)), delimiter=DELIMITERS[form], strict=True), [])
    where = f"{path}, line 1"
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        remedy = "separate columns by commas, or by tabs in a file that ends in .tsv"
        raise DataError(where, f"there is one column, {names[0]!r}", remedy)
    for name in names:
        if not name.strip():
            raise DataError(where, "a column has no name", "give every column a name in the first line")
        if names.count(name) > 1:
            raise DataError(where, f"the column {name!r} stands twice", "give every column a name of its own")
    return names


def _delimited_records(path: Path, delimiter: str) -> Iterator[tuple[int, Row]]:
    reader = csv.reader((line for _, line in lines(path)), delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        for values in reader:
            if len(values) != len(names) and values:
                found = f"{len(values)} fields where the first line names {len(names)} columns"
                raise DataError(f"{path}, line {reader.line_num}", found, "quote fields that hold the delimiter")
            if values:
                yield reader.line_num, dict(zip(names, values, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}", f"this is no sound CSV: {error}", "mend the quotes"
        ) from None


def _written(text: str) -> str:
    """What a CSV field holds: a plain number, or text."""
    for kind, name in ((int, "a whole number"), (float, "a number")):
        try:
            kind(text)
        except ValueError:
            continue
        return name if text == text.strip() and "_" not in text else "text"
    return "text"


def kinds(path: Path, form: str) -> dict[str, Kind]:
    """What every column holds over the whole file. Raises DataError where two rows do not agree.

    Null agrees with all; whole numbers become numbers beside others; in CSV and TSV anything beside text becomes text.
    """
    found: dict[str, Kind] = {}
    for line, row in records(path, form):
        for name, value in row.items():
            kind = _KINDS.get(type(value), "null") if form == "json" else _written(value)
            before = found.get(name, Kind("null", line))
            if kind in ("null", before.name):
                found.setdefault(name, before)
            else:
                found[name] = Kind(_agreed(path, name, before, Kind(kind, line), form), line)
    return found


def _agreed(path: Path, column: str, before: Kind, now: Kind, form: str) -> str:
    if before.name == "null":
        return now.name
    pair = {before.name, now.name}
    if pair == {"a whole number", "a number"}:
        return "a number"
    if form != "json":
        return "text"
    found = f"column {column!r} holds {now.name} here and {before.name} in line {before.line}"
    raise DataError(f"{path}, line {now.line}", found, "give the column one type throughout")
