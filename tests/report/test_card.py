"""The model card is what the Hub can read, and tells nothing that is not its business."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from embertune.choose import Choice
from embertune.report import to_card
from embertune.report.card import is_hub_id
from tests.report import made


def test_the_hub_reads_the_metadata() -> None:
    card = ModelCard(to_card(made.facts()))
    assert card.data.library_name == "sentence-transformers"
    assert card.data.pipeline_tag == "sentence-similarity"
    assert card.data.tags == ["sentence-transformers", "feature-extraction", "embertune"]
    assert card.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"


def test_every_metric_of_the_saved_model_is_in_the_metadata() -> None:
    proof = made.proof()
    results = ModelCard(to_card(made.facts())).data.eval_results
    told = {f"{result.dataset_name}_{result.metric_type}": result.metric_value for result in results}
    assert told == pytest.approx(proof.tuned)
    assert {result.task_type for result in results} == {"information-retrieval", "triplet"}


def test_where_the_base_was_chosen_its_metrics_are_told() -> None:
    card = to_card(made.facts(choice=Choice("base", "no evaluation beat it")))
    results = ModelCard(card).data.eval_results
    told = {f"{result.dataset_name}_{result.metric_type}": result.metric_value for result in results}
    assert told == pytest.approx(made.proof().baseline)
    assert "unchanged" in card


def test_undefined_metrics_are_left_out_of_the_metadata() -> None:
    proof = made.proof(tuned={"nli-test_cosine_accuracy": float("nan")}, baseline={"nli-test_cosine_accuracy": 0.5})
    assert ModelCard(to_card(made.facts(proof=proof))).data.eval_results is None


@pytest.mark.parametrize("examples", [True, False])
def test_no_text_of_the_data_is_in_the_card(examples: bool) -> None:
    card = to_card(made.hostile(examples))
    assert not [word for word in made.WORDS if word in card]


def test_a_local_base_model_is_told_without_its_folder() -> None:
    card = to_card(made.facts(base_model="/home/somebody/models/secret-base"))
    assert ModelCard(card).data.base_model is None
    assert "`secret-base`" in card
    assert "somebody" not in card


def test_a_title_full_of_yaml_stays_a_title() -> None:
    title = "a: [b] # 'c' \"d\"\n---\n- e"
    results = ModelCard(to_card(made.facts(title=title)))
    assert results.data.model_name == "a: [b] # 'c' \"d\" --- - e"


def test_a_name_looks_like_a_hub_id_only_with_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "model").mkdir(parents=True)
    assert is_hub_id("microsoft/mpnet-base")
    for name in (
        "all-MiniLM-L6-v2",
        "/a/b",
        "./a/b",
        "../b",
        "a/b/c",
        "here/model",
        "a/b c",
        "a/" + "b" * 200,
        "a\x00/b",
    ):
        assert not is_hub_id(name), name
