"""Cross-validation: every row is test once. A map over recipes: each fold is an ordinary run in a folder of its own."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

from embertune.data.keyed import named
from embertune.data.prepare import prepare
from embertune.dryrun import Preview, dry_run
from embertune.errors import Problem, RecipeError, RunFolderError
from embertune.evaluate.folds import Crossed, Growth, crossed, growth
from embertune.recipe import Recipe, replace
from embertune.recipe.guarding import ON_DEV
from embertune.recipe.sections import Shape
from embertune.report.facts import Facts
from embertune.report.folds import Fold, to_markdown
from embertune.report.kept import read_facts
from embertune.report.several import folds_page
from embertune.run import run
from embertune.rundir import METRICS, REPORT_HTML, REPORT_MD, finite, write_json, write_text
from embertune.several import WRITTEN, run_all, test_of
from embertune.watch import Silent, Watcher

_FINAL = "final"
#: The parts of the training rows that a learning curve has beside all of them.
SHARES = (0.1, 0.3)
_OURS = re.compile(rf"fold-\d+-of-(?P<folds>\d+)(-rows-\d+)?|{_FINAL}|{WRITTEN}")


@dataclass(frozen=True)
class CrossValidated:
    """The folds of a recipe in the folder `out`, and what they say together.

    `steps` is the median of the folds' best steps, 0 where the untouched model was best in most. `final` is the folder
    of the model that was trained so long on all rows, None where none was asked for or none is worth it. `growth` is
    the learning curve, where one was asked for.
    """

    out: Path
    folds: tuple[Fold, ...]
    together: Crossed
    steps: int
    final: Path | None = None
    growth: Growth | None = None

    @property
    def report(self) -> Path:
        """The joint page, the same as text beside it; each fold's own is in its folder."""
        return self.out / REPORT_HTML

    def as_record(self) -> dict[str, Any]:
        """What metrics.json and `--json` hold."""
        grown = asdict(self.growth) if self.growth else None
        more = {"steps": self.steps, "final": self.final and str(self.final), "learning_curve": grown}
        folds = [asdict(one) for one in self.folds]
        record: dict[str, Any] = finite({**self.together.as_record(), **more, "folds": folds})
        return record


def cross_validate(  # noqa: PLR0913 a public entry: what is asked for beside the recipe is named
    recipe: Recipe,
    out: str | Path,
    folds: int = 5,
    *,
    final: bool = False,
    learning_curve: bool = False,
    rows: Mapping[str, Any] | None = None,
    watch: Watcher | None = None,
) -> CrossValidated:
    """Train `recipe` once for each fold of its training rows, and measure each on its fold, which it has not seen.

    Folds keep groups whole and classes, labels and scores in proportion; each run holds a dev set out of its own rows
    and stops by it. With `learning_curve`, each fold is trained on a tenth and three tenths of its rows as well, so
    that it can be said whether more would help. With `final`, one more model is trained on all rows, for the median of
    the best steps, without dev or test. The same call again goes on where it stopped. `rows` are handed over as to
    `run`: `{"train": …}`.
    Raises `EmbertuneError` for all that a user can put right: more folds than groups, a folder with anything else.
    """
    out, watch = Path(out), watch or Silent()
    if problems := list(_problems(recipe, folds, learning_curve=learning_curve)):
        raise RecipeError(problems, "crossval")
    _check(out, folds)
    recipes = recipes_of(recipe, folds, SHARES if learning_curve else ())
    known = run_all("fold", recipes, out, rows, watch)
    facts = {name: read_facts(out / name) for name in recipes}
    whole = [facts[name_of(number, folds)] for number in range(1, folds + 1)]
    steps = math.ceil(median(one.best_step for one in whole))
    kept = None
    if final and steps:
        watch.stage("final", f"all rows, {steps:,} steps, the median of the folds' best")
        kept = run(replace(on_all_rows(recipe, steps), known), out / _FINAL, watch=watch, **(rows or {})).model
    grown = _growth(facts, folds) if learning_curve else None
    found = dataclasses.replace(_joined(out, whole, steps), final=kept, growth=grown)
    told = (found.together, found.folds, steps, _FINAL if kept else "", grown)
    write_text(out / REPORT_MD, to_markdown(*told))
    write_text(out / REPORT_HTML, folds_page(*told))
    write_json(out / METRICS, found.as_record())
    return found


def foresee(
    recipe: Recipe, folds: int = 5, *, final: bool = False, learning_curve: bool = False, watch: Watcher | None = None
) -> Preview:
    """What `cross_validate` would do: the rows of every run, and an estimate of all from the first fold.

    The final model is taken to train as long as a fold does. Nothing is written but tokens.
    """
    if problems := list(_problems(recipe, folds, learning_curve=learning_curve)):
        raise RecipeError(problems, "crossval")
    shares = SHARES if learning_curve else ()
    recipes = recipes_of(recipe, folds, shares)
    rows = {name: {side: len(held) for side, held in named(prepare(one).sides)} for name, one in recipes.items()}
    *parts, whole = [dry_run(recipes[name_of(1, folds, share)], watch or Silent()) for share in (*shares, None)]
    each = [one.estimate for one in (*parts, whole)]
    more = whole.estimate if final else None
    seconds, disk = (sum(getattr(one, of) for one in each) for of in ("seconds", "disk"))
    together = dataclasses.replace(
        whole.estimate,
        seconds=folds * seconds + (more.seconds if more else 0.0),
        disk=folds * disk + (more.disk if more else 0.0),
        several=f"{folds} folds{', fewer on parts of their rows' if parts else ''}",
    )
    return dataclasses.replace(whole, estimate=together, runs=rows)


def _problems(recipe: Recipe, folds: int, *, learning_curve: bool) -> Iterator[Problem]:
    """What of a recipe cannot be, where every row is to be test once."""
    data = recipe.data
    if folds < 2:
        yield Problem("folds", f"found {folds}", "ask for at least 2")
    if data.test != "auto":
        yield Problem("data.test", f"found {data.test}, and each fold is the test set of a run", "leave it out")
    if not recipe.evaluate.test:
        yield Problem("evaluate.test", "found false, and each fold is measured on its rows", "leave it out")
    if data.fold is not None:
        yield Problem("data.fold", f"found {data.fold}, and all folds are run", "leave it out")
    if learning_curve and data.subset is not None:
        found = f"found {data.subset}, and a learning curve trains on parts of its own"
        yield Problem("data.subset", found, "leave one of them out")


def recipes_of(recipe: Recipe, folds: int, shares: Sequence[float]) -> dict[str, Recipe]:
    """By folder: the recipe of each fold, on shares of its training rows first."""
    found: dict[str, Recipe] = {}
    for number in range(1, folds + 1):
        fold = replace(recipe, {"data.fold": f"{number} of {folds}"})
        found |= {name_of(number, folds, share): replace(fold, {"data.subset": share}) for share in shares}
        found[name_of(number, folds)] = fold
    return found


def name_of(number: int, folds: int, share: float | None = None) -> str:
    """`fold-1-of-5`, or `fold-1-of-5-rows-10` for a tenth of its training rows."""
    return f"fold-{number}-of-{folds}" + (f"-rows-{share:.0%}".rstrip("%") if share else "")


def on_all_rows(recipe: Recipe, steps: int) -> Recipe:
    """The recipe without dev and test, for so many steps: what steers by dev is out of it."""
    nothing: dict[str, Any] = {f"guard.{name}": None for name in ON_DEV}
    nothing |= {"guard.on_overfit": "stop", "guard.remedies": None, "evaluate.primary": "auto"}
    keep = recipe.train.keep_general
    nothing |= {"train.keep_general": keep if isinstance(keep, float) else None}
    sides = {"data.dev": "none", "data.test": "none", "data.fold": None}
    return replace(recipe, {**nothing, **sides, "train.epochs": None, "train.max_steps": steps})


def _check(out: Path, folds: int) -> None:
    """RunFolderError where `out` holds anything but folds of as many."""
    if not out.is_dir():
        return  # the first run says what is wrong with a file
    for name in sorted(path.name for path in out.iterdir()):
        ours = _OURS.fullmatch(name)
        if not ours or (ours["folds"] or str(folds)) != str(folds):
            found = f"holds {name}, which is not of a cross-validation with {folds} folds"
            raise RunFolderError(str(out), found, "choose another --out")


def _joined(out: Path, whole: Sequence[Facts], steps: int) -> CrossValidated:
    """What finished folds come to."""
    test = test_of(whole[0])
    assert test is not None
    found = crossed([one.proof for one in whole], test.name, cast(Shape, test.shape))
    return CrossValidated(out, tuple(_fold(number, one) for number, one in enumerate(whole, 1)), found, steps)


def _growth(facts: Mapping[str, Facts], folds: int) -> Growth:
    """The learning curve of finished folds."""
    made = [[facts[name_of(number, folds, share)] for share in (*SHARES, None)] for number in range(1, folds + 1)]
    rows = [[next(side.rows for side in one.sides if side.role == "train") for one in of] for of in made]
    return growth(rows, [[one.proof.tuned[one.proof.primary or ""] for one in of] for of in made])


def _fold(number: int, facts: Facts) -> Fold:
    proof = facts.proof
    assert proof.primary is not None
    assert proof.counts is not None
    values = (proof.baseline[proof.primary], proof.tuned[proof.primary], proof.change[proof.primary])
    return Fold(number, proof.counts.items, *values, facts.choice.chosen, facts.best_step, facts.steps)
