"""What a report is drawn from, as a file of the run folder, to draw it again; history has a file of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from embertune.errors import RunFolderError
from embertune.report.facts import Facts
from embertune.rundir import FACTS, HISTORY, MODEL, read_json, write_json

_READER = TypeAdapter(Facts)


def keep_facts(facts: Facts, folder: Path) -> None:
    """Write facts.json. With `facts.examples` false, no text of the data is in it."""
    facts = replace(facts, history=())
    if not facts.examples:
        notes = [replace(note, examples=()) for note in facts.notes]
        findings = [replace(finding, examples=()) for finding in facts.findings]
        seen = replace(facts.seen, won=(), lost=(), neighbours=()) if facts.seen else None
        facts = replace(facts, rows=(), notes=notes, findings=findings, seen=seen)
    write_json(folder / FACTS, to_jsonable_python(facts, inf_nan_mode="strings"))


def read_facts(folder: Path) -> Facts:
    """What `keep_facts` wrote, with the history of the run. RunFolderError where that is not there, or is broken."""
    if missing := [name for name in (FACTS, HISTORY) if not (folder / name).is_file()]:
        found = f"holds no run that ended: {' and '.join(missing)} not there"
        raise RunFolderError(str(folder), found, "name the folder of a finished run")
    try:
        facts = _READER.validate_python(read_json(folder / FACTS))
        history = [json.loads(line) for line in (folder / HISTORY).read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        found = f"{FACTS} or {HISTORY} is not what a run writes ({str(error).splitlines()[0]})"
        raise RunFolderError(str(folder), found, "restore the file, or run again in another folder") from None
    return replace(facts, history=history, model_path=folder / MODEL)
