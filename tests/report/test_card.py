"""The model card is what the Hub can read, and tells nothing that is not its business."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from embertune.choose import Choice
from embertune.report import to_card
from embertune.report.card import is_hub_id, metadata
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


def test_the_metadata_is_what_the_hub_s_own_library_makes_of_the_same_results() -> None:
    written = metadata(made.facts(datasets=("sentence-transformers/all-nli",)))
    (index,) = written["model-index"]
    results = [
        EvalResult(
            task_type=result["task"]["type"],
            task_name=result["task"]["name"],
            dataset_type=result["dataset"]["type"],
            dataset_name=result["dataset"]["name"],
            metric_type=metric["type"],
            metric_name=metric["name"],
            metric_value=metric["value"],
        )
        for result in index["results"]
        for metric in result["metrics"]
    ]
    theirs = ModelCardData(
        model_name=index["name"], eval_results=results, **{k: v for k, v in written.items() if k != "model-index"}
    )
    assert theirs.to_dict() == written
    read = ModelCard(to_card(made.facts(datasets=("sentence-transformers/all-nli",)))).data
    assert read.to_dict() == written


def test_data_sets_of_the_hub_are_named_and_files_are_not() -> None:
    assert metadata(made.facts(datasets=("owner/set",)))["datasets"] == ["owner/set"]
    assert "datasets" not in metadata(made.facts())


def test_the_text_has_the_baseline_beside_the_saved_model_its_interval_and_what_was_kept_and_sizes() -> None:
    text = ModelCard(to_card(made.facts(proof=made.proof(retention=made.retention())))).text
    assert (
        "| `help-test` | **`cosine_accuracy@1`** (primary) | 0.5500 | **0.6869** | +0.1369 [+0.0839, +0.1899]" in text
    )
    assert "| `general` | `cosine_accuracy@1` | 0.9000 | 0.8000 | −0.1000 [−0.1500, −0.0500] | lost |" in text
    assert "| tuned | 128 | 6 | 0.6800 [0.6300, 0.7300] | 4.10 |" in text
    assert "- The saved model compares by cosine" in text


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
