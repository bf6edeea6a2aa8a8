"""The command line: parse, call, print. What a command needs is imported when it runs, so that help is quick."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embertune.arguments import parser
from embertune.caches import clear, placed
from embertune.errors import EmbertuneError, Interrupted
from embertune.signals import terminable

if TYPE_CHECKING:
    from embertune.recipe import Recipe
    from embertune.terminal import Terminal

#: The folder that comes with the package: an invented institution's help centre.
SAMPLE = Path(__file__).parent / "sample" / "help"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0 done, 1 a mistake that is explained, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(words)
    try:
        with terminable(), placed(options.cache_dir, options.cache_size):
            COMMANDS[options.command](options)
    except (KeyboardInterrupt, Interrupted):
        return _told(Interrupted(shlex.join(["embertune", *words])))
    except EmbertuneError as error:
        return _told(error)
    return 0


def _told(error: EmbertuneError) -> int:
    sys.stderr.write(f"embertune: {error}\n")
    return error.exit_code


def run_command(options: argparse.Namespace) -> None:
    """Train, or show what training would do."""
    recipe = _recipe(options)
    if options.seeds is not None:
        from embertune.recipe.seeding import seeded

        seeded(recipe, options.seeds)  # refused before anything is read
    if options.dry_run:
        from embertune.dryrun import dry_run

        _terminal(options).preview(dry_run(recipe, _terminal(options), options.seeds or 1))
    elif options.seeds is not None:
        _train_seeds(recipe, options.out or f"runs/{_name(options)}-seeds", options)
    else:
        _train(recipe, options.out or f"runs/{_name(options)}", options)


def search_command(options: argparse.Namespace) -> None:
    """Search for settings."""
    recipe, terminal = _recipe(options), _terminal(options)
    terminal.hello()
    from embertune.search import foresee, search

    if options.dry_run:
        terminal.preview(foresee(recipe, options.trials, seeds=options.seeds, watch=terminal))
        return
    with terminal:
        out = options.out or f"runs/{_name(options)}-search"
        more = {"seeds": options.seeds, "processes": options.processes, "hours": options.hours}
        found = search(recipe, out, options.trials, **more, watch=terminal)
    terminal.searched(found)


def crossval_command(options: argparse.Namespace) -> None:
    """Train and measure fold by fold."""
    recipe, terminal = _recipe(options), _terminal(options)
    terminal.hello()
    from embertune.crossval import cross_validate, foresee

    more = {"final": options.final, "learning_curve": options.learning_curve, "watch": terminal}
    if options.dry_run:
        terminal.preview(foresee(recipe, options.folds, **more))
        return
    with terminal:
        found = cross_validate(recipe, options.out or f"runs/{_name(options)}-folds", options.folds, **more)
    terminal.crossed(found)


def init_command(options: argparse.Namespace) -> None:
    """Write a recipe."""
    from embertune.init import write_recipe
    from embertune.recipe import parse_setting

    settings = dict(parse_setting(text) for text in options.set)
    if options.model:
        settings["model.name"] = options.model
    terminal = _terminal(options)
    with terminal:
        begun = write_recipe(options.data, Path(options.out), settings, terminal, with_rate=options.find_rate)
    terminal.recipe(Path(options.out), begun)


def audit_command(options: argparse.Namespace) -> None:
    """Look at data, without training."""
    from embertune.data.arguments import sorted_files

    terminal = _terminal(options)
    for name, value in sorted_files(options.data, options.dev, options.test).items():
        setattr(options, name, value)
    recipe = _recipe(options)
    terminal.hello()
    from embertune.audited import audit_data, keep_audit

    audited = audit_data(recipe, watch=terminal)
    written = keep_audit(audited, Path(options.out)) if options.out else None
    terminal.audit(audited, written)


def prepare_command(options: argparse.Namespace) -> None:
    """Write the rows of a run."""
    recipe, terminal = _recipe(options), _terminal(options)
    terminal.hello()
    from embertune.rowfiles import write_rows

    terminal.written(write_rows(recipe, Path(options.out), watch=terminal))


def evaluate_command(options: argparse.Namespace) -> None:
    """Compare models."""
    recipe, terminal = _recipe(options), _terminal(options)
    terminal.hello()
    from embertune.evaluated import evaluate_models, keep_evaluation

    found = evaluate_models(options.models, recipe, watch=terminal)
    written = keep_evaluation(found, Path(options.out)) if options.out else None
    terminal.evaluation(found, written)


def report_command(options: argparse.Namespace) -> None:
    """Draw a report again, or compare runs."""
    from embertune.redrawn import compare, redraw

    terminal, runs = _terminal(options), [Path(run) for run in options.runs]
    if len(runs) == 1:
        terminal.redrawn(redraw(runs[0]))
    else:
        terminal.compared(compare(runs))


def bench_command(options: argparse.Namespace) -> None:
    """Measure the engine."""
    terminal = _terminal(options)
    terminal.hello()
    from embertune.bench import bench

    terminal.bench(bench(options.model, options.data, terminal))


def demo_command(options: argparse.Namespace) -> None:
    """The main job on the bundled sample."""
    from embertune.recipe import load_recipe

    tests = {name: f"{SAMPLE}@test-{name}" for name in ("wordings", "articles")}
    settings = {"data.train": str(SAMPLE), "data.dev": f"{SAMPLE}@dev", "data.test": tests}
    _train(load_recipe(set=settings), options.out, options)


def cache_command(options: argparse.Namespace) -> None:
    """Show the cache, or clear it."""
    terminal = _terminal(options)
    if options.action == "clear":
        terminal.cleared(clear(options.kind))
    else:
        terminal.cache()


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "run": run_command,
    "search": search_command,
    "crossval": crossval_command,
    "init": init_command,
    "audit": audit_command,
    "prepare": prepare_command,
    "evaluate": evaluate_command,
    "report": report_command,
    "bench": bench_command,
    "demo": demo_command,
    "cache": cache_command,
}


def _recipe(options: argparse.Namespace) -> Recipe:
    from embertune.recipe import load_recipe, parse_setting

    settings: dict[str, Any] = {}
    for option, leaf in (("model", "model.name"), ("train", "data.train"), ("dev", "data.dev"), ("test", "data.test")):
        if text := getattr(options, option, None):
            may_be_a_share = option in ("dev", "test")
            settings[leaf] = parse_setting(f"{leaf}={text}")[1] if may_be_a_share else text
    settings |= dict(parse_setting(text) for text in options.set)
    recipe = load_recipe(options.recipe, set=settings)
    if recipe.data.train is None:
        from embertune.errors import Problem, RecipeError

        raise RecipeError(Problem("data.train", "no training data is named", "give a recipe, or --train FILE"))
    return recipe


def _name(options: argparse.Namespace) -> str:
    if options.recipe:
        return Path(options.recipe).stem
    return Path(options.train).name.split(".")[0] if options.train else "run"


def _train(recipe: Recipe, out: str, options: argparse.Namespace) -> None:
    terminal = _terminal(options)
    terminal.hello()
    from embertune.run import run

    with terminal:
        result = run(recipe, out, watch=terminal)
    terminal.result(result)


def _train_seeds(recipe: Recipe, out: str, options: argparse.Namespace) -> None:
    terminal = _terminal(options)
    terminal.hello()
    from embertune.seeds import run_seeds

    with terminal:
        found = run_seeds(recipe, out, options.seeds, watch=terminal)
    terminal.seeded(found)


def _terminal(options: argparse.Namespace) -> Terminal:
    from embertune.terminal import Terminal

    return Terminal(quiet=options.quiet or options.json, json=options.json)
