"""`embertune report`: the reports of a finished run drawn again, or several runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embertune.errors import Problem, RecipeError
from embertune.evaluate.bootstrap import Change
from embertune.report import write
from embertune.report.kept import read_facts
from embertune.rundir import MANIFEST, REPORT_HTML, finite, read_json, told_plainly


@dataclass(frozen=True)
class Line:
    """A run beside others: what the verdict rests on, what was saved, steps, seconds; `kept` by retention set."""

    run: str
    base_model: str
    verdict: str
    metric: str
    baseline: float
    tuned: float
    change: Change | None
    chosen: str
    steps: int
    seconds: float
    kept: dict[str, str]


@dataclass(frozen=True)
class Compared:
    """Several runs. `apart` says why their figures cannot be held against each other; empty where they can."""

    lines: tuple[Line, ...]
    apart: str = ""

    def as_record(self) -> dict[str, Any]:
        """What `--json` prints."""
        record: dict[str, Any] = finite(asdict(self))
        return record


def redraw(folder: Path) -> Path:
    """Draw report.md and report.html of a finished run again, and give the latter. RunFolderError where it is none."""
    facts = read_facts(folder)
    with told_plainly(folder):
        write(facts, folder)
    return folder / REPORT_HTML


def compare(folders: Sequence[Path]) -> Compared:
    """Finished runs side by side, in the order in which they are named."""
    if again := next((folder for place, folder in enumerate(folders) if folder in folders[:place]), None):
        raise RecipeError(Problem("report", f"{again} is named twice", "name each run once"))
    lines = tuple(map(_line, folders))
    if len({line.metric for line in lines}) > 1:
        return Compared(lines, "they were judged by different metrics")
    if len(set(map(_tests, folders))) > 1:
        return Compared(lines, "they were measured on different test rows")
    return Compared(lines)


def _line(folder: Path) -> Line:
    facts = read_facts(folder)
    proof, primary = facts.proof, facts.proof.primary or ""
    nothing = float("nan")
    return Line(
        str(folder),
        facts.base_model,
        proof.verdict,
        primary,
        proof.baseline.get(primary, nothing),
        proof.tuned.get(primary, nothing),
        proof.change.get(primary),
        facts.choice.chosen,
        facts.steps,
        sum(facts.timing.values()),
        {one.name: one.word for one in proof.retention},
    )


def _tests(folder: Path) -> tuple[tuple[str, str], ...]:
    """What the run was tested on: rows of its own by their sum, or a part of the training file by recipe and seed."""
    record = read_json(folder / MANIFEST)
    prints = {name: str(found["sha256"]) for name, found in record["data"].items() if name.startswith("test")}
    held_out = {} if prints else {"train": str(record["data"]["train"]["sha256"]), "seed": str(record["seed"])}
    return tuple(sorted((prints or held_out).items()))
