"""`embertune prepare`: the rows of a run as files, to look at or for another tool, and what was decided about them."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from embertune.data.keyed import named
from embertune.data.nli import NAMES
from embertune.data.prepare import Given
from embertune.data.prepared import TARGET_COLUMN, Prepared
from embertune.data.store import BATCH
from embertune.errors import RunFolderError
from embertune.plan import plan, with_audit
from embertune.recipe import Recipe
from embertune.recipe.explain import to_yaml
from embertune.record import audit_of
from embertune.rundir import AUDIT, RECIPE, told_plainly, write_json, write_text
from embertune.watch import Silent, Watcher

_HEADER = "The resolved recipe that these rows come from, every decision with its reason."


@dataclass(frozen=True)
class Written:
    """What lies in the folder `out`: side (train, dev, test NAME) to file or BEIR folder, and to rows."""

    out: Path
    files: Mapping[str, str]
    rows: Mapping[str, int]

    @property
    def command(self) -> str:
        """What trains on these rows."""
        words = ["embertune run", f"--train {self.out / self.files['train']}"]
        words += [f"--dev {self.out / self.files['dev']}"] if "dev" in self.files else ["--set data.dev=none"]
        tests = [name for name in self.files if name.startswith("test ")]
        if len(tests) == 1:
            words.append(f"--test {self.out / self.files[tests[0]]}")
        elif tests:
            paths = ", ".join(f"{name.removeprefix('test ')}: {self.out / self.files[name]}" for name in tests)
            words.append(f"--set 'data.test={{{paths}}}'")
        else:
            words.append("--set data.test=none")
        return " ".join(words)

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"out": str(self.out), "files": dict(self.files), "rows": dict(self.rows), "command": self.command}


def write_rows(recipe: Recipe, out: Path, given: Given | None = None, watch: Watcher | None = None) -> Written:
    """Do all that comes before training, and write the rows of all sides to the new folder `out`.

    Rows have their roles as columns; classes and NLI labels are words. A side for retrieval is a folder in BEIR's
    layout. The folder appears whole or not at all; `RunFolderError` where something is in it already.
    """
    _refuse_used(out)
    watch = watch or Silent()
    planned = with_audit(plan(recipe, given, None, watch), watch)
    sides = dict(named(planned.data.sides))
    files = _file_names(sides)
    watch.stage("write", str(out))
    with told_plainly(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        try:
            for side, prepared in sides.items():
                _write(prepared, half / files[side])
            write_json(half / AUDIT, audit_of(planned))
            write_text(half / RECIPE, to_yaml(planned.resolved.recipe, planned.resolved.reasons, _HEADER))
            half.chmod(0o777 & ~_mask())
            half.replace(out)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return Written(out, files, {side: len(prepared) for side, prepared in sides.items()})


def _refuse_used(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        found = "holds files already" if out.is_dir() else "is a file"
        raise RunFolderError(str(out), found, "choose another --out")


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _file_names(sides: Mapping[str, Prepared]) -> dict[str, str]:
    """A name for each side out of letters, digits, dots and dashes; no two alike."""
    made: dict[str, str] = {}
    for side, prepared in sides.items():
        plain = re.sub(r"[^\w.-]+", "-", side)
        ending = "" if prepared.shape == "retrieval" else ".jsonl"
        taken = {name.casefold() for name in made.values()}
        numbers = (f"-{n}" for n in range(2, len(sides) + 2))
        made[side] = next(name for more in ("", *numbers) if (name := plain + more + ending).casefold() not in taken)
    return made


def _write(prepared: Prepared, path: Path) -> None:
    if prepared.shape == "retrieval":
        _write_beir(prepared, path)
    else:
        _write_lines(path, _rows(prepared))


def _rows(prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Texts by role, and what is known about the row in words."""
    target = TARGET_COLUMN.get(prepared.shape)
    words = {"classes": prepared.classes, "nli": NAMES}.get(prepared.shape)
    for table in _tables(prepared, [*prepared.text_columns, *([target] if target else [])]):
        for row in table.to_pylist():
            yield {**row, target: words[int(row[target])]} if target and words else row


def _tables(prepared: Prepared, columns: list[str]) -> Iterator[pa.Table]:
    yield from prepared.rows.select_columns(columns).with_format("arrow").iter(BATCH)


def _write_beir(prepared: Prepared, folder: Path) -> None:
    """corpus.jsonl, queries.jsonl and qrels/test.tsv; the corpus is all that the side is searched in."""
    assert prepared.corpus is not None
    (folder / "qrels").mkdir(parents=True)
    documents = zip(prepared.corpus.ids, prepared.corpus.texts, strict=True)
    _write_lines(folder / "corpus.jsonl", ({"_id": id_, "text": text} for id_, text in documents))
    queries: dict[str, str] = {}
    with (folder / "qrels" / "test.tsv").open("w", encoding="utf-8", newline="\n") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for table in _tables(prepared, ["query_id", "doc_id", "anchor"]):
            for row in table.to_pylist():
                queries[row["query_id"]] = row["anchor"]
                file.write(f"{row['query_id']}\t{row['doc_id']}\t1\n")
    _write_lines(folder / "queries.jsonl", ({"_id": id_, "text": text} for id_, text in queries.items()))


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
