"""What the stages found and did about it, as a record for audit.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from embertune.data.prepared import Note


def audit_record(notes: Iterable[Note], *, examples: bool = True) -> dict[str, Any]:
    """The notes as JSON-ready values, in order; without `examples`, no word of the data is in it."""
    return {"notes": [_entry(note, examples) for note in notes]}


def _entry(note: Note, examples: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"stage": note.stage, "text": note.text, "count": note.count}
    return {**entry, "examples": list(note.examples)} if examples else entry
