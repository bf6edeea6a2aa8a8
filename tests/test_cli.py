"""The command line: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from embertune.caches import placed, take
from embertune.cli import main, parser
from embertune.recipe import load_recipe
from tests.tiny import toy_beir, toy_classes, toy_nli, toy_pairs, toy_scored, write_jsonl

STEPS = ["--set", "train.max_steps=2", "--set", "train.batch_size=8"]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "faq.jsonl", toy_pairs(60))
    return tmp_path / "faq.jsonl"


def run_cli(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_run_on_a_file_trains_measures_and_names_the_model_and_the_report(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_cli("run", "--model", tiny_model_path, "--train", pairs, "--out", out, *STEPS) == 0
    shown = capsys.readouterr().out
    assert str(out / "model") in shown
    assert str(out / "report.html") in shown
    assert "baseline" in shown
    assert "95 % interval" in shown
    assert (out / "model" / "model.safetensors").is_file()
    assert not list(out.glob(".*")), "temporary files were left behind"


def test_the_same_command_again_prints_the_same_result_without_training(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("run", "--model", tiny_model_path, "--train", pairs, "--out", tmp_path / "out", "--json", *STEPS)
    assert run_cli(*words) == 0
    first = json.loads(capsys.readouterr().out)
    stamp = (tmp_path / "out" / "history.jsonl").stat().st_mtime_ns
    assert run_cli(*words) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert (tmp_path / "out" / "history.jsonl").stat().st_mtime_ns == stamp


def test_quiet_prints_the_outcome_only(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--model", tiny_model_path, "--train", pairs, "--out", tmp_path / "out", "--quiet", *STEPS)
    assert run_cli("run", *words) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 4


def test_a_dry_run_shows_recipe_rows_layers_and_an_estimate_and_writes_nothing(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_cli("run", "--model", tiny_model_path, "--train", pairs, "--out", out, "--dry-run") == 0
    shown = capsys.readouterr().out
    for expected in (
        "multiple_negatives_ranking",
        "how can i repair the car",
        "embeddings",
        "are trained",
        "steps",
        "memory",
        "disk",
    ):
        assert expected in shown
    assert not out.exists()


def test_init_writes_a_recipe_with_reasons_that_runs_as_it_is(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    assert run_cli("init", pairs, "--model", tiny_model_path, "--out", recipe, "--set", "train.max_steps=2") == 0
    text = recipe.read_text()
    assert "auto" not in [line.split(": ")[-1].split("  #")[0].strip() for line in text.splitlines() if "loss" in line]
    assert "# " in next(line for line in text.splitlines() if "batch_size" in line)
    assert run_cli("run", recipe, "--out", tmp_path / "out", "--quiet") == 0
    capsys.readouterr()
    assert run_cli("init", pairs, "--out", recipe) == 1
    assert "exists already" in capsys.readouterr().err


def test_init_looks_for_a_rate_draws_the_curve_and_writes_the_rate_with_its_reason(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    words = ("init", pairs, "--model", tiny_model_path, "--out", recipe, "--find-rate", "--set", "train.batch_size=8")
    words = (*words, "--set", "train.max_steps=40")
    assert run_cli(*words, "--set", "train.scale_rate=16", "--set", "train.floor=1e-9") == 0
    shown = capsys.readouterr().out
    line = next(line for line in recipe.read_text().splitlines() if "learning_rate" in line)
    assert "range test of 40 steps (Smith 2017" in line
    drawing = tmp_path / "recipe.rate.svg"
    assert str(drawing) in shown
    assert "▲" in shown
    rate = float(shown.split("▲")[1].split()[0])
    train = load_recipe(recipe).train
    assert train.learning_rate == pytest.approx(2 * rate)  # batches of 8 over 16
    assert train.floor == 1e-9
    assert drawing.read_text().startswith("<svg")
    recipe.unlink()
    assert run_cli(*words) == 1
    assert "recipe.rate.svg: exists already" in capsys.readouterr().err
    drawing.unlink()
    assert run_cli(*words, "--set", "train.learning_rate=1e-5") == 1
    assert "train.learning_rate: is set, and --find-rate looks for one" in capsys.readouterr().err
    assert run_cli(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rate"]["rate"] == rate


def test_init_that_finds_no_rate_shows_the_curve_and_leaves_the_rate_to_auto(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    words = ("init", pairs, "--model", tiny_model_path, "--out", recipe, "--find-rate", "--set", "train.batch_size=8")
    words = (*words, "--set", "train.max_steps=30", "--set", "train.gradient_clip=1e-13")  # which moves next to nothing
    assert run_cli(*words, "--set", "train.scale_rate=16") == 0
    shown = capsys.readouterr().out
    assert shown.count("no rate from 1e-07 to 1e-02 clearly lowered the loss in a range test of 30 steps") == 2
    assert load_recipe(recipe).train.learning_rate == "auto"
    assert "no rate is proposed" in (tmp_path / "recipe.rate.svg").read_text()
    for path in (recipe, tmp_path / "recipe.rate.svg"):
        path.unlink()
    assert run_cli(*words, "--set", "train.optimizer=sgd") == 1
    assert "write train.learning_rate yourself" in capsys.readouterr().err


def test_a_recipe_and_the_command_line_that_says_the_same_give_the_same_resolved_recipe(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"model: {{name: {tiny_model_path}}}\ndata: {{train: {pairs}}}\ntrain: {{max_steps: 2, batch_size: 8}}\n"
    )
    assert run_cli("run", recipe, "--out", tmp_path / "a", "--quiet") == 0
    assert run_cli("run", "--model", tiny_model_path, "--train", pairs, "--out", tmp_path / "b", "--quiet", *STEPS) == 0
    assert load_recipe(tmp_path / "a" / "recipe.yaml") == load_recipe(tmp_path / "b" / "recipe.yaml")


def bad(make: Callable[[Path], None], *needles: str) -> tuple[Callable[[Path], None], tuple[str, ...]]:
    return make, needles


def _text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content, encoding="utf-8") and None


def _rows(rows: list[dict[str, object]]) -> Callable[[Path], None]:
    return lambda path: write_jsonl(path, rows) and None


def _bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


BAD = {
    "missing.jsonl": bad(lambda path: None, "no such file"),
    "empty.jsonl": bad(_text(""), "empty"),
    "columns.jsonl": bad(_rows([{"qestion": "a b", "foo": "c d"}] * 3), "qestion", "foo", "data.columns"),
    "empty_text.jsonl": bad(_rows([*toy_pairs(5), {"anchor": "", "positive": "x"}]), "empty", "6"),
    "null_text.jsonl": bad(_rows([*toy_pairs(5), {"anchor": None, "positive": "x"}]), "6"),
    "nan_score.jsonl": bad(_text('{"sentence1": "a", "sentence2": "b", "score": NaN}\n' * 3), "score"),
    "range_score.jsonl": bad(_rows([{**row, "score": -700.0} for row in toy_scored(5)]), "score"),
    "one_class.jsonl": bad(_rows([{"text": f"row {i}", "label": "a"} for i in range(9)]), "class"),
    "single.jsonl": bad(_rows(toy_pairs(1)), "single row"),
    "nli_labels.jsonl": bad(_rows([{**row, "label": "maybe"} for row in toy_nli(9)]), "maybe", "entailment"),
    "utf8.jsonl": bad(_bytes(b'{"anchor": "a\xff\xfe", "positive": "b"}\n' * 3), "UTF-8"),
    "broken.jsonl.gz": bad(_bytes(gzip.compress(b'{"anchor": "a", "positive": "b"}\n' * 999)[:40]), "gz"),
    "twice.csv": bad(_text("anchor,anchor,positive\na,b,c\nd,e,f\n"), "anchor"),
    "json_line.jsonl": bad(_text('{"anchor": "a", "positive": "b"}\n{"anchor": \n'), "2"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_gives_one_message_and_leaves_nothing_behind(
    name: str, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, needles = BAD[name]
    path = tmp_path / name
    make(path)
    assert run_cli("run", "--model", tiny_model_path, "--train", path, "--out", tmp_path / "out", *STEPS) == 1
    told = capsys.readouterr().err
    assert told.startswith("embertune: ")
    assert "Traceback" not in told
    for needle in needles:
        assert needle in told, told
    assert not (tmp_path / "out").exists()


def test_a_model_that_exists_nowhere_is_told_with_what_to_do_offline(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli("run", "--model", "nobody/nothing", "--train", pairs, "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "nobody/nothing" in told
    assert "folder" in told
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_model_is_refused(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "notes.txt").write_text("hello")
    assert run_cli("run", "--model", tmp_path / "m", "--train", pairs, "--out", tmp_path / "out") == 1
    assert "is not a model" in capsys.readouterr().err


def test_an_output_folder_with_something_else_in_it_is_left_alone(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("do not touch")
    assert run_cli("run", "--model", tiny_model_path, "--train", pairs, "--out", tmp_path / "out", *STEPS) == 1
    assert "not a run of embertune" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_unknown_keys_and_misspelt_settings_are_told_together_before_anything_is_loaded() -> None:
    code = (
        "import sys\nfrom embertune.cli import main\n"
        "code = main(['run', '--train', 'x.jsonl', '--set', 'train.epoch=2', '--set', 'guard.patience=3'])\n"
        "print(code, 'torch' in sys.modules, 'datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False", "False"]
    assert "did you mean 'epochs'" in done.stderr
    assert "guard.patience" in done.stderr


def test_help_imports_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys\nfrom embertune.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as done:\n"
        "    print(done.code, [m for m in ('torch', 'pydantic', 'rich', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["fly"], ["run", "--epochs", "3"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
    capsys.readouterr()


def test_the_cache_is_listed_and_cleared_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--cache-dir", tmp_path / "cache")
    assert run_cli("cache", *place) == 0
    assert "empty" in capsys.readouterr().out
    with placed(str(tmp_path / "cache")):
        for kind, key, size in (("tokens", "a", 12_340_000), ("tables", "b", 500), ("tables", "c", 500)):
            held = take(kind, key, f"rows for [{kind}]")
            (held.path / "data").write_bytes(b"x" * size)
            held.release()
    assert run_cli("cache", *place, "--cache-size", "5 GB") == 0
    shown = capsys.readouterr().out
    for expected in ("rows for [tokens]", "rows for [tables]", "12.3 MB of at most 5 GB", "just now"):
        assert expected in shown
    assert run_cli("cache", *place, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {line["kind"]: line["entries"] for line in told["entries"]} == {"tokens": 1, "tables": 2}
    assert told["bytes"] == sum(line["bytes"] for line in told["entries"]) > 12_341_000
    assert run_cli("cache", "clear", "tables", *place) == 0
    assert "cleared: 2 entries, 1.06 KB" in capsys.readouterr().out
    assert run_cli("cache", "clear", *place, "--json") == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 1
    assert run_cli("cache", *place) == 0
    assert "empty" in capsys.readouterr().out


def test_a_size_of_the_cache_that_is_none_is_told_in_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("cache", "--cache-size", "much") == 1
    assert capsys.readouterr().err == (
        "embertune: the size of the cache: 'much' is no size; write it like 20 GB or 500 MB\n"
    )


def test_a_run_keeps_its_tokens_in_the_folder_that_is_named_and_keeps_to_its_size(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("run", "--model", tiny_model_path, "--train", pairs, "--quiet", *STEPS, "--cache-dir", tmp_path / "cache")
    assert run_cli(*words, "--out", tmp_path / "a") == 0
    assert list((tmp_path / "cache" / "tokens").glob("*/*.tokens"))
    with placed(str(tmp_path / "cache")):
        take("tables", "old", "of an earlier run").release()
    os.utime(tmp_path / "cache" / "tables" / "old" / "lock", (1e9, 1e9))
    assert run_cli(*words, "--out", tmp_path / "b", "--cache-size", "100 B") == 0
    assert not (tmp_path / "cache" / "tables" / "old").exists()
    capsys.readouterr()


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "init", "bench", "demo", "cache"):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([command, "--help"])
        assert ended.value.code == 0
        assert "usage: embertune" in capsys.readouterr().out


def _start(*words: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "embertune", *map(str, words)]
    # A shell starts its background jobs with SIGINT ignored, and children inherit that; a person's terminal does not.
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, preexec_fn=hear, **pipes)


def _wait_for(path: Path, lines: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if path.is_file() and len(path.read_text().splitlines()) >= lines:
            return
        time.sleep(0.05)
    raise AssertionError(f"training never began: {process.communicate()}")


def test_ctrl_c_exits_with_130_and_the_command_that_goes_on_which_ends_where_an_undisturbed_run_ends(
    pairs: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("run", "--model", tiny_model_path, "--train", pairs)
    settings = ("--set", "train.max_steps=80", "--set", "train.batch_size=8", "--set", "guard.patience=null")
    process = _start(*common, "--out", tmp_path / "a", *settings)
    _wait_for(tmp_path / "a" / "history.jsonl", 5, process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "Go on with: embertune run" in told
    assert not (tmp_path / "a" / "model").exists()
    assert [path.name[:5] for path in (tmp_path / "a" / "checkpoints").iterdir()] == ["step-"]
    assert run_cli(*common, "--out", tmp_path / "a", *settings, "--quiet") == 0
    assert not (tmp_path / "a" / "checkpoints").exists()
    assert run_cli(*common, "--out", tmp_path / "b", *settings, "--quiet") == 0
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    capsys.readouterr()


def test_several_named_test_sets_each_have_their_row_in_the_table(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = toy_beir(tmp_path / "beir")
    tests = f"data.test={{easy: {folder}@test, again: {folder}@test}}"
    words = ("--model", tiny_model_path, "--train", folder, "--out", tmp_path / "out", "--set", tests, *STEPS)
    assert run_cli("run", *words) == 0
    shown = capsys.readouterr().out
    assert "easy-test_cosine_ndcg@10" in shown
    assert "again-test_cosine_ndcg@10" in shown


def test_classes_with_a_large_batch_are_refused_with_the_number_that_fits(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "c.jsonl", toy_classes(120, classes=6))
    loss = ("--set", "train.loss=multiple_negatives_ranking", "--set", "train.batch_size=64")
    code = run_cli("run", "--model", tiny_model_path, "--train", tmp_path / "c.jsonl", "--out", tmp_path / "o", *loss)
    assert code == 1
    assert "train.batch_size" in capsys.readouterr().err
