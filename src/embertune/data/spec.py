"""How a user names data: `[path-or-id][:config][@split][[:n]]`."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from embertune.errors import DataError

#: What a split may be called, and its name here.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "test": "test",
}

#: Endings of data files, and the format they stand for.
FORMATS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
ZIPPED = ("json", "csv", "tsv")

_SHARD = re.compile(r"[-_.]\d{5}-of-\d{5}$")
_HUB_ID = re.compile(r"^[\w][\w.-]*(/[\w.-]+)?$")
_SLICE = re.compile(r"^(?P<rest>.*)\[(?P<slice>[^\[\]]*)\]$")
_SPLIT = re.compile(r"^(?P<rest>.+)@(?P<split>[\w.-]+)$")
_CONFIG = re.compile(r"^(?P<rest>.+):(?P<config>[\w.-]+)$")


@dataclass(frozen=True)
class Spec:
    """A parsed name: `place` is a path or a Hub id; `rows` keeps the first raw rows."""

    text: str
    place: str
    config: str | None = None
    split: str | None = None
    rows: int | None = None

    @property
    def path(self) -> Path:
        """The place as a path; it need not exist."""
        return Path(self.place).expanduser()

    @property
    def is_local(self) -> bool:
        """Whether the place is there on disk; if so it is never looked up on the Hub."""
        return self.path.exists()


def canonical_split(word: str) -> str:
    """`validation` -> `dev` and the like; an unknown word stays as it is."""
    return SPLIT_WORDS.get(word.lower(), word)


def format_of(path: Path) -> str | None:
    """The format that a file's name promises, or None; `.gz` counts where the format allows it."""
    suffixes = [s.lower() for s in path.suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        found = FORMATS.get(suffixes[-2]) if len(suffixes) == 2 else None
        return found if found in ZIPPED else None
    return FORMATS.get(suffixes[-1]) if suffixes else None


def stem(path: Path) -> str:
    """A file's name without endings and shard number: `train-00000-of-00002.parquet`, `train.csv.gz` -> `train`."""
    name = path.name
    for ending in (".gz", *FORMATS):
        if name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
    return _SHARD.sub("", name)


def name_of(path: Path) -> str:
    """What metrics call the data at a path: the stem, or the folder's name where the stem is a split word."""
    if path.is_dir() or format_of(path) is None:
        return path.resolve().name
    found = stem(path)
    return path.resolve().parent.name if found.lower() in SPLIT_WORDS else found


def parse(text: str) -> Spec:
    """Read `[path-or-id][:config][@split][[:n]]`; the longest part that exists wins, so paths may hold `@` or `:`.

    Raises DataError for a slice other than `[:n]` and for a path that does not exist.
    """
    spec = Spec(text, text)
    if spec.is_local:
        return spec
    rest, rows = _slice(text)
    found: dict[str, str] = {}
    for pattern, part in ((_SPLIT, "split"), (_CONFIG, "config")):
        match = None if Path(rest).expanduser().exists() else pattern.match(rest)
        if match:
            rest, found[part] = match["rest"], match[part]
    split = canonical_split(found["split"]) if "split" in found else None
    spec = Spec(text, rest, found.get("config"), split, rows)
    if not spec.is_local and _looks_like_path(rest):
        raise missing(rest)
    return spec


def _slice(text: str) -> tuple[str, int | None]:
    match = _SLICE.match(text)
    if not match:
        return text, None
    if not re.fullmatch(r":[1-9][\d_]*", match["slice"]):
        raise DataError(text, f"[{match['slice']}] is no slice", "write [:n] for the first n rows, n at least 1")
    return match["rest"], int(match["slice"][1:])


def _looks_like_path(place: str) -> bool:
    return place.startswith((".", "/", "~")) or format_of(Path(place)) is not None or not _HUB_ID.match(place)


def missing(place: str) -> DataError:
    """The error for a path that is not there, with the names near it."""
    path = Path(place).expanduser()
    folder = path.parent
    if not folder.is_dir():
        return DataError(place, f"no such file, and no folder {folder}", "check the path")
    names = sorted(p.name for p in folder.iterdir())
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    here = (
        f"close names in that folder: {', '.join(close)}"
        if close
        else f"the folder has {', '.join(names[:8]) or 'no files'}"
    )
    return DataError(place, "no such file", here)
