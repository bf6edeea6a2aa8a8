"""A disk that is full in every phase of a run: one message, what was there stays, and it goes on once there is room.

`python prove/full_disk.py` takes some minutes and writes prove/results/full_disk.json. Each run has its folder, or its
cache, on a small disk of its own (a tmpfs in a namespace of this process: `unshare --map-root-user --mount`, no
privileges needed), which a file fills up at some moment. Then the file is removed and the same run goes on; its weights
must be those of the run left alone. `python prove/full_disk.py model` tries the named phases only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tiny model and the toy rows are those of the tests

from embertune.caches import placed  # noqa: E402
from embertune.errors import EmbertuneError  # noqa: E402
from embertune.manifest import versions  # noqa: E402
from embertune.recipe import load_recipe  # noqa: E402
from embertune.run import run  # noqa: E402
from embertune.training.checkpoint import Checkpoints  # noqa: E402
from embertune.watch import Progress, Silent  # noqa: E402
from tests import tiny  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "full_disk.json"
INSIDE = "EMBERTUNE_INSIDE"
SIZE, PAGE = 2**24, 2**12
SETTINGS: dict[str, Any] = {
    "train.max_steps": 12,
    "train.batch_size": 8,
    "train.precision": "float32",
    "train.save_every": "4 steps",
    "train.freeze": 1,
    "train.prefix_cache": "float16",
    "guard.eval_every": "3 steps",
    "guard.patience": None,
    "data.dev": 0.2,
    "data.test": 0.2,
}


@dataclass(frozen=True)
class Case:
    """When the disk fills up, at the beginning of a stage or after a step, and how many bytes are left on it then.

    `of_model` and `of_reports` say that besides so much is left as they take. Full is the disk of the run's folder, or
    with `cache` that of the cache, without which a run may well go on.
    """

    moment: str | int
    left: int = 0
    of_model: bool = False
    of_reports: bool = False
    cache: bool = False


CASES: dict[str, Case] = {
    "claim": Case("data"),
    "manifest": Case("audit"),
    "history": Case(6),
    "checkpoint": Case(7, 8 * PAGE),
    "checkpoint of the last step": Case(11, 8 * PAGE),
    "model": Case("measure", 8 * PAGE),
    "report": Case("save", 2 * PAGE, of_model=True),
    "metrics": Case("save", 2 * PAGE, of_model=True, of_reports=True),
    "rows": Case("data", cache=True),
    "tokens": Case("model", cache=True),
    "states of frozen layers": Case("train", cache=True),
}


class Fills(Silent):
    """Fills a disk at the moment of a case."""

    def __init__(self, case: Case, disk: Path, left: int) -> None:
        self.case, self.disk, self.left = case, disk, left
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def stage(self, name: str, detail: str = "") -> None:  # noqa: ARG002 the watcher's signature
        self._at(name)

    def step(self, progress: Progress) -> None:
        self._at(progress.step)

    def _at(self, moment: str | int) -> None:
        if moment == self.case.moment:
            fill(self.disk, self.left)


def fill(disk: Path, left: int) -> None:
    """Leave so many bytes on the disk."""
    free = shutil.disk_usage(disk).free
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(PAGE, free - left))


def tried(name: str, settings: Mapping[str, Any], work: Path, alone: Mapping[str, Any]) -> dict[str, Any]:
    """One case: what was said, what was left, and how it went on."""
    case, disk = CASES[name], work / "disk"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=True)
    try:
        out = (work if case.cache else disk) / "out"
        cache = (disk if case.cache else work) / "cache"
        left = case.left + case.of_model * alone["model"] + case.of_reports * alone["reports"]
        watch = Fills(case, disk, left)
        with placed(str(cache)):
            message = said(lambda: run(load_recipe(set=settings), out, watch=watch))
            kept = Checkpoints(out / "checkpoints", 2, 1).newest()
            (disk / "filler").unlink()
            again = said(lambda: run(load_recipe(set=settings), out))
        record = {
            "message": message.replace(str(work), "…"),
            "kept": kept.source,
            "damaged": list(kept.passed_over),
            "again": again,
            "same": not again and weights(out) == alone["weights"],
        }
        shutil.rmtree(out, ignore_errors=True)
        return record
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def said(call: Callable[[], object]) -> str:
    """The message with which it ends; '' where it does not fail. Anything but a plain message is told with its type."""
    try:
        call()
    except EmbertuneError as error:
        return str(error)
    except Exception as error:  # what must not happen, and is reported
        return f"{type(error).__name__}: {error}"
    return ""


def weights(out: Path) -> str:
    """A sum of the weights that were saved."""
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


def size(*paths: Path) -> int:
    """Bytes on a disk of whole pages."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return sum(-(-file.stat().st_size // PAGE) * PAGE for file in files)


def main() -> None:
    """Every case, inside a namespace in which this process may mount."""
    if INSIDE not in os.environ:
        command = ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv]
        raise SystemExit(subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode)
    names = sys.argv[1:] or list(CASES)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "disk").mkdir()
        tiny.make_model(tiny.make_encoder(work / "encoder"), work / "model")
        rows = tiny.write_jsonl(work / "pairs.jsonl", tiny.toy_pairs(80))
        settings = {**SETTINGS, "model.name": str(work / "model"), "data.train": str(rows)}
        with placed(str(work / "first")):
            run(load_recipe(set=settings), work / "alone")
        out = work / "alone"
        alone = {"weights": weights(out), "model": size(out / "model"), "reports": size(*out.glob("report.*"))}
        records = {}
        for name in names:
            records[name] = tried(name, settings, work, alone)
            print(f"{name}: {json.dumps(records[name])}", flush=True)
    bad = [name for name, one in records.items() if not one["same"] or one["damaged"] or not plain(name, one)]
    if len(names) == len(CASES):
        RESULTS.write_text(json.dumps({"cases": records, "versions": versions()}, indent=1) + "\n", encoding="utf-8")
    if bad:
        raise SystemExit(f"not as it should be: {', '.join(bad)}")


def plain(name: str, record: Mapping[str, Any]) -> bool:
    """Whether it ended with one line that says what to do; without room in the cache alone it need not end at all."""
    message = record["message"]
    told = "\n" not in message and "space" in message and "; " in message
    return told or (CASES[name].cache and not message)


if __name__ == "__main__":
    main()
