"""Retrieval sets in BEIR's layout: `corpus.jsonl`, `queries.jsonl` and judgements in `qrels/<split>.tsv`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, Features, Value

from embertune.data import scan
from embertune.data.files import read_file
from embertune.data.spec import canonical_split
from embertune.errors import DataError

#: The columns of judgements; ids are text, so that `0012` stays what it is.
QRELS = ("query-id", "corpus-id", "score")


@dataclass(frozen=True)
class Beir:
    """A BEIR folder as tables: `judgements` by split."""

    corpus: Dataset
    queries: Dataset
    judgements: dict[str, Dataset]


def is_beir(folder: Path) -> bool:
    """Whether a folder has BEIR's three parts."""
    return all(_table(folder, name) for name in ("corpus", "queries")) and (folder / "qrels").is_dir()


def _table(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}{ending}" for ending in (".jsonl", ".jsonl.gz"))
    return next((path for path in candidates if path.exists()), None)


def read_beir(folder: Path, split: str | None = None) -> Beir:
    """The tables of a BEIR folder; with `split` only its judgements are read."""
    files = sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        raise DataError(
            str(folder / "qrels"), "no .tsv file with judgements", "put qrels/train.tsv or qrels/test.tsv there"
        )
    found = {canonical_split(path.stem): path for path in files}
    if split is not None and split in found:
        found = {split: found[split]}
    corpus, queries = _table(folder, "corpus"), _table(folder, "queries")
    assert corpus is not None
    assert queries is not None
    return Beir(
        corpus=_documents(corpus),
        queries=_documents(queries),
        judgements={name: _judgements(path) for name, path in found.items()},
    )


def _documents(path: Path) -> Dataset:
    rows = read_file(path)
    for column in ("_id", "text"):
        if column not in rows.column_names:
            found = f"no column {column!r}; the file has {', '.join(rows.column_names)}"
            raise DataError(str(path), found, 'a BEIR line is {"_id": "…", "title": "…", "text": "…"}')
    return rows


def _judgements(path: Path) -> Dataset:
    names = scan.header(path, "tsv")
    if tuple(names) != QRELS:
        found = f"the first line is {' '.join(names)!r}"
        raise DataError(f"{path}, line 1", found, f"a BEIR judgement file begins with {' '.join(QRELS)}, tab-separated")
    return read_file(
        path, Features({"query-id": Value("string"), "corpus-id": Value("string"), "score": Value("float64")})
    )
