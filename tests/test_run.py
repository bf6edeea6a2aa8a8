"""The main flow from end to end on the toy rows: what it leaves, that it repeats, and what it refuses."""

from __future__ import annotations

import gc
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import nn

import embertune as et
from embertune.errors import DataError, ModelError, RecipeError, RunFolderError, TrainingError
from embertune.evaluate.proof import Verdict
from embertune.model.save import fingerprint
from embertune.plan import plan
from embertune.recipe.sections import Shape
from embertune.run import cuts_for_test, look, thresholds, told_by
from embertune.watch import Progress, Silent
from tests import tiny

Loader = Callable[[], SentenceTransformer]
FILES = {
    "recipe.yaml", "manifest.json", "audit.json", "history.jsonl", "metrics.json", "report.html", "report.md", "model",
    "facts.json",
}  # fmt: skip
ROWS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "pairs": tiny.toy_pairs,
    "triplets": tiny.toy_triplets,
    "nli": tiny.toy_nli,
    "scored": tiny.toy_scored,
    "labelled": tiny.toy_labelled,
    "classes": tiny.toy_classes,
}


@pytest.fixture(scope="module", autouse=True)
def nothing_old_is_collected() -> Iterator[None]:
    """The host collects garbage after every run; among all that is imported that takes longer than a tiny run."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file (for retrieval a folder) of sixty rows for every shape."""
    folder = tmp_path_factory.mktemp("data")
    made = {shape: tiny.write_jsonl(folder / f"{shape}.jsonl", rows(60)) for shape, rows in ROWS.items()}
    (folder / "beir").mkdir()
    return made | {"retrieval": tiny.toy_beir(folder / "beir")}


@pytest.fixture
def recipe(tiny_model_path: Path, data: dict[str, Path]) -> Callable[..., et.Recipe]:
    """A recipe of three steps on the triplets, with leaves changed; a double underscore is a dot."""

    def make(shape: str = "triplets", **leaves: Any) -> et.Recipe:
        settings = {
            "model.name": str(tiny_model_path), "data.train": str(data[shape]), "train.max_steps": 3,
            "evaluate.similarity": ["cosine"],
        }  # fmt: skip
        return et.load_recipe(set=settings | {path.replace("__", "."): value for path, value in leaves.items()})

    return make


def strict(text: str) -> Any:
    """JSON without the NaN and Infinity that Python would let pass."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def saved(result: et.Result) -> str:
    return fingerprint(SentenceTransformer(str(result.model), device="cpu", local_files_only=True))


def history(result: et.Result) -> list[dict[str, Any]]:
    return [strict(line) for line in (result.out / "history.jsonl").read_text(encoding="utf-8").splitlines()]


# What a run leaves


@pytest.mark.parametrize("shape", get_args(Shape))
def test_every_shape_runs_from_rows_to_report_and_leaves_every_file(
    recipe: Callable[..., et.Recipe], tmp_path: Path, shape: str
) -> None:
    result = et.run(recipe(shape, evaluate__similarity=["cosine", "dot", "manhattan", "euclidean"]), tmp_path / "out")
    assert {path.name for path in result.out.iterdir()} == FILES
    metrics = strict((result.out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["verdict"] == result.verdict
    assert result.verdict in get_args(Verdict)
    assert metrics["chosen"] in ("base", "tuned")
    assert result.primary in result.change
    assert {"difference", "low", "high", "p_value"} <= set(metrics["change"][result.primary])
    assert set(result.change) <= set(result.baseline) == set(result.tuned)
    assert len([line for line in history(result) if "loss" in line]) == 3
    for name in ("manifest.json", "audit.json"):
        strict((result.out / name).read_text(encoding="utf-8"))
    resolved = et.load_recipe(result.out / "recipe.yaml")
    for section in (resolved.train, resolved.guard, resolved.evaluate):
        assert "auto" not in section.model_dump().values()
    assert SentenceTransformer(str(result.model), device="cpu", local_files_only=True).encode("a dog").shape == (32,)


def test_without_test_rows_the_verdict_is_unmeasured_and_without_dev_the_last_state_is_saved(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    result = et.run(recipe(data__dev="none", data__test="none"), tmp_path / "out")
    assert (result.verdict, result.primary, result.change) == ("unmeasured", None, {})
    assert result.chosen == "tuned"
    assert result.reason == "no dev rows: the state after the last of 3 steps"
    assert [line["step"] for line in history(result)] == [1, 2, 3]


def test_rows_that_stay_out_of_a_batch_are_in_the_audit(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    rows = tiny.toy_pairs(20) + [{"anchor": "how can i mend the car", "positive": f"the {w}"} for w in tiny.COMMON[:20]]
    given = {"data__train": None, "data__dev": "none", "data__test": "none", "train__batch_size": 8}
    result = et.run(recipe(**given), tmp_path / "out", train=rows)
    audit = (result.out / "audit.json").read_text(encoding="utf-8")
    assert "training rows stay out of the first pass" in audit
    assert "stay out of the first pass" in (result.out / "report.md").read_text(encoding="utf-8")


# The same again


@pytest.fixture(scope="module")
def usual(
    tiny_model_path: Path, data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[et.Recipe, et.Result]:
    """A run whose model learns something: its recipe and its result. Read only."""
    settings = {
        "model.name": str(tiny_model_path), "data.train": str(data["triplets"]), "train.max_steps": 8,
        "train.learning_rate": 2e-3, "guard.eval_every": "2 steps", "evaluate.similarity": ["cosine"],
        "train.batch_size": 8,
    }  # fmt: skip
    made = et.load_recipe(set=settings)
    return made, et.run(made, tmp_path_factory.mktemp("usual") / "out")


def test_the_same_recipe_gives_the_same_weights_history_and_numbers(
    usual: tuple[et.Recipe, et.Result], tmp_path: Path
) -> None:
    made, first = usual
    again = et.run(made, tmp_path / "out")
    assert first.chosen == "tuned"
    assert saved(again) == saved(first)
    assert history(again) == history(first)
    assert (again.baseline, again.tuned, again.change) == (first.baseline, first.tuned, first.change)


def test_the_resolved_recipe_run_elsewhere_gives_the_same_weights(
    usual: tuple[et.Recipe, et.Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = et.run(et.load_recipe(usual[1].out / "recipe.yaml"), "elsewhere")
    assert saved(again) == saved(usual[1])
    assert again.change == usual[1].change
    assert et.load_recipe("elsewhere/recipe.yaml") == et.load_recipe(usual[1].out / "recipe.yaml")


def test_another_seed_gives_other_weights(usual: tuple[et.Recipe, et.Result], tmp_path: Path) -> None:
    other = et.run(et.replace(usual[0], {"seed": 1}), tmp_path / "out")
    assert saved(other) != saved(usual[1])


class Stages(Silent):
    """Notes the stages of a run."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.names.append(name)


def test_a_finished_run_gives_its_result_and_does_nothing(usual: tuple[et.Recipe, et.Result]) -> None:
    made, first = usual
    before = {path: path.stat().st_mtime_ns for path in first.out.rglob("*") if path.name != "recipe.yaml"}
    stages = Stages()
    again = et.run(made, first.out, watch=stages)
    assert again == first
    assert stages.names == ["data", "finished"]
    assert {path: path.stat().st_mtime_ns for path in first.out.rglob("*") if path.name != "recipe.yaml"} == before


def test_the_resolved_recipe_of_a_finished_run_and_one_that_comes_to_the_same_are_known_too(
    usual: tuple[et.Recipe, et.Result],
) -> None:
    made, first = usual
    stages = Stages()
    assert et.run(et.load_recipe(first.out / "recipe.yaml"), first.out, watch=stages) == first
    assert stages.names == ["data", "finished"]
    assert et.run(et.replace(made, {"train.loss": "multiple_negatives_ranking"}), first.out) == first


def test_the_folder_of_another_recipe_is_refused_and_not_touched(
    usual: tuple[et.Recipe, et.Result],
) -> None:
    made, first = usual
    before = (first.out / "recipe.yaml").read_bytes()
    with pytest.raises(
        RunFolderError, match=r"holds the run of another recipe \(recipe.yaml differs\); choose another"
    ):
        et.run(et.replace(made, {"seed": 5}), first.out)
    assert (first.out / "recipe.yaml").read_bytes() == before


KILLS = """
import os, random, shutil, signal, sys, time
import embertune as et
import embertune.run
from embertune.model.save import fingerprint
from sentence_transformers import SentenceTransformer

recipe, folder = et.load_recipe(sys.argv[1]), sys.argv[2]

def child(out):
    pid = os.fork()
    if pid == 0:
        signal.alarm(250)  # a run that hangs fails here
        code = 1
        try:
            et.run(recipe, out)
            code = 0
        finally:
            os._exit(code)
    return pid

signal.alarm(280)
started = time.monotonic()
assert os.waitpid(child(folder + "/whole"), 0)[1] == 0
took = time.monotonic() - started
killed = 0
while killed < 2:
    pid = child(folder + "/killed")
    time.sleep(took * random.uniform(0.1, 0.95))
    os.kill(pid, signal.SIGKILL)
    if os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        killed += 1
    else:  # it was done already
        shutil.rmtree(folder + "/killed")
        took *= 0.7
assert os.waitpid(child(folder + "/killed"), 0)[1] == 0
weights = [fingerprint(SentenceTransformer(f"{folder}/{n}/model", device="cpu")) for n in ("whole", "killed")]
print(weights[0] == weights[1], sorted(os.listdir(folder + "/killed")))
"""


def test_a_run_that_was_killed_and_run_again_ends_in_the_same_weights(
    usual: tuple[et.Recipe, et.Result], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(usual[1].out / "recipe.yaml"), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    same, files = done.stdout.splitlines()[-1].split(maxsplit=1)
    assert same == "True"
    assert files == str(sorted(FILES))


# The state that is saved


def test_the_saved_model_is_the_best_state_on_dev_and_not_the_last(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    made = recipe(
        train__max_steps=16, train__learning_rate=0.05, train__schedule="constant", guard__eval_every="1 step",
        guard__patience=None, data__dev=0.4, train__batch_size=8, guard__budget=None,
    )  # fmt: skip
    result = et.run(made, tmp_path / "out")
    looks = {line["step"]: line["dev"]["cosine_accuracy"] for line in history(result) if "dev" in line}
    best = max(looks, key=lambda step: looks[step])
    assert 0 < best < 16
    assert looks[best] > looks[16]
    tried = {one["name"]: one["dev"] for one in json.loads((result.out / "metrics.json").read_text())["candidates"]}
    assert tried["tuned"] == looks[best]
    assert tried["base"] == looks[0]
    assert tried[result.chosen] == max(tried.values())
    again = plan(et.replace(made, {"model.name": str(result.model)}), None, None, Silent())
    assert told_by(look(again), "cosine_accuracy").values["cosine_accuracy"] == tried[result.chosen]


def test_where_training_only_harms_the_untouched_model_is_saved_bit_for_bit(
    recipe: Callable[..., et.Recipe], usual: tuple[et.Recipe, et.Result], tmp_path: Path
) -> None:
    made = recipe(
        model__name=str(usual[1].model), train__max_steps=4, train__learning_rate=1.0, train__schedule="constant",
        guard__eval_every="2 steps",
    )  # fmt: skip
    result = et.run(made, tmp_path / "out")
    assert result.chosen == "base"
    assert "no evaluation during training beat the untouched model" in result.reason
    assert saved(result) == saved(usual[1])
    assert result.tuned == result.baseline


class BreaksLater(nn.Module):
    """The ranking loss, and from the third batch on no number."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.inner, self.calls = MultipleNegativesRankingLoss(model), 0

    def forward(self, features: Any, labels: Any) -> torch.Tensor:
        self.calls += 1
        return self.inner(features, labels) * (float("nan") if self.calls > 2 else 1.0)


def test_a_loss_that_is_no_number_any_more_ends_the_run_with_the_best_state(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    result = et.run(recipe(train__max_steps=16), tmp_path / "out", loss=BreaksLater)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    steps = [line for line in history(result) if "loss" in line]
    skipped = [line["step"] for line in steps if "skipped" in line]
    assert skipped
    assert skipped[-1] == steps[-1]["step"] < 16
    assert all(line["loss"] is None for line in steps if line["step"] in skipped)
    assert "skipped" in result.report.with_suffix(".md").read_text(encoding="utf-8")
    assert all(math.isfinite(value) for value in result.tuned.values())


def test_a_model_that_gives_no_numbers_is_refused_before_training(
    recipe: Callable[..., et.Recipe], tiny_model: Loader, tmp_path: Path
) -> None:
    model = tiny_model()
    with torch.no_grad():
        next(model.parameters())[7, 3] = float("nan")
    with pytest.raises(ModelError, match=r"1 of 15,744 weights of 0\.model\.embeddings\.\S+ are NaN or infinite; take"):
        et.run(recipe(), tmp_path / "out", model=model)
    assert not (tmp_path / "out" / "model").exists()


# What each leaf outside training changes


def test_similarity_decides_what_is_measured(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    one = et.run(recipe(evaluate__similarity=["dot"]), tmp_path / "dot")
    two = et.run(recipe(evaluate__similarity=["euclidean", "cosine"]), tmp_path / "two")
    assert {name for name in one.baseline if "seen" not in name} == {"triplets-test_dot_accuracy"}
    assert one.primary == "triplets-test_dot_accuracy"
    assert two.primary == "triplets-test_euclidean_accuracy"
    whole = {name for name in two.baseline if "seen" not in name}
    assert whole == {f"triplets-test_{s}_accuracy" for s in ("euclidean", "cosine", "max")}


def test_the_named_metrics_decide_over_state_and_verdict(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    made = recipe(
        evaluate__similarity=["cosine", "dot"],
        evaluate__primary="triplets-test_dot_accuracy",
        guard__metric="dot_accuracy",
    )
    result = et.run(made, tmp_path / "out")
    assert result.primary == "triplets-test_dot_accuracy"
    assert "dot_accuracy" in result.reason


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        (
            {"guard__metric": "cosine_acuracy"},
            "guard.metric: found 'cosine_acuracy', which is not measured; did you mean",
        ),
        ({"evaluate__primary": "cosine_accuracy"}, "evaluate.primary: found 'cosine_accuracy', which is not measured"),
        (
            {"train__loss": "cosent"},
            "train.loss: cosent takes scored, labelled, and the data is triplets; write one of",
        ),
        ({"train__extra": {"debug": "all"}}, "train.extra: the trainer refuses it"),
        ({"model__name": None}, "model.name: found null; write a local folder or a Hub id"),
        ({"model__prompts": {"text": "a: "}}, "model.prompts.text: triplets rows have no such role"),
        ({"data__train": None}, "data.train: no training data is named; write a file, a folder or a Hub id"),
    ],
)
def test_a_mistake_that_shows_only_with_data_and_model_is_told_before_anything_is_written(
    recipe: Callable[..., et.Recipe], tmp_path: Path, leaves: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        et.run(recipe(**leaves), tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_texts_are_shown_only_where_they_may_be(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    text = tiny.question(0)
    for shown in (True, False):
        result = et.run(recipe("pairs", report__examples=shown), tmp_path / str(shown))
        parts = [path.read_text(encoding="utf-8") for path in result.out.iterdir() if path.is_file()]
        parts.append((result.model / "README.md").read_text(encoding="utf-8"))
        assert any(tiny.question(i) in part for part in parts for i in range(60)) == shown, text


def test_the_limit_decides_how_many_rows_are_trained_on(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    result = et.run(recipe(data__limit=12, data__dev="none", data__test="none"), tmp_path / "out")
    manifest = strict((result.out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["data"]["train"]["rows"] == 12


def test_prompts_are_saved_with_the_model(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    result = et.run(recipe(model__prompts={"anchor": "query: "}), tmp_path / "out")
    model = SentenceTransformer(str(result.model), device="cpu", local_files_only=True)
    with_prompt = model.encode("query: a dog", prompt="")
    assert torch.equal(torch.tensor(model.encode_query("a dog")), torch.tensor(with_prompt))
    assert not torch.equal(torch.tensor(model.encode_document("a dog")), torch.tensor(with_prompt))


# Objects handed over from Python


def test_rows_as_a_list_a_dataset_and_a_data_frame_give_the_same_weights(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    rows = tiny.toy_triplets(40)
    forms = {"list": rows, "dataset": Dataset.from_list(rows), "frame": pd.DataFrame(rows)}
    made = recipe(data__train=None, data__dev="none", data__test="none")
    assert len({saved(et.run(made, tmp_path / name, train=form)) for name, form in forms.items()}) == 1


def test_dev_and_test_can_be_handed_over_too(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    sides = {name: tiny.toy_pairs(20, start) for name, start in {"train": 0, "dev": 100, "test": 140}.items()}
    result = et.run(recipe(data__train=None), tmp_path / "out", **sides)
    manifest = strict((result.out / "manifest.json").read_text(encoding="utf-8"))
    assert {side.split()[0]: counts["rows"] for side, counts in manifest["data"].items()} == {
        "train": 20, "dev": 20, "test": 20,
    }  # fmt: skip


def test_a_model_handed_over_is_trained_in_place(
    recipe: Callable[..., et.Recipe], tiny_model: Loader, tmp_path: Path
) -> None:
    model, made = tiny_model(), recipe(data__dev="none", data__test="none")
    result = et.run(made, tmp_path / "handed", model=model)
    assert fingerprint(model) == saved(result) != fingerprint(tiny_model())
    assert saved(et.run(made, tmp_path / "named")) == saved(result)
    assert et.load_recipe(result.out / "recipe.yaml").model.name is None


def test_the_folder_of_one_model_handed_over_is_refused_to_another(
    recipe: Callable[..., et.Recipe], tiny_model: Loader, tmp_path: Path
) -> None:
    made = recipe(data__dev="none", data__test="none")
    first = et.run(made, tmp_path / "out", model=tiny_model())
    assert et.run(made, tmp_path / "out", model=tiny_model()) == first
    other = SentenceTransformer(str(first.model), device="cpu", local_files_only=True)
    with pytest.raises(RunFolderError, match="on other data or with another model handed over"):
        et.run(made, tmp_path / "out", model=other)


@pytest.mark.parametrize("leaf", ["pooling", "max_length"])
def test_what_belongs_to_the_model_cannot_be_set_beside_one_that_is_handed_over(
    recipe: Callable[..., et.Recipe], tiny_model: Loader, tmp_path: Path, leaf: str
) -> None:
    given = {"pooling": "cls", "max_length": 16}
    with pytest.raises(RecipeError, match=rf"model\.{leaf}: found .* for a model that is handed over; set it on the"):
        et.run(recipe(**{f"model__{leaf}": given[leaf]}), tmp_path / "out", model=tiny_model())


def test_a_loss_handed_over_is_the_loss(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    made = recipe(data__dev="none", data__test="none")
    own = et.run(made, tmp_path / "own", loss=lambda model: MultipleNegativesRankingLoss(model, scale=20.0))
    other = et.run(made, tmp_path / "other", loss=lambda model: MultipleNegativesRankingLoss(model, scale=3.0))
    assert saved(own) == saved(et.run(made, tmp_path / "named"))
    assert saved(other) != saved(own)
    written = (own.out / "recipe.yaml").read_text(encoding="utf-8")
    assert "a loss handed over from Python takes the place of multiple_negatives_ranking" in written


def test_a_loss_that_is_named_and_handed_over_is_refused(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.loss: is named, and a loss is handed over too"):
        et.run(recipe(train__loss="triplet"), tmp_path / "out", loss=MultipleNegativesRankingLoss)
    assert not (tmp_path / "out").exists()


def test_a_watcher_is_told_the_stages_in_order_and_every_step(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    steps: list[int] = []

    class Watches(Stages):
        def step(self, progress: Progress) -> None:
            steps.append(progress.step)

    watch = Watches()
    et.run(recipe(), tmp_path / "out", watch=watch)
    assert watch.names == ["data", "model", "audit", "baseline", "train", "measure", "save"]
    assert steps == [1, 2, 3]


def test_a_single_row_is_an_error_and_not_a_crash(recipe: Callable[..., et.Recipe], tmp_path: Path) -> None:
    with pytest.raises((DataError, TrainingError)):
        et.run(recipe(data__train=None), tmp_path / "out", train=tiny.toy_pairs(1))
    assert not (tmp_path / "out").exists()


def test_the_thresholds_of_labelled_pairs_are_fitted_on_dev_and_kept(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    result = et.run(recipe("labelled"), tmp_path / "out")
    kept = strict((result.out / "metrics.json").read_text(encoding="utf-8"))["thresholds"]
    assert "cosine_accuracy_threshold" in kept


# Precision


class Interrupts(Silent):
    """Presses Ctrl-C after the first step."""

    def step(self, progress: Progress) -> None:
        raise KeyboardInterrupt


FAST, SLOW = {"float32": 200.0, "bfloat16": 900.0}, {"float32": 170.0, "bfloat16": 3.0}


def machine(monkeypatch: pytest.MonkeyPatch, products: dict[str, float]) -> None:
    """A machine on which products are this fast, also those of a narrow model."""
    monkeypatch.setattr("embertune.model.precision.measure_products", lambda device, width: products)
    monkeypatch.setattr("embertune.model.precision.NARROWEST", 1)


def test_a_precision_that_was_measured_binds_a_run_that_goes_on_also_on_another_machine(
    recipe: Callable[..., et.Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe()
    machine(monkeypatch, FAST)
    whole = et.run(made, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        et.run(made, tmp_path / "out", watch=Interrupts())
    machine(monkeypatch, SLOW)
    again = et.run(made, tmp_path / "out")
    assert et.load_recipe(again.out / "recipe.yaml").train.precision == "bfloat16"
    assert saved(again) == saved(whole)
    kept = [
        strict((r.out / "manifest.json").read_text(encoding="utf-8"))["measured"]["train.precision"]
        for r in (whole, again)
    ]
    assert kept[0] == kept[1]
    assert kept[0]["figures"]["bfloat16_gflops"] == 900.0
    assert et.run(made, again.out) == again
    assert et.run(et.load_recipe(again.out / "recipe.yaml"), again.out) == again
    assert et.load_recipe(et.run(made, tmp_path / "new").out / "recipe.yaml").train.precision == "float32"


def test_a_measured_precision_is_in_the_resolved_recipe_with_its_reason(
    recipe: Callable[..., et.Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, SLOW)
    result = et.run(recipe(), tmp_path / "out")
    written = (result.out / "recipe.yaml").read_text(encoding="utf-8")
    assert re.search(
        r"precision: float32 +# bfloat16 products are 0.018 times as fast \(3 against 170 GFLOP/s\)", written
    )


def test_test_is_measured_in_float32_and_dev_in_the_precision_of_training(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    half, whole = (
        plan(recipe("labelled", train__precision=name), None, None, Silent()) for name in ("bfloat16", "float32")
    )
    texts = [row["sentence1"] for row in tiny.toy_labelled(20)]
    assert (half.encode(texts, "sentence1") == whole.encode(texts, "sentence1")).all()
    assert (whole.encode(texts, "sentence1") == whole.encode_dev(texts, "sentence1")).all()
    steering = half.encode_dev(texts, "sentence1")
    assert steering.dtype == "float32"
    assert 0 < abs(steering - half.encode(texts, "sentence1")).max() < 0.1
    steered = [told_by(look(made), "cosine_accuracy").values for made in (half, whole)]
    assert steered[0] != steered[1]
    assert cuts_for_test(half, look(half)) == cuts_for_test(whole, look(whole)) == thresholds(look(whole))


def test_a_run_in_bfloat16_begins_from_the_same_baseline_and_saves_float32(
    recipe: Callable[..., et.Recipe], tmp_path: Path
) -> None:
    half, whole = (
        et.run(recipe("labelled", train__precision=name), tmp_path / name) for name in ("bfloat16", "float32")
    )
    assert half.baseline == whole.baseline
    model = SentenceTransformer(str(half.model), device="cpu", local_files_only=True)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for kind in ("dev", "loss"):
        one, other = ([line[kind] for line in history(result) if kind in line] for result in (half, whole))
        assert one != other


@pytest.mark.parametrize("asked", ["float16", "tf32"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a GPU")
def test_a_precision_that_takes_a_gpu_is_refused_without_one(
    recipe: Callable[..., et.Recipe], tmp_path: Path, asked: str
) -> None:
    with pytest.raises(RecipeError, match=rf"train\.precision: {asked} takes a CUDA GPU, and this trains on cpu"):
        et.run(recipe(train__precision=asked), tmp_path / "out")
    assert not (tmp_path / "out").exists()
