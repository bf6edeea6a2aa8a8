"""Files and folders of rows, each read by the host's loader for its format; what fails is told by file and line."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets, load_dataset, load_from_disk

from embertune.data import scan
from embertune.data.prepared import Note
from embertune.data.spec import FORMATS, SPLIT_WORDS, canonical_split, format_of, stem
from embertune.data.store import BATCH, cache_key, check_room, mapped, quiet
from embertune.errors import DataError

_VALUES = {"true/false": "bool", "a whole number": "int64", "a number": "float64", "text": "string", "null": "string"}
_TEXT = ("json", "csv", "tsv")
_OPTIONS: dict[str, dict[str, Any]] = {
    "csv": {"keep_default_na": False},  # "None" and "NA" are words like any other
    "tsv": {"keep_default_na": False, "sep": "\t"},
}


def read_file(path: Path, columns: Features | None = None) -> Dataset:
    """The rows of one file, memory-mapped. `columns` fixes names and types of a CSV or TSV file.

    Raises DataError for a file that is empty, broken or of an unknown kind.
    """
    form = format_of(path)
    if form is None:
        known = ", ".join(FORMATS)
        raise DataError(
            str(path), "no known kind of data file", f"embertune reads {known}; .gz after those that are text"
        )
    if not os.access(path, os.R_OK):
        raise DataError(str(path), "this file may not be read", "check its permissions")
    if path.stat().st_size == 0 or (form in _TEXT and not scan.opening(path)):
        raise DataError(str(path), "the file is empty", "check how it was made")
    if form not in _TEXT:
        return _some(path, _read_binary(path, form))
    scan.check_utf8(path)
    return _some(path, _read_json(path) if form == "json" else _read_delimited(path, form, columns))


def _some(path: Path, rows: Dataset | None) -> Dataset:
    if rows is None or len(rows) == 0:
        raise DataError(str(path), "the file holds no rows", "check how it was made")
    return rows


def _load(kind: str, path: Path, **options: Any) -> Dataset | str:
    """The rows by the host's loader, or in one line why it failed; files it left open are closed here, silently."""
    with quiet():
        try:
            return load_dataset(kind, data_files={"train": str(path.resolve())}, split="train", **options)
        except Exception as error:
            check_room(error)
            reason = _reason(error)
        gc.collect()
    return reason


def _reason(error: Exception) -> str:
    return (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0][:200]


def _read_json(path: Path) -> Dataset | None:
    if _is_document(path):
        return _read_document(path)
    rows = _load("json", path)
    if isinstance(rows, str) or any(_is_doubtful(feature) for feature in rows.features.values()):
        return _reread(path, "json")
    return rows


def _is_doubtful(feature: Any) -> bool:
    """Whether the host's loader made a type of its own: mixed values, nothing, or a date out of what is text."""
    return type(feature).__name__ == "Json" or str(getattr(feature, "dtype", "")).startswith(("null", "timestamp"))


def _is_document(path: Path) -> bool:
    """Whether the file is one JSON value over many lines (or `{"data": [...]}` on one) and not one object a line."""
    first = scan.opening(path)
    if first.startswith("["):
        return True
    try:
        value = scan.parse_json(first, "")
    except DataError:
        return path.name.lower().removesuffix(".gz").endswith(".json")
    return isinstance(value, dict) and list(value) == ["data"] and isinstance(value["data"], list)


def _read_document(path: Path) -> Dataset | None:
    text = "".join(line for _, line in scan.lines(path))
    value = scan.parse_json(text, str(path))
    rows = value.get("data") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(str(path), "not a list of objects", 'write [{…}, …], {"data": [{…}, …]} or one {…} a line')
    if not rows:
        return None
    table = table_of(rows, str(path))
    pieces = (table.slice(start, BATCH) for start in range(0, len(table), BATCH))
    return mapped(pieces, cache_key("document", text), f"{path}: rows")


def table_of(rows: Sequence[Mapping[str, Any]], where: str) -> pa.Table:
    """Rows in memory as an Arrow table, with the columns of all rows. Raises DataError where a column mixes types."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            kinds = dict.fromkeys(type(row[name]).__name__ for row in rows if row.get(name) is not None)
            found = f"column {name!r} mixes {' and '.join(kinds)}"
            raise DataError(where, found, "give the column one type throughout") from None
    return pa.table(columns)


def _reread(path: Path, form: str) -> Dataset:
    """The slow way: the error that names the line at fault, or else the rows with types for the whole file."""
    kinds = {name: kind.name for name, kind in scan.kinds(path, form).items()}
    features = None
    if all(kind in _VALUES for kind in kinds.values()):
        features = Features({name: Value(_VALUES[kind]) for name, kind in kinds.items()})
    stamp = path.stat()
    given = {"path": str(path.resolve()), "form": form, "kinds": kinds, "stamp": (stamp.st_size, stamp.st_mtime_ns)}
    try:
        with quiet():
            return Dataset.from_generator(_rows, features=features, gen_kwargs=given)
    except Exception as error:
        check_room(error)
        found = f"its rows do not fit one table: {_reason(error)}"
        raise DataError(str(path), found, "give every column one type throughout") from None


def _rows(path: str, form: str, kinds: Mapping[str, str], stamp: tuple[int, int]) -> Iterator[scan.Row]:
    """Rows for the host's generator loader. `stamp` is there for its cache key: a changed file is read again."""
    del stamp
    convert: dict[str, Callable[[Any], Any]] = {} if form == "json" else {"a whole number": int, "a number": float}
    for _, row in scan.records(Path(path), form):
        yield {name: convert.get(kind, _same)(row.get(name)) for name, kind in kinds.items()}


def _same(value: Any) -> Any:
    return value


def _read_delimited(path: Path, form: str, columns: Features | None) -> Dataset | None:
    names = scan.header(path, form)
    options = {**_OPTIONS[form], **({"features": columns} if columns is not None else {})}
    rows = _load("csv", path, **options)
    if isinstance(rows, Dataset) and list(rows.column_names) == names:
        return rows
    return _reread(path, form) if next(scan.records(path, form), None) else None


def _read_binary(path: Path, form: str) -> Dataset:
    rows = _load(form, path)
    if isinstance(rows, str):
        raise DataError(str(path), f"this cannot be read as {form}: {rows}", "copy or make the file again")
    return rows


def read_files(paths: Sequence[Path]) -> Dataset:
    """Files of the same columns, one after the other. Raises DataError where columns or types differ."""
    parts = [read_file(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        if set(part.column_names) != set(first.column_names):
            found = f"columns {', '.join(part.column_names)} where {paths[0].name} has {', '.join(first.column_names)}"
            raise DataError(str(path), found, "give files that are read together the same columns")
    return parts[0] if len(parts) == 1 else _joined(paths, parts)


def _joined(paths: Sequence[Path], parts: Sequence[Dataset]) -> Dataset:
    try:
        with quiet():
            features = _common([part.features for part in parts])
            return concatenate_datasets([part.select_columns(list(features)).cast(features) for part in parts])
    except (ValueError, TypeError, pa.ArrowInvalid) as error:
        found = f"columns of its files differ in type ({_reason(error)})"
        raise DataError(str(paths[0].parent), found, "make them the same") from None


def _common(all_features: Sequence[Features]) -> Features:
    """The types of the first file, widened to numbers where another file needs it."""
    chosen = dict(all_features[0])
    for features in all_features[1:]:
        for name, feature in features.items():
            if chosen[name] == Value("int64") and feature == Value("float64"):
                chosen[name] = feature
    return Features(chosen)


def is_saved(folder: Path) -> bool:
    """Whether a folder was made by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    return (folder / "dataset_dict.json").exists() or (folder / "state.json").exists()


def read_saved(folder: Path) -> dict[str, Dataset]:
    """The splits of a saved datasets folder; a lone Dataset is the split `train`."""
    try:
        loaded = load_from_disk(str(folder))
    except Exception as error:
        raise DataError(str(folder), f"this cannot be loaded: {_reason(error)}", "save the data set again") from None
    if isinstance(loaded, DatasetDict):
        return {canonical_split(str(name)): rows for name, rows in loaded.items()}
    return {"train": loaded}


def read_folder(folder: Path) -> tuple[dict[str, Dataset], tuple[Note, ...]]:
    """The data files of a folder by split, where names are split words (shards joined), else all of them as `train`.

    A note names the files that were passed over because others are named by splits. Raises DataError where there are
    none, or where two files of different name claim one split.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and format_of(path) and path.name[0] not in "._")
    if not files:
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
        remedy = f"name one of its folders ({', '.join(inside[:8])})" if inside else "name a folder with data files"
        raise DataError(str(folder), "the folder has no data files", remedy)
    splits: dict[str, list[Path]] = {}
    for path in files:
        if stem(path).lower() in SPLIT_WORDS:
            splits.setdefault(canonical_split(stem(path)), []).append(path)
    if not splits:
        return {"train": read_files(files)}, ()
    passed = tuple(path.name for path in files if stem(path).lower() not in SPLIT_WORDS)
    for split, paths in splits.items():
        if len({(stem(path), format_of(path)) for path in paths}) > 1:
            found = f"{' and '.join(path.name for path in paths)} are all named as {split}"
            raise DataError(str(folder), found, "keep one, or name the file itself")
    notes = (Note("sources", f"files of {folder} that no split is named by, not read", len(passed), passed),)
    return {split: read_files(paths) for split, paths in splits.items()}, notes if passed else ()
