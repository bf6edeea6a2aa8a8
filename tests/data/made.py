"""Rows and files that the tests of data share; all texts are written for this project."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from datasets import Dataset
from hypothesis import settings

from embertune.data.prepared import Prepared
from embertune.data.shapes import ShapeSettings, shape
from embertune.data.sources import read

Row = Mapping[str, Any]

#: For properties: fewer examples than usual, for each writes tables; no deadline, for machines are shared.
few = settings(max_examples=40, deadline=None)

PAIRS: list[dict[str, Any]] = [
    {"anchor": "how do I renew my card", "positive": "Cards are renewed at the front desk."},
    {"anchor": "opening hours", "positive": "The hall opens at nine, naïve visitors come at eight."},
    {"anchor": "is parking free?", "positive": "Parking costs two tokens, or nothing on Sundays."},
]

#: Every ending that a table may have.
ENDINGS = (
    *(".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather"),
    *(".jsonl.gz", ".json.gz", ".csv.gz", ".tsv.gz"),
)


def write(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows in the format that the path's ending names; a `.json` is a list of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    if ending == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    elif ending in ("arrow", "feather"):
        pyarrow.feather.write_feather(pa.Table.from_pylist(list(rows)), str(path))
    else:
        raw = _text(ending, rows).encode()
        path.write_bytes(gzip.compress(raw) if path.name.endswith(".gz") else raw)
    return path


def _text(ending: str, rows: Sequence[Row]) -> str:
    if ending == "json":
        return json.dumps(list(rows), indent=1)
    if ending in ("jsonl", "ndjson"):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter="\t" if ending == "tsv" else ",", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write_beir(folder: Path, qrels: Mapping[str, Sequence[tuple[str, str, int]]]) -> Path:
    """A small BEIR folder: documents d1 to d4, queries 01 to 04 (ids that a careless reader turns into numbers)."""
    titles = ("Dredging", "", "Lamps", "Ropes")
    write(
        folder / "corpus.jsonl",
        [{"_id": f"d{n}", "title": title, "text": f"All about topic {n}."} for n, title in enumerate(titles, 1)],
    )
    write(folder / "queries.jsonl", [{"_id": f"0{n}", "text": f"what is topic {n}"} for n in range(1, 5)])
    (folder / "qrels").mkdir()
    for split, judgements in qrels.items():
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(str(part) for part in row) for row in judgements)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def rows_of(rows: Dataset) -> list[dict[str, Any]]:
    """The rows as plain dicts."""
    return [dict(row) for row in rows.to_list()]


def shaped(rows: Sequence[Row], **chosen: Any) -> Prepared:
    """Shape rows that were handed over from Python."""
    return shape(read([dict(row) for row in rows]), "train", ShapeSettings(**chosen))
