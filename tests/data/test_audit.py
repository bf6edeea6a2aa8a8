from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.data.audit import FACTS, WEIGHT, audit, audit_record, is_apart, ordered, troubles
from embertune.data.findings import Finding
from embertune.data.inbatch import Batches
from embertune.data.prepared import Note, Sides
from tests.data.made import few, shaped
from tests.tiny import toy_classes, toy_labelled, toy_pairs, toy_scored, toy_triplets

_NOTES = (Note("shape", "rows left out", 2, ("row 1", "row 7")), Note("split", "80 train, 20 dev"))
_LEAK = Finding("leak", "train | dev", "anchors of dev that stand in train", 3, 100, ("wolverine",), "3 rows dropped")


def test_notes_and_findings_become_a_record_that_json_can_hold() -> None:
    record = audit_record(_NOTES, [_LEAK])
    assert json.loads(json.dumps(record)) == record
    assert record["notes"][0] == {"stage": "shape", "text": "rows left out", "count": 2, "examples": ["row 1", "row 7"]}
    assert record["findings"][0]["share"] == 0.03


def test_without_examples_no_word_of_the_data_is_in_the_record() -> None:
    written = json.dumps(audit_record(_NOTES, [_LEAK], examples=False))
    assert "row 7" not in written
    assert "wolverine" not in written


@given(st.lists(st.tuples(st.sampled_from((*WEIGHT, *FACTS, "new_kind")), st.integers(0, 10)), max_size=30))
@few
def test_findings_come_once_the_gravest_kind_first_then_the_larger_share(made: list[tuple[str, int]]) -> None:
    found = ordered(Finding(kind, "train", "text", count, 10) for kind, count in made)
    assert len(set(found)) == len(found) == len(set(made))
    for one, other in itertools.pairwise(found):
        if one.kind == other.kind:
            assert one.share >= other.share
        elif {one.kind, other.kind} <= set(WEIGHT):
            assert WEIGHT.index(one.kind) < WEIGHT.index(other.kind)
    facts = [finding for finding in found if finding.kind in FACTS]
    assert list(found) == [*troubles(found), *facts], "what only describes comes last, what is new before it"


@pytest.mark.parametrize("make", [toy_pairs, toy_triplets, toy_scored, toy_labelled, toy_classes])
def test_every_shape_is_audited_and_nothing_hangs_on_the_order_of_rows(make: object) -> None:
    rows = make(90) + make(3)

    def found(turn: int) -> dict[tuple[str, str], tuple[int, int]]:
        sides = Sides(shaped(rows[:63][::turn]), shaped(rows[63:]), {"late": shaped(rows[:40])})
        batches = Batches(8, "distinct", True)
        return {(one.kind, one.side): (one.count, one.of) for one in audit(sides, batches=batches, near=0.8)}

    first = found(1)
    assert ("exact_duplicates", "train | dev") in first
    assert first == found(-1)


def test_what_earlier_stages_found_is_told_again() -> None:
    sides = Sides(shaped(toy_pairs(40)), None, {}, findings=(_LEAK,))
    assert audit(sides)[0] == _LEAK


@pytest.mark.parametrize(("count", "apart"), [(0, False), (4, False), (5, True), (50, True), (95, True), (96, False)])
def test_test_is_scored_apart_between_five_and_ninety_five_in_a_hundred(count: int, apart: bool) -> None:
    assert is_apart(count, 100) is apart


def test_documents_on_two_sides_are_told_with_their_share() -> None:
    held = toy_triplets(40, start=100)
    for row in held[:10]:
        row["negative"] = toy_triplets(1)[0]["positive"]
    sides = Sides(shaped(toy_triplets(60)), None, {"held": shaped(held)})
    (finding,) = [one for one in audit(sides) if one.kind == "seen"]
    assert (finding.side, finding.count, finding.of) == ("train | test held", 10, 40)
    assert finding.done == "scored apart for seen and unseen rows"


def test_every_kind_that_is_told_has_its_weight() -> None:
    import re

    package = Path(__file__).parents[2] / "src" / "embertune" / "data"
    source = "".join(path.read_text(encoding="utf-8") for path in package.glob("*.py"))
    told = set(re.findall(r'(?:Finding|_found|_gap|_mixed)\(\s*"(\w+)"', source))
    assert len(told) > 10
    assert told <= {*WEIGHT, *FACTS}
