"""One recipe trained with several seeds: `embertune run --seeds`. A map over recipes: each is an ordinary run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from embertune.errors import RunFolderError
from embertune.evaluate.bootstrap import Change
from embertune.evaluate.seeds import Joint, joint
from embertune.recipe import Recipe
from embertune.recipe.sections import Shape
from embertune.recipe.seeding import seeded
from embertune.report.facts import Facts
from embertune.report.kept import read_facts
from embertune.report.seeds import Seed, to_markdown
from embertune.report.several import seeds_page
from embertune.report.story import story
from embertune.rundir import METRICS, MODEL, REPORT_HTML, REPORT_MD, finite, write_json, write_text
from embertune.several import WRITTEN, run_all, test_of
from embertune.watch import Silent, Watcher

_FOLDER = "seed-{}"
_OURS = re.compile(rf"seed-\d+|{WRITTEN}")


@dataclass(frozen=True)
class Seeded:
    """Several seeds of one recipe, in the folder `out`: what each came to, and what they say together.

    `recommended` is the seed that is best on dev, None without dev; `why` says so. No seed is chosen by test.
    """

    out: Path
    seeds: tuple[Seed, ...]
    joint: Joint
    recommended: int | None
    why: str

    @property
    def model(self) -> Path | None:
        """The folder of the recommended model."""
        return None if self.recommended is None else self.out / _FOLDER.format(self.recommended) / MODEL

    @property
    def report(self) -> Path:
        """The joint page, the same as text beside it; each seed's own is in its folder."""
        return self.out / REPORT_HTML

    def as_record(self) -> dict[str, Any]:
        """What metrics.json and `--json` hold."""
        named = {"recommended": self.recommended, "why": self.why, "model": self.model and str(self.model)}
        seeds = [asdict(one) for one in self.seeds]
        record: dict[str, Any] = finite({**self.joint.as_record(), **named, "seeds": seeds})
        return record


def run_seeds(
    recipe: Recipe,
    out: str | Path,
    seeds: int = 3,
    *,
    rows: Mapping[str, Any] | None = None,
    watch: Watcher | None = None,
) -> Seeded:
    """Train `recipe` with so many seeds, from `train.seed` upwards, and say what they come to together.

    Each is a run of its own in `out/seed-S`, with the same splits and test rows. The same call again goes on where it
    stopped; a larger number adds seeds. `rows` are handed over as to `run`, by side: `{"train": …, "test": …}`.
    What the first seed's run measured on this machine, such as its precision, holds for the others.
    Raises `EmbertuneError` for all that a user can put right, also where `out` holds more seeds or anything else.
    """
    out, watch = Path(out), watch or Silent()
    recipes = seeded(recipe, seeds)
    _check(out, list(recipes))
    run_all("seed", {_FOLDER.format(number): asked for number, asked in recipes.items()}, out, rows, watch)
    found = _joined(out, list(recipes))
    write_text(out / REPORT_MD, to_markdown(found.joint, found.seeds, found.why))
    write_text(out / REPORT_HTML, seeds_page(found.joint, found.seeds, found.why))
    write_json(out / METRICS, found.as_record())
    return found


def _check(out: Path, numbers: Sequence[int]) -> None:
    """RunFolderError where `out` holds anything but some of these seeds."""
    if not out.is_dir():
        return  # the first run says what is wrong with a file
    names = sorted(path.name for path in out.iterdir())
    if strange := [name for name in names if not _OURS.fullmatch(name)]:
        found = f"holds {strange[0]}, which is not of a run with several seeds"
        raise RunFolderError(str(out), found, "choose another --out")
    wanted = {_FOLDER.format(number) for number in numbers}
    if more := [name for name in names if name.startswith("seed-") and name not in wanted]:
        found = f"holds {more[0]}, which is not asked for; to leave out a seed that was seen would be a choice"
        raise RunFolderError(str(out), found, "ask for as many seeds as there are or more, or choose another --out")


def _joined(out: Path, numbers: Sequence[int]) -> Seeded:
    """What finished runs come to, read from what they keep."""
    facts = {number: read_facts(out / _FOLDER.format(number)) for number in numbers}
    first = facts[numbers[0]]
    test = test_of(first)
    proofs = [one.proof for one in facts.values()]
    found = joint(proofs, test.name if test else "", cast(Shape, test.shape) if test else "pairs")
    seeds = tuple(_seed(number, one) for number, one in facts.items())
    dev = {one.number: one.dev for one in seeds if math.isfinite(one.dev)}
    if first.metric is None or not dev:
        return Seeded(out, seeds, found, None, "no dev rows: nothing says which seed to take")
    lower = story(first.history, first.metric).lower
    best = (min if lower else max)(dev, key=lambda number: dev[number])
    return Seeded(out, seeds, found, best, f"seed {best} has the best {first.metric} on dev, {dev[best]:.4f}")


def _seed(number: int, facts: Facts) -> Seed:
    proof, nothing = facts.proof, float("nan")
    primary = proof.primary or ""
    undefined = Change(nothing, nothing, nothing, nothing, 0)
    change, tuned = proof.change.get(primary, undefined), proof.tuned.get(primary, nothing)
    return Seed(number, proof.verdict, tuned, change, facts.choice.chosen, _dev(facts), facts.steps)


def _dev(facts: Facts) -> float:
    """What dev says of the state that was saved (of a fixed mixture: of its trained part); NaN without dev."""
    chosen = facts.choice.chosen
    if (tried := next((one.dev for one in facts.choice.candidates if one.name == chosen), None)) is not None:
        return tried
    step = 0 if chosen == "base" else facts.best_step
    values = (look.value for look in story(facts.history, facts.metric).looks if look.step == step)
    return next((value for value in values if value is not None), float("nan"))
