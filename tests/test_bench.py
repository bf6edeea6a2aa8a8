"""`embertune bench`: what it measures is real, what it prints is complete, and what it cannot use it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sentence_transformers import SentenceTransformer

from embertune import bench as bench_module
from embertune.bench import Bench, Pace, bench, model_work
from embertune.cli import main
from embertune.engine.machine import begin_peak, peak_memory, product_speed
from embertune.terminal import Terminal
from embertune.watch import Silent
from tests.tiny import toy_classes, toy_pairs, write_jsonl


@pytest.fixture(scope="module", autouse=True)
def _briefly() -> Iterator[None]:
    """A turn of each side, and products measured on small matrices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_module, "TURNS", 1)
        patch.setattr("embertune.engine.machine._PATIENCE", 0.0)
        yield


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("pairs") / "faq.jsonl", toy_pairs(60))


@pytest.fixture(scope="module")
def found(tiny_model_path: Path, pairs: Path) -> Bench:
    return bench(str(tiny_model_path), str(pairs), Silent())


def run_cli(*words: str | Path) -> int:
    return main(["bench", *map(str, words)])


def test_every_figure_is_there_and_the_fast_path_is_the_same(found: Bench) -> None:
    assert found.parity.path == "packed"
    assert found.parity.passed
    for pace in (found.training, found.encoding):
        assert pace.plain > 0
        assert pace.packed > 0
    assert found.memory is None or min(found.memory) >= 0
    assert set(found.products) == {"float32", "bfloat16"} or torch.cuda.is_available()
    assert 0 < min(found.share) <= max(found.share) < 1
    assert 4 <= found.batch_size <= 60
    assert 4 < found.tokens < 20


def test_the_table_names_model_data_parity_speed_and_memory(found: Bench, tiny_model_path: Path) -> None:
    screen = StringIO()
    Terminal(console=Console(file=screen, width=200)).bench(found)
    shown = screen.getvalue()
    for expected in (
        tiny_model_path.name,
        "faq.jsonl",
        "the same",
        "GFLOP/s",
        "training, tokens/s",
        "encoding, tokens/s",
        "times faster",
        "share of the products' speed",
    ):
        assert expected in shown
    assert "memory of a step" in shown or begin_peak(torch.device("cpu")) is None


def test_json_without_data_is_one_object_with_all_figures_of_the_bundled_sample(
    tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(tiny_model_path, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["data"].endswith("nli.jsonl")
    assert record["parity"]["passed"] is True
    assert record["training"].keys() == {"plain", "packed"}
    assert record["machine"]["threads"] >= 1


def test_rows_of_classes_are_measured_too(tiny_model_path: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "intents.jsonl", toy_classes(120))
    assert isinstance(bench(str(tiny_model_path), str(path), Silent()), Bench)


def test_a_backbone_of_another_family_is_measured_on_its_own_path(tiny_mpnet_path: Path, pairs: Path) -> None:
    found = bench(str(tiny_mpnet_path), str(pairs), Silent())
    assert found.parity.path in ("packed", "buckets")
    assert found.parity.passed


@pytest.mark.parametrize(
    ("words", "needle"),
    [(("nobody/nothing",), "nobody/nothing"), (("MODEL", "--data", "missing.jsonl"), "missing.jsonl")],
)
def test_a_model_or_a_file_that_is_not_there_gives_one_message(
    words: tuple[str, ...], needle: str, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(*(str(tiny_model_path) if word == "MODEL" else word for word in words)) == 1
    told = capsys.readouterr().err
    assert told.startswith("embertune: ")
    assert needle in told
    assert "Traceback" not in told


def test_the_work_of_a_model_is_that_of_its_matrices_and_of_attention(
    tiny_model: Callable[[], SentenceTransformer],
) -> None:
    lengths = np.array([3, 5], dtype=np.int64)
    matrices = 2 * (4 * 32 * 32 + 2 * 32 * 64)  # two layers: query, key, value, output; up and down
    attention = 2 * 2 * 2 * 32 * (9 + 25)  # two layers, two products, a multiplication and an addition each
    assert model_work(tiny_model(), lengths) == 2 * matrices * 8 + attention


def test_twice_the_speed_is_two_times() -> None:
    assert Pace(plain=10.0, packed=20.0).times == 2.0


def test_products_in_float32_have_a_speed() -> None:
    assert product_speed("float32", "cpu") > 1e8


def test_the_peak_of_memory_sees_what_was_there_and_is_gone() -> None:
    cpu = torch.device("cpu")
    before = begin_peak(cpu)
    if before is None:
        pytest.skip("the peak of memory can only be read on Linux")
    bytes_ = 64 * 2**20
    taken = torch.ones(bytes_, dtype=torch.uint8)
    del taken
    peak = peak_memory(cpu)
    assert peak is not None
    assert peak - before > 0.9 * bytes_
