from __future__ import annotations

from embertune.data.findings import Finding
from embertune.data.keyed import keyed
from embertune.data.targets import findings_of_targets
from tests.data.made import shaped
from tests.tiny import toy_classes, toy_labelled, toy_pairs, toy_scored


def found(rows: list[dict[str, object]]) -> dict[str, Finding]:
    return {finding.kind: finding for finding in findings_of_targets(keyed("train", shaped(rows)))}


def test_even_classes_are_told_and_are_no_imbalance() -> None:
    assert found(toy_classes(60))["classes"].text == "6 classes, the smallest has 10 rows, the largest 10"


def test_a_class_ten_times_as_large_as_another_is_an_imbalance_and_is_named_in_the_examples_only() -> None:
    rows = toy_classes(60)[:55] + [{"text": f"a wolverine {i}", "label": "wolverine"} for i in range(100)]
    finding = found(rows)["imbalance"]
    assert finding.count == 55
    assert "(11.1 times as many)" in finding.text
    assert finding.examples[0] == "wolverine: 100"
    assert "wolverine" not in finding.text


def test_a_class_of_a_single_row_is_counted() -> None:
    assert (
        "; 1 of them with a single row"
        in found([*toy_classes(60), {"text": "all alone", "label": "x"}])["imbalance"].text
    )


def test_labels_are_told_with_their_shares_and_a_rare_one_is_an_imbalance() -> None:
    rows = toy_labelled(60)
    assert found(rows)["labels"].text == "labels: 0 50.0%, 1 50.0%"
    few = [row | {"label": int(i < 3)} for i, row in enumerate(rows)]
    assert (found(few)["imbalance"].count, found(few)["imbalance"].of) == (3, 60)


def test_scores_are_told_by_their_quartiles_and_what_is_piled_up_at_the_ends() -> None:
    text = found(toy_scored(60))["scores"].text
    assert (
        text
        == "scores: a quarter below 0.00, half below 0.50, a quarter above 1.00; 33% are exactly 0; 33% are exactly 1"
    )
    assert found([row | {"score": 1.0} for row in toy_scored(10)])["constant"].count == 10


def test_shapes_without_a_target_have_nothing_to_tell() -> None:
    assert found(toy_pairs(10)) == {}
