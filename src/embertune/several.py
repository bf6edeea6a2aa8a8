"""Several ordinary runs, one after the other, each in a folder of its own: what seeds and folds have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embertune.recipe import Recipe, replace
from embertune.report.facts import Facts, Side
from embertune.run import run
from embertune.rundir import METRICS, REPORT_HTML, REPORT_MD, measured_in
from embertune.watch import Watcher

#: What a map over runs writes beside their folders, whole or under the name of a file that is being written.
WRITTEN = rf"\.?({'|'.join(map(re.escape, (METRICS, REPORT_MD, REPORT_HTML)))})(\.[a-z0-9_]{{8}})?"
#: Decided by what is free at the moment, and of no weight for what is learnt.
_OF_THE_MOMENT = "train.chunk"


def run_all(
    what: str, recipes: Mapping[str, Recipe], out: Path, rows: Mapping[str, Any] | None, watch: Watcher
) -> dict[str, Any]:
    """Run each recipe in the folder of its name in `out`; what is finished is read, what is not goes on.

    `what` is the stage that is told of each. `rows` are handed over as to `run`, by side.

    What the first measured on this machine, such as its precision, holds for the others and is given back, by leaf.
    """
    known: dict[str, Any] = {}
    for place, (name, asked) in enumerate(recipes.items(), start=1):
        watch.stage(what, f"{name} ({place} of {len(recipes)})")
        run(replace(asked, known), out / name, watch=watch, **(rows or {}))
        known = known or {path: one.value for path, one in measured_in(out / name).items() if path != _OF_THE_MOMENT}
    return known


def test_of(facts: Facts) -> Side | None:
    """The test set that has the primary metric (the part, where that is of a part); None without a test."""
    metric = facts.proof.primary or ""
    tests = [side for side in facts.sides if side.role == "test" and metric.startswith(f"{side.name}_")]
    return max(tests, key=lambda side: len(side.name), default=None)
