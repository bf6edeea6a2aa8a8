"""Findings are values, and their record says what they say."""

from __future__ import annotations

import json

from embertune.data.findings import Finding, findings_record

LEAK = Finding("leak", "train | test nli", "3 anchors stand in train", 3, 12, ("a cat",), "dropped from train")


def test_the_record_holds_every_field_and_the_share() -> None:
    (entry,) = json.loads(json.dumps(findings_record([LEAK])))
    assert entry == {
        "kind": "leak",
        "side": "train | test nli",
        "text": "3 anchors stand in train",
        "count": 3,
        "of": 12,
        "share": 0.25,
        "done": "dropped from train",
        "examples": ["a cat"],
    }


def test_without_examples_no_word_of_the_data_is_in_the_record() -> None:
    assert "a cat" not in json.dumps(findings_record([LEAK], examples=False))


def test_a_finding_out_of_nothing_has_no_share() -> None:
    assert Finding("lengths", "train", "no texts").share == 0.0
