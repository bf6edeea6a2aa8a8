from __future__ import annotations

import json

from embertune.data.audit import audit_record
from embertune.data.prepared import Note

_NOTES = (Note("shape", "rows left out", 2, ("row 1", "row 7")), Note("split", "80 train, 20 dev"))


def test_notes_become_a_record_that_json_can_hold() -> None:
    record = audit_record(_NOTES)
    assert json.loads(json.dumps(record)) == record
    assert record["notes"][0] == {"stage": "shape", "text": "rows left out", "count": 2, "examples": ["row 1", "row 7"]}


def test_without_examples_no_word_of_the_data_is_in_the_record() -> None:
    assert "row 7" not in json.dumps(audit_record(_NOTES, examples=False))
