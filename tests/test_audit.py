"""`embertune audit`, and the audit as a stage of a run: what is told, what is written, what a report shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embertune.cli import main
from embertune.data.arguments import sorted_files
from embertune.errors import RecipeError
from tests.tiny import toy_beir, toy_pairs, toy_triplets, write_jsonl

Record = dict[str, Any]
STEPS = ("--set", "train.max_steps=2", "--set", "train.batch_size=8")


def rows() -> list[Record]:
    """Rows with a defect of several kinds in them."""
    found = toy_pairs(80)
    found += [dict(found[0]), {"anchor": "wolverine", "positive": "wolverine"}, {"anchor": "...", "positive": "of"}]
    return found


@pytest.fixture
def faq(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "faq.jsonl", rows())


def cli(*words: str | Path) -> int:
    return main([str(word) for word in words])


def kinds(record: Record) -> dict[str, Record]:
    return {finding["kind"]: finding for finding in record["findings"]}


def whole(*more: str | Path) -> tuple[str | Path, ...]:
    """All rows on one side."""
    return ("--dev", "none", "--test", "none", *more)


def test_a_process_of_its_own_finds_the_defects_and_ends_with_0(
    faq: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    words = ["audit", str(faq), "--model", str(tiny_model_path), *whole("--out", tmp_path / "out", "--json")]
    done = subprocess.run(
        [sys.executable, "-m", "embertune", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = kinds(json.loads(done.stdout))
    assert found["exact_duplicates"]["count"] == found["anchor_is_positive"]["count"] == found["empty"]["count"] == 1
    assert found["anchor_is_positive"]["examples"] == ["wolverine | wolverine"]
    assert found["very_short"]["examples"] == ["of"]
    assert "tokens" in found["lengths"]["text"]
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == json.loads(done.stdout)


def test_findings_come_before_facts_and_the_graver_kind_first(
    faq: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("audit", faq, "--model", tiny_model_path, *whole("--quiet")) == 0
    shown = capsys.readouterr().out
    places = [
        shown.index(text) for text in ("findings in 83 train", "twice the same text", "repeat another", "the data")
    ]
    assert places == sorted(places)
    assert "wolverine | wolverine" in shown


def test_without_examples_no_word_of_the_data_is_shown_or_written(
    faq: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = ("--set", "report.examples=false", "--out", tmp_path / "out")
    assert cli("audit", faq, "--model", tiny_model_path, *whole(*hidden)) == 0
    assert "wolverine" not in capsys.readouterr().out + (tmp_path / "out" / "audit.json").read_text()


def test_a_run_writes_what_the_audit_of_its_recipe_finds_and_its_report_shows_it(
    faq: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"model: {{name: {tiny_model_path}}}\ndata: {{train: {faq}}}\n")
    assert cli("run", recipe, "--out", tmp_path / "run", *STEPS) == 0
    assert "rows have twice the same text" in capsys.readouterr().out
    written = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert cli("audit", recipe, "--json", *STEPS) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == written["findings"]
    for name in ("report.html", "report.md"):
        report = (tmp_path / "run" / name).read_text()
        assert "Rows have twice the same text" in report
        assert "wolverine | wolverine" in report


def test_files_are_sides_by_place_and_name(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_jsonl(tmp_path / f"{name}.jsonl", toy_pairs(40, start)) for name, start in
             (("one", 0), ("dev", 40), ("calls", 80), ("mails", 120))]  # fmt: skip
    assert cli("audit", *paths, "--model", tiny_model_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == {"train": 40, "dev": 40, "test calls": 40, "test mails": 40}


def test_files_that_cannot_be_sorted_are_refused() -> None:
    assert sorted_files(["a.jsonl"], "0.1", None) == {"recipe": None, "train": "a.jsonl", "dev": "0.1", "test": None}
    assert sorted_files(["r.yaml"], None, None) == {"recipe": "r.yaml", "train": None}
    for data, dev, test in (
        (["r.yaml", "a.csv"], None, None),
        (["a.csv", "dev.csv", "validation.csv"], None, None),
        (["a.csv", "dev.csv"], "0.1", None),
        (["a.csv", "b.csv"], None, "c.csv"),
        (["a.csv", "x/b.csv", "y/b.csv"], None, None),
    ):
        with pytest.raises(RecipeError):
            sorted_files(data, dev, test)


def test_a_model_that_was_named_and_is_not_there_is_an_error(faq: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("audit", faq, "--model", "./nowhere") == 1
    assert "nowhere" in capsys.readouterr().err


def test_lengths_are_in_words_where_the_default_model_is_not_there(
    faq: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from embertune.errors import ModelError

    def absent(*_: object, **__: object) -> None:
        raise ModelError("model.name", "not here", "name another")

    monkeypatch.setattr("embertune.audited.load", absent)
    assert cli("audit", faq, "--json") == 0
    assert "words" in kinds(json.loads(capsys.readouterr().out))["lengths"]["text"]


def test_test_rows_with_known_documents_are_scored_apart_and_the_primary_stays_the_whole(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", toy_triplets(60))
    held = toy_triplets(40, start=100)
    for row in held[:10]:
        row["negative"] = toy_triplets(1)[0]["positive"]
    test = write_jsonl(tmp_path / "held.jsonl", held)
    words = ("--model", tiny_model_path, "--train", train, "--test", test, "--out", tmp_path / "out", "--quiet", *STEPS)
    assert cli("run", *words) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    whole_, seen, unseen = (metrics["tuned"][f"held{part}-test_cosine_accuracy"] for part in ("", "-seen", "-unseen"))
    assert metrics["primary"] == "held-test_cosine_accuracy"
    assert whole_ == pytest.approx((10 * seen + 30 * unseen) / 40)
    assert "held-unseen-test_cosine_accuracy" in metrics["change"]
    finding = kinds(json.loads((tmp_path / "out" / "audit.json").read_text()))["seen"]
    assert (finding["side"], finding["count"], finding["of"]) == ("train | test held", 10, 40)
    assert "held-seen-test" in (tmp_path / "out" / "report.html").read_text()


def test_the_verdict_may_rest_on_the_part_that_training_has_not_seen(tiny_model_path: Path, tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", toy_triplets(60))
    held = toy_triplets(40, start=100)
    for row in held[:10]:
        row["negative"] = toy_triplets(1)[0]["positive"]
    test = write_jsonl(tmp_path / "held.jsonl", held)
    words = ("run", "--model", tiny_model_path, "--train", train, "--test", test, "--out", tmp_path / "out", "--quiet")
    primary = "evaluate.primary=held-unseen-test_cosine_accuracy"
    assert cli(*words, *STEPS, "--set", primary) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["primary"] == "held-unseen-test_cosine_accuracy"
    assert metrics["counts"]["items"] == 30
    assert cli(*words, *STEPS, "--set", f"{primary}s") == 1


def test_a_search_collection_is_audited_with_its_documents(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = toy_beir(tmp_path / "collection")
    assert cli("audit", folder, "--model", tiny_model_path, "--json") == 0
    lengths = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["kind"] == "lengths"]
    assert ["documents" in one["text"] for one in lengths] == [True, False, False]
