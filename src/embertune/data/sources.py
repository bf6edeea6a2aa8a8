"""Raw rows by split, wherever they come from: files, folders, the Hub, BEIR sets, tables in memory."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict

from embertune.data.beir import is_beir, read_beir
from embertune.data.files import is_saved, read_file, read_files, read_folder, read_saved, table_of
from embertune.data.hub import read_hub
from embertune.data.prepared import Note
from embertune.data.spec import Spec, canonical_split, format_of, name_of, parse, stem
from embertune.data.store import fingerprint, quiet
from embertune.errors import DataError


@dataclass(frozen=True)
class Fingerprint:
    """How many rows a split has, and the sha256 over what they hold."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """Raw rows as they were found: nothing renamed, changed or left out but by a slice the user wrote.

    `spec` is what the user wrote, `name` what metrics call it. The keys of `splits` are train, dev and test where the
    data uses such words. For a BEIR set, `splits` holds judgements, and `corpus` and `queries` are set.
    """

    spec: str
    name: str
    splits: Mapping[str, Dataset]
    corpus: Dataset | None = None
    queries: Dataset | None = None
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def pick(self, wanted: str) -> str:
        """The split to read where the user named none: the only one, or else `wanted`. Raises DataError otherwise."""
        if len(self.splits) == 1:
            return next(iter(self.splits))
        if wanted in self.splits:
            return wanted
        raise DataError(
            self.spec, f"no split {wanted!r}", f"choose one: {', '.join(f'{self.spec}@{s}' for s in self.splits)}"
        )

    def fingerprint(self, split: str) -> Fingerprint:
        """Rows and sha256 of a split, corpus and queries included; reads all of it, in bounded memory."""
        digests = [fingerprint(table) for table in (self.splits[split], self.corpus, self.queries) if table is not None]
        whole = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        return Fingerprint(len(self.splits[split]), whole)


def read(spec: Any, *, name: str | None = None) -> Source:
    """Read data that a user named or handed over.

    `spec` is `[path-or-id][:config][@split][[:n]]`, a list of files (joined into one split), or, in Python, a Dataset,
    a DatasetDict, a DataFrame of pandas or a list of dicts. Raises DataError for all that cannot be read.
    """
    if isinstance(spec, str | Path):
        source = _read_text(str(spec))
    elif _is_list_of(spec, (str, Path)):
        source = _read_list([str(item) for item in spec])
    else:
        source = _read_object(spec)
    return replace(source, name=name or source.name, label_names=_label_names(source.splits))


def _is_list_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(item, kinds) for item in value)


def _label_names(splits: Mapping[str, Dataset]) -> dict[str, tuple[str, ...]]:
    features = next(iter(splits.values())).features
    return {column: tuple(f.names) for column, f in features.items() if isinstance(f, ClassLabel)}


def _read_text(text: str) -> Source:
    spec = parse(text)
    if not spec.is_local:
        source = Source(spec.text, spec.place.split("/")[-1], read_hub(spec))
    elif spec.path.is_dir():
        source = _read_directory(spec)
    else:
        source = Source(spec.text, name_of(spec.path), {canonical_split(_word(spec.path)): read_file(spec.path)})
    return _cut(source, spec)


def _word(path: Path) -> str:
    """The split that a lone file stands for: the word it is named by, or `train`."""
    word = canonical_split(stem(path).lower())
    return word if word in ("train", "dev", "test") else "train"


def _read_directory(spec: Spec) -> Source:
    folder = spec.path
    if spec.config is not None:
        folder = folder / spec.config
        if not folder.is_dir():
            inside = sorted(path.name for path in spec.path.iterdir() if path.is_dir())
            raise DataError(spec.text, f"no folder {spec.config!r} in {spec.place}", _or(inside, "it has no folders"))
    name = name_of(spec.path)
    if is_beir(folder):
        beir = read_beir(folder, spec.split)
        return Source(spec.text, name, beir.judgements, corpus=beir.corpus, queries=beir.queries)
    if is_saved(folder):
        return Source(spec.text, name, read_saved(folder))
    splits, notes = read_folder(folder)
    return Source(spec.text, name, splits, notes=notes)


def _or(names: Sequence[str], otherwise: str) -> str:
    return f"it has {', '.join(names[:12])}" if names else otherwise


def _cut(source: Source, spec: Spec) -> Source:
    """Keep the split and the first rows that the user asked for."""
    splits = dict(source.splits)
    if spec.split is not None:
        if spec.split not in splits:
            close = difflib.get_close_matches(spec.split, list(splits), n=1)
            hint = f"did you mean @{close[0]}? " if close else ""
            raise DataError(spec.text, f"no split {spec.split!r}", f"{hint}it has {', '.join(splits)}")
        splits = {spec.split: splits[spec.split]}
    if spec.rows is not None:
        splits = {key: rows.select(range(min(spec.rows, len(rows)))) for key, rows in splits.items()}
    return replace(source, splits=splits)


def _read_list(items: Sequence[str]) -> Source:
    """Several files as one split; a list of one is that one."""
    if len(items) == 1:
        return _read_text(items[0])
    specs = [parse(item) for item in items]
    for spec in specs:
        if not spec.path.is_file() or format_of(spec.path) is None or spec.split or spec.rows:
            raise DataError(
                spec.text, "in a list of files this is no plain file", "list files only, without split or slice"
            )
    names = {name_of(spec.path) for spec in specs}
    name = names.pop() if len(names) == 1 else specs[0].path.resolve().parent.name
    return Source(", ".join(items), name, {"train": read_files([spec.path for spec in specs])})


def _read_object(value: Any) -> Source:
    spec = f"<{type(value).__name__}>"
    if isinstance(value, DatasetDict):
        splits = {canonical_split(str(key)): rows.with_format(None) for key, rows in value.items()}
    elif isinstance(value, Dataset):
        splits = {"train": value.with_format(None)}
    elif _is_list_of(value, (dict,)):
        splits = {"train": Dataset(table_of(value, spec))}
    elif type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "columns"):
        splits = {"train": _from_frame(value, spec)}
    else:
        remedy = "give a path, a Hub id, a list of files, a Dataset, a DatasetDict, a DataFrame or a list of dicts"
        raise DataError(
            spec, "nothing is in it" if isinstance(value, list | tuple | dict) else "no rows embertune can read", remedy
        )
    for rows in splits.values():
        if len(rows) == 0:
            raise DataError(spec, "it holds no rows", "hand over at least two rows")
    return Source(spec, "data", splits)


def _from_frame(frame: Any, spec: str) -> Dataset:
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(spec, f"the column {twice[0]!r} stands twice", "give every column a name of its own")
    try:
        with quiet():
            return Dataset.from_pandas(frame, preserve_index=False)
    except (ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError(spec, f"this table mixes types: {reason}", "give every column one type throughout") from None
