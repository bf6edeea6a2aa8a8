"""The run folder: who may use it, and that nothing in it is ever half-written."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embertune.errors import RunFolderError
from embertune.recipe import load_recipe, replace
from embertune.recipe.guidance import Resolved
from embertune.recipe.measured import Measured
from embertune.rundir import (
    claim,
    finite,
    measured_in,
    read_json,
    told_plainly,
    write_atomically,
    write_json,
    write_text,
)

RESOLVED = Resolved(load_recipe(set={"train.epochs": 2, "data.train": "a.jsonl"}), {"train.epochs": "a few"})
OTHER = Resolved(replace(RESOLVED.recipe, {"train.epochs": 3}), {})


def replace_resolved(measured: dict[str, Measured]) -> Resolved:
    return Resolved(RESOLVED.recipe, RESOLVED.reasons, measured=measured)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(folder: Path, resolved: Resolved = RESOLVED, fingerprint: str = "aa") -> str:
    """The message of a claim that is refused, which leaves everything as it was."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else {}
    with pytest.raises(RunFolderError) as caught:
        claim(folder, resolved, fingerprint)
    assert {path: path.read_bytes() for path in before} == before
    return str(caught.value).removeprefix(f"{folder}: ")


def test_a_new_folder_is_made_with_its_parents_and_claimed(tmp_path: Path) -> None:
    folder = claim(tmp_path / "deep" / "out", RESOLVED, "aa")
    assert names(folder.path) == ["manifest.json", "recipe.yaml"]
    assert not folder.finished
    assert read_json(folder.file("manifest.json")) == {"fingerprint": "aa", "measured": {}}
    assert load_recipe(folder.file("recipe.yaml")) == RESOLVED.recipe
    assert "# a few" in folder.file("recipe.yaml").read_text(encoding="utf-8")


def test_an_empty_folder_is_claimed(tmp_path: Path) -> None:
    assert not claim(tmp_path, RESOLVED, "aa").finished


def test_the_same_recipe_on_the_same_data_goes_on_and_with_metrics_it_is_finished(tmp_path: Path) -> None:
    claim(tmp_path, RESOLVED, "aa")
    (tmp_path / "history.jsonl").write_text("{}\n")
    assert not claim(tmp_path, RESOLVED, "aa").finished
    assert (tmp_path / "history.jsonl").read_text() == "{}\n"
    (tmp_path / "metrics.json").write_text("{}")
    assert claim(tmp_path, RESOLVED, "aa").finished


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    claim(tmp_path, RESOLVED, "aa")
    message = "holds the run of another recipe (recipe.yaml differs); choose another --out"
    assert refused(tmp_path, OTHER) == message


def test_other_data_is_refused(tmp_path: Path) -> None:
    claim(tmp_path, RESOLVED, "aa")
    message = (
        "was begun on other data or with another model handed over (its fingerprint differs); choose another --out"
    )
    assert refused(tmp_path, fingerprint="bb") == message


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "recipe.yaml", "model/config.json", ".manifest.json.bak"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    assert refused(tmp_path) == "holds files that are not a run of embertune; choose another --out"


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert refused(tmp_path / "out") == "is a file; choose a folder for --out"
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert refused(tmp_path / "file" / "out") == "cannot be written (Not a directory); choose another --out"


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    claim(tmp_path, RESOLVED, "aa")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"manifest.json: cannot be read as JSON; choose another --out"):
        claim(tmp_path, RESOLVED, "aa")


def test_a_folder_whose_claim_was_killed_half_way_is_claimed_again(tmp_path: Path) -> None:
    (tmp_path / ".manifest.json.a1b2c3d4").write_text('{"finger')
    claim(tmp_path, RESOLVED, "aa")
    assert names(tmp_path) == ["manifest.json", "recipe.yaml"]
    (tmp_path / "recipe.yaml").unlink()
    (tmp_path / ".recipe.yaml._1b2c3d4").write_text("model:")
    claim(tmp_path, RESOLVED, "aa")
    assert names(tmp_path) == ["manifest.json", "recipe.yaml"]


def test_what_was_measured_is_kept_from_the_first_moment_on(tmp_path: Path) -> None:
    measured = {"train.epochs": Measured(2, "two took a second", {"seconds": 1.0}, "a machine")}
    assert measured_in(tmp_path / "out") == {}
    claim(tmp_path / "out", replace_resolved(measured), "aa")
    assert measured_in(tmp_path / "out") == measured


@pytest.mark.parametrize("text", ["[]", '{"measured": 3}', '{"measured": {"train.epochs": {"value": 1, "why": ""}}}'])
def test_a_manifest_of_something_else_says_nothing_about_measurements(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"manifest.json: does not say what was measured in a way that can be"):
        measured_in(tmp_path)


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_the_next_claim_removes(tmp_path: Path) -> None:
    claim(tmp_path, RESOLVED, "aa")
    write_text(tmp_path / "audit.json", "old")
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom embertune.rundir import write_atomically\n"
        "def write(file):\n    file.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(Path(sys.argv[1]), write)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "audit.json")], check=False)
    assert done.returncode == -9
    assert (tmp_path / "audit.json").read_text() == "old"
    assert len(names(tmp_path)) == 4
    claim(tmp_path, RESOLVED, "aa")
    assert names(tmp_path) == ["audit.json", "manifest.json", "recipe.yaml"]


def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    write_text(path, "old")

    def write(file: Path) -> None:
        file.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["audit.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_what_to_do_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError) as caught:
        write_text(tmp_path / "audit.json", "new")
    assert str(caught.value) == (
        f"{tmp_path / 'audit.json'}: no space left on the disk; make room and run the same command again"
    )
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_device_that_is_really_full_is_told_the_same_way() -> None:
    with pytest.raises(RunFolderError, match="no space left on the disk"), told_plainly(Path("/dev/full")):
        Path("/dev/full").write_text("x")


def test_any_other_failure_passes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), told_plainly(tmp_path):
        (tmp_path / "none").read_text()
    with pytest.raises(ValueError, match="mine"), told_plainly(tmp_path):
        raise ValueError("mine")


def test_numbers_that_json_does_not_have_are_written_as_null(tmp_path: Path) -> None:
    record = {"a": math.nan, "b": [1.5, -math.inf], "c": {"d": (math.inf,)}, 4: "é"}
    assert finite(record) == {"a": None, "b": [1.5, None], "c": {"d": [None]}, "4": "é"}
    write_json(tmp_path / "x.json", record)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == finite(record)
    assert "é" in text
    assert text.endswith("\n")
