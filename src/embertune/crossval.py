"""Cross-validation: every row is test once. A map over recipes: each fold is an ordinary run in a folder of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

from embertune.errors import Problem, RecipeError, RunFolderError
from embertune.evaluate.folds import Crossed, crossed
from embertune.recipe import Recipe, replace
from embertune.recipe.guarding import ON_DEV
from embertune.recipe.sections import Shape
from embertune.report.facts import Facts
from embertune.report.folds import Fold, to_markdown
from embertune.report.kept import read_facts
from embertune.run import run
from embertune.rundir import METRICS, REPORT_MD, finite, measured_in, write_json, write_text
from embertune.watch import Silent, Watcher

#: Leaves that are decided by what is free at the moment, and of no weight for what is learnt.
_OF_THE_MOMENT = "train.chunk"
_FINAL = "final"
_OURS = re.compile(rf"fold-\d+-of-\d+|{_FINAL}|\.?({re.escape(METRICS)}|{re.escape(REPORT_MD)})(\.[a-z0-9_]{{8}})?")


@dataclass(frozen=True)
class CrossValidated:
    """The folds of a recipe in the folder `out`, and what they say together.

    `steps` is the median of the folds' best steps, 0 where the untouched model was best in most. `final` is the folder
    of the model that was trained so long on all rows, None where none was asked for or none is worth it.
    """

    out: Path
    folds: tuple[Fold, ...]
    together: Crossed
    steps: int
    final: Path | None = None

    @property
    def report(self) -> Path:
        """The joint report; each fold's own is in its folder."""
        return self.out / REPORT_MD

    def as_record(self) -> dict[str, Any]:
        """What metrics.json and `--json` hold."""
        more = {"steps": self.steps, "final": self.final and str(self.final), "folds": [asdict(f) for f in self.folds]}
        record: dict[str, Any] = finite({**self.together.as_record(), **more})
        return record


def cross_validate(
    recipe: Recipe,
    out: str | Path,
    folds: int = 5,
    *,
    final: bool = False,
    rows: Mapping[str, Any] | None = None,
    watch: Watcher | None = None,
) -> CrossValidated:
    """Train `recipe` once for each fold of its training rows, and measure each on its fold, which it has not seen.

    Folds keep groups whole and classes, labels and scores in proportion; each run holds a dev set out of its own rows
    and stops by it. With `final`, one more model is trained on all rows, for the median of the best steps, without dev
    or test. The same call again goes on where it stopped. `rows` are handed over as to `run`: `{"train": …}`.
    Raises `EmbertuneError` for all that a user can put right: more folds than groups, a folder with anything else.
    """
    out, watch = Path(out), watch or Silent()
    if folds < 2:
        raise RecipeError(Problem("folds", f"found {folds}", "ask for at least 2"), "crossval")
    recipes = {number: replace(recipe, {"data.fold": f"{number} of {folds}"}) for number in range(1, folds + 1)}
    _check(out, folds)
    known: dict[str, Any] = {}
    for number, asked in recipes.items():
        watch.stage("fold", f"{number} of {folds}")
        folder = _folder(out, number, folds)
        run(replace(asked, known), folder, watch=watch, **(rows or {}))
        known = known or {path: one.value for path, one in measured_in(folder).items() if path != _OF_THE_MOMENT}
    facts = {number: read_facts(_folder(out, number, folds)) for number in recipes}
    steps = math.ceil(median(one.best_step for one in facts.values()))
    kept = None
    if final and steps:
        watch.stage("final", f"all rows, {steps:,} steps, the median of the folds' best")
        kept = run(replace(on_all_rows(recipe, steps), known), out / _FINAL, watch=watch, **(rows or {})).model
    found = _joined(out, facts, steps, kept)
    write_text(out / REPORT_MD, to_markdown(found.together, found.folds, steps, _FINAL if kept else ""))
    write_json(out / METRICS, found.as_record())
    return found


def on_all_rows(recipe: Recipe, steps: int) -> Recipe:
    """The recipe without dev and test, for so many steps: what steers by dev is out of it."""
    nothing: dict[str, Any] = {f"guard.{name}": None for name in ON_DEV}
    nothing |= {"guard.on_overfit": "stop", "guard.remedies": None, "evaluate.primary": "auto"}
    keep = recipe.train.keep_general
    nothing |= {"train.keep_general": keep if isinstance(keep, float) else None}
    sides = {"data.dev": "none", "data.test": "none", "data.fold": None}
    return replace(recipe, {**nothing, **sides, "train.epochs": None, "train.max_steps": steps})


def _folder(out: Path, number: int, folds: int) -> Path:
    return out / f"fold-{number}-of-{folds}"


def _check(out: Path, folds: int) -> None:
    """RunFolderError where `out` holds anything but folds of as many."""
    if not out.is_dir():
        return  # the first run says what is wrong with a file
    for name in sorted(path.name for path in out.iterdir()):
        other = name.startswith("fold-") and not name.endswith(f"-of-{folds}")
        if other or not _OURS.fullmatch(name):
            found = f"holds {name}, which is not of a cross-validation with {folds} folds"
            raise RunFolderError(str(out), found, "choose another --out")


def _joined(out: Path, facts: Mapping[int, Facts], steps: int, final: Path | None) -> CrossValidated:
    """What finished folds come to."""
    first = facts[1]
    metric = first.proof.primary or ""
    tests = [side for side in first.sides if side.role == "test" and metric.startswith(f"{side.name}_")]
    test = max(tests, key=lambda side: len(side.name))
    found = crossed([one.proof for one in facts.values()], test.name, cast(Shape, test.shape))
    return CrossValidated(out, tuple(_fold(number, one) for number, one in facts.items()), found, steps, final)


def _fold(number: int, facts: Facts) -> Fold:
    proof = facts.proof
    assert proof.primary is not None
    assert proof.counts is not None
    values = (proof.baseline[proof.primary], proof.tuned[proof.primary], proof.change[proof.primary])
    return Fold(number, proof.counts.items, *values, facts.choice.chosen, facts.best_step, facts.steps)
