"""Search for settings: short trials on some of the rows, the best of them on all rows, the winner on test.

A map over recipes: each trial and each run on all rows is an ordinary run in a folder of its own.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from embertune.apart import Worker
from embertune.confirm import (
    BEST,
    DEFAULTS,
    Gain,
    best_of,
    forget_losers,
    jobs_of,
    make_runs,
    model_of,
    on_dev,
    on_test,
    wanted,
    without_model,
)
from embertune.dryrun import Preview, dry_run
from embertune.engine.published import locked
from embertune.errors import Problem, RecipeError, RunFolderError
from embertune.plan import inputs, read
from embertune.recipe import Recipe
from embertune.recipe import replace as vary
from embertune.recipe.explain import to_yaml
from embertune.recipe.measured import Measured, as_record, from_record
from embertune.recipe.space import with_point
from embertune.report.search import to_html, to_markdown
from embertune.report.settings import in_a_line
from embertune.report.tried import Candidate, Searched, Tried
from embertune.rundir import (
    FACTS,
    MANIFEST,
    METRICS,
    RECIPE,
    REPORT_HTML,
    REPORT_MD,
    Asked,
    finite,
    read_json,
    told_plainly,
    write_json,
    write_text,
)
from embertune.study import Study
from embertune.trials import Ground, Stop, base_of, ground_of, make_trial, refuse_failures, trial_recipe, unread
from embertune.watch import Silent, Watcher

#: Seconds until trials of others are looked at again.
_WAIT = 1.0
_READER = TypeAdapter(Searched)
#: Held by the one process that begins or ends a search.
_FINISH = "finish.lock"
#: What a search of which nothing but its manifest was being written leaves when it is killed.
_HALF = re.compile(rf"\.{re.escape(MANIFEST)}\.[a-z0-9_]{{8}}")


@dataclass(frozen=True)
class Found:
    """A search in the folder `out`: what it came to, the winner as a recipe and as a model."""

    out: Path
    searched: Searched
    model: Path

    @property
    def recipe(self) -> Path:
        """The winner's settings, as a recipe that can be run."""
        return self.out / RECIPE

    @property
    def report(self) -> Path:
        """The page; the same as text is beside it."""
        return self.out / REPORT_HTML

    def as_record(self) -> dict[str, Any]:
        """What metrics.json and `--json` hold."""
        record: dict[str, Any] = finite({**asdict(self.searched), "model": str(self.model)})
        return record


def search(  # noqa: PLR0913 a public entry: what is asked for beside the recipe is named
    recipe: Recipe,
    out: str | Path,
    trials: int = 20,
    *,
    seeds: int = 3,
    processes: int = 1,
    hours: float | None = None,
    watch: Watcher | None = None,
) -> Found:
    """Look for better settings of `recipe` on dev, and prove on test what they gain over the defaults.

    Up to so many `trials` are made on some of the rows (`search.rows`), within `search.space`; the best three, and the
    defaults, are then trained on all rows with so many `seeds`, from `train.seed` upwards. The winner on dev is
    measured on test beside the defaults. Runs are made in processes of their own, so many at a time as `processes`
    says, and the same call from other processes, also on other machines that share the folder, works on the same
    search. After `hours` no trial is begun but the first ones. The same call again goes on where it stopped; more
    trials go on from those there are. With one process, the same recipe, rows and seed lead to the same winner.
    Raises `EmbertuneError` for all that a user can put right.
    """
    out, watch = Path(out), watch or Silent()
    if problems := _problems(trials, seeds, processes, hours):
        raise RecipeError(problems, "search")
    data = read(vary(recipe, {"search": None}), None, watch)
    asked = Asked(recipe, inputs(data, None))
    ground = ground_of(recipe, data, _known(out, asked), watch)
    if (binding := _claim(out, asked, ground)) != ground.measured:
        ground = ground_of(recipe, data, binding, watch)  # another process was first
    study = Study(out, recipe.seed)
    watch.stage("search", f"{trials} trials on {ground.rows or ground.of:,} of {ground.of:,} rows ({ground.why})")
    _make_trials(study, ground, trials, processes, hours, watch)
    candidates = wanted(study.tried())
    jobs = jobs_of(candidates, ground, out, seeds)
    _side_by_side(processes, lambda worker, stop: make_runs(jobs, worker, stop, watch))
    with told_plainly(out):
        lock = locked(out / _FINISH, alone=True)  # of several processes one reads test, others what it found
    assert lock is not None
    try:
        confirmed = on_dev(candidates, jobs, ground, watch)
        winner = best_of(confirmed)
        lost = without_model(winner, jobs)
        _side_by_side(processes, lambda worker, stop: make_runs(lost, worker, stop, watch))
        gain = _measured_before(out, winner, confirmed) or on_test(winner, jobs, ground, watch)
        found = Found(out, _told(study, ground, confirmed, winner, gain), model_of(winner, ground, out))
        _keep(found)
        forget_losers(confirmed, winner, out)
        if study.all_ended():
            _tidy(out)
    finally:
        lock.release()
    return found


def foresee(recipe: Recipe, trials: int = 20, *, seeds: int = 3, watch: Watcher | None = None) -> Preview:
    """What `search` would do: the space, as notes, the defaults as a trial, and an estimate of all runs.

    The estimate is an upper end: no trial is ended early, and none has fewer passes than the defaults.
    """
    watch = watch or Silent()
    if problems := _problems(trials, seeds, 1, None):
        raise RecipeError(problems, "search")
    ground = ground_of(recipe, read(vary(recipe, {"search": None}), None, watch), {}, watch)
    for one in ground.space.dimensions:
        watch.note(f"{one.setting}: {one}")
    settings = dict(ground.space.first)["defaults"]
    trial = dry_run(trial_recipe(ground, settings), Silent())
    whole = dry_run(unread(with_point(ground.space.base, settings)), Silent())
    each, runs = whole.estimate, (BEST + 1) * seeds
    together = dataclasses.replace(
        trial.estimate,
        seconds=trials * trial.estimate.seconds + runs * each.seconds,
        memory=max(trial.estimate.memory, each.memory),
        disk=runs * each.disk,
        several=f"{trials} trials, and {each.steps:,} for each of {runs} runs on all rows",
    )
    return dataclasses.replace(whole, recipe_yaml=trial.recipe_yaml, estimate=together)


def _problems(trials: int, seeds: int, processes: int, hours: float | None) -> list[Problem]:
    least = {"trials": (trials, 2), "seeds": (seeds, 2), "processes": (processes, 1)}
    found = [
        Problem(name, f"found {value}", f"ask for at least {low}")
        for name, (value, low) in least.items()
        if value < low
    ]
    if hours is not None and not hours > 0:
        found.append(Problem("hours", f"found {hours:g}", "write a number above 0, or leave it out"))
    return found


def _make_trials(study: Study, ground: Ground, most: int, processes: int, hours: float | None, watch: Watcher) -> None:
    """Make trials until there are so many and all have ended, also those of other processes."""
    until = time.monotonic() + 3600 * hours if hours is not None else math.inf

    def make(worker: Worker, stop: Stop) -> None:
        while not stop():
            trial = study.claim(most if time.monotonic() < until else len(ground.space.first), ground.space)
            if trial is not None:
                try:
                    watch.stage("trial", f"{trial.number}: {in_a_line(trial.settings)}")
                    make_trial(ground, study, trial, worker, stop)
                finally:
                    trial.release()
                tried = study.tried()
                watch.note(next((outcome_of(one) for one in tried if one.number == trial.number), "left undone"))
                refuse_failures(tried)
            elif study.all_ended():
                return
            else:
                time.sleep(_WAIT)

    _side_by_side(processes, make)


def _side_by_side(processes: int, work: Callable[[Worker, Stop], None]) -> None:
    """Let so many workers do the same at a time, each with its share of the cores; what one raises ends all."""
    if processes == 1:
        with Worker() as worker:
            return work(worker, lambda: False)
    ended = threading.Event()

    def one() -> None:
        with Worker(threads=max(1, (os.cpu_count() or 1) // processes)) as worker:
            work(worker, ended.is_set)

    with ThreadPoolExecutor(processes) as pool:
        try:
            for done in as_completed([pool.submit(one) for _ in range(processes)]):
                done.result()
        finally:
            ended.set()


def _known(out: Path, asked: Asked) -> dict[str, Measured]:
    """What the search in `out` measured when it began; RunFolderError where `out` holds anything but this search."""
    with told_plainly(out):
        names = [path.name for path in out.iterdir()] if out.is_dir() else []
    if not [name for name in names if name != _FINISH and not _HALF.fullmatch(name)]:
        return {}
    kept = read_json(out / MANIFEST) if MANIFEST in names else {}
    if "search" not in kept:
        raise RunFolderError(str(out), "holds files that are not a search of embertune", "choose another --out")
    if kept["search"] != asked.as_record():
        what = "recipe" if kept["search"].get("recipe") != asked.as_record()["recipe"] else "data"
        found = f"holds a search of another recipe ({what} differs)" if what == "recipe" else "was begun on other data"
        raise RunFolderError(str(out), found, "choose another --out")
    return from_record(kept["measured"])


def _claim(out: Path, asked: Asked, ground: Ground) -> dict[str, Measured]:
    """Make `out` the folder of this search, or find that it is; what was measured when it began."""
    with told_plainly(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = locked(out / _FINISH, alone=True)
    assert lock is not None
    try:
        if not (out / MANIFEST).is_file():
            write_json(out / MANIFEST, {"search": asked.as_record(), "measured": as_record(ground.measured)})
        return _known(out, asked)
    finally:
        lock.release()


def _measured_before(out: Path, winner: Candidate, confirmed: Sequence[Candidate]) -> Gain | None:
    """What was found on test when the same candidates stood, and the same won."""
    if not (out / FACTS).is_file():
        return None
    kept = _READER.validate_python(read_json(out / FACTS))
    if kept.winner != winner.name or kept.over_base is None:
        return None
    same = {one.name: one.dev for one in kept.candidates}
    compared = [one for one in confirmed if one.name in (winner.name, DEFAULTS)]
    return Gain(kept.gain, kept.over_base) if all(same.get(one.name) == one.dev for one in compared) else None


def _told(
    study: Study, ground: Ground, confirmed: Sequence[Candidate], winner: Candidate, gain: Gain | None
) -> Searched:
    """All that the report shows."""
    tried = study.tried()
    answer = answer_of(confirmed, winner, gain)
    ranges = {one.setting: f"{one}: {one.source}" for one in ground.space.dimensions}
    which = (
        f"trial {winner.trial} of {len(tried)}"
        if winner.name != DEFAULTS
        else f"the defaults, beside {len(tried)} trials"
    )
    reasons = {path: f"{which}; tried {ranges[path]}" for path in winner.settings}
    header = f"Found by `embertune search`: {answer}."
    return Searched(
        metric=ground.metric,
        lower=False,
        base=base_of(study, ground),
        space=ranges,
        rows=ground.rows or ground.of,
        of=ground.of,
        tried=tried,
        importance=study.importance(),
        candidates=tuple(confirmed),
        winner=winner.name,
        gain=gain.over_defaults if gain else None,
        over_base=gain.over_base if gain else None,
        answer=answer,
        recipe=to_yaml(with_point(ground.recipe, winner.settings), reasons, header),
    )


def answer_of(confirmed: Sequence[Candidate], winner: Candidate, gain: Gain | None) -> str:
    """What a search came to, in a sentence."""
    defaults = next(one for one in confirmed if one.name == DEFAULTS)
    if winner.name == DEFAULTS:
        best = "the defaults are as good: nothing that was tried on all rows did better than they on dev"
        return f"{best}; they against the untouched model, {gain.over_base.sentence}" if gain else best
    name = f"trial {winner.trial}"
    if gain is None or gain.over_defaults is None:
        dev = f"{name} is best on dev, {winner.mean:.4f} against {defaults.mean:.4f} with the defaults"
        return f"{dev}; without test rows nothing is proven"
    words = {
        "better": f"{name} beats the defaults",
        "worse": "the defaults are better, whatever dev said",
        "too few to tell": f"test is too small to tell {name} from the defaults",
    }
    said = words.get(gain.over_defaults.verdict, "the defaults are as good")
    return f"{said}; {name} against them, {gain.over_defaults.sentence}"


def outcome_of(one: Tried) -> str:
    """How a trial ended, in a line."""
    if one.value is None:
        return f"failed: {one.error}"
    early = f", ended early after {one.looks[-1][0]:.0%}" if one.state == "pruned" else ""
    return f"{one.value:.4f}{early}, {one.seconds:.0f} s"


def _keep(found: Found) -> None:
    """Write what a search came to: the winner's recipe, the reports, and what they are drawn from."""
    searched = found.searched
    for name, text in ((RECIPE, searched.recipe), (REPORT_MD, to_markdown(searched)), (REPORT_HTML, to_html(searched))):
        write_text(found.out / name, text)
    write_json(found.out / FACTS, to_jsonable_python(searched, inf_nan_mode="strings"))
    write_json(found.out / METRICS, found.as_record())


def _tidy(out: Path) -> None:
    """Remove what said who works on what: nobody does."""
    for claim in out.glob("**/*.claim"):
        claim.unlink(missing_ok=True)
