"""The command line: parse, call, print. What a command needs is imported when it runs, so that help is quick."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embertune.caches import KINDS, clear, placed
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
            options.command(options)
    except (KeyboardInterrupt, Interrupted):
        return _told(Interrupted(shlex.join(["embertune", *words])))
    except EmbertuneError as error:
        return _told(error)
    return 0


def _told(error: EmbertuneError) -> int:
    sys.stderr.write(f"embertune: {error}\n")
    return error.exit_code


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="embertune",
        description="Fine-tune a Sentence Transformer on your own data, and know whether it got better.",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_run, _search, _crossval, _init, _audit, _prepare, _evaluate, _report, _bench, _demo, _cache):
        add(commands)
    return top


def _run(commands: Any) -> None:
    run = _command(commands, "run", run_command, "train by a recipe, or on a file, and measure what was gained")
    _recipe_options(run)
    run.add_argument("--out", metavar="DIR", help="the run folder (default: runs/NAME; with --seeds runs/NAME-seeds)")
    run.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train with N seeds (2 or more), from train.seed upwards, and say what they come to together",
    )
    run.add_argument(
        "--dry-run", action="store_true", help="show what would be done and what it would take; no training"
    )
    _talk_options(run)


def _search(commands: Any) -> None:
    search = _command(
        commands, "search", search_command, "look for better settings on some of the rows, and prove what they gain"
    )
    _recipe_options(search)
    search.add_argument("--out", metavar="DIR", help="the folder for the search (default: runs/NAME-search)")
    search.add_argument("--trials", type=int, default=20, metavar="N", help="how many trials (default: 20)")
    seeds = "with how many seeds the best are trained on all rows (default: 3)"
    search.add_argument("--seeds", type=int, default=3, metavar="N", help=seeds)
    search.add_argument("--processes", type=int, default=1, metavar="N", help="how many runs at a time (default: 1)")
    search.add_argument("--hours", type=float, metavar="H", help="begin no trial after so long")
    _talk_options(search)


def _crossval(commands: Any) -> None:
    cross = _command(commands, "crossval", crossval_command, "train once for each fold of the rows, measured on it")
    _recipe_options(cross)
    cross.add_argument("--out", metavar="DIR", help="the folder for all folds (default: runs/NAME-folds)")
    cross.add_argument("--folds", type=int, default=5, metavar="K", help="how many folds (default: 5)")
    cross.add_argument("--dry-run", action="store_true", help="show the folds and what they would take; no training")
    cross.add_argument(
        "--final", action="store_true", help="train on all rows as well, for the median of the folds' best steps"
    )
    cross.add_argument(
        "--learning-curve", action="store_true", help="train on 10 and 30 %% of the rows too: would more data help?"
    )
    _talk_options(cross)


def _init(commands: Any) -> None:
    init = _command(
        commands, "init", init_command, "write a complete recipe for some data, with a reason at each decision"
    )
    init.add_argument("data", help="a file, a folder or a Hub id")
    init.add_argument("--model", metavar="M", help="the model to start from")
    init.add_argument("--out", metavar="FILE", default="recipe.yaml", help="the recipe to write (default: recipe.yaml)")
    init.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="fix a setting, as in the recipe")
    rate = "look for a learning rate: train a little while it grows (a range test)"
    init.add_argument("--find-rate", action="store_true", help=rate)
    _talk_options(init)


def _audit(commands: Any) -> None:
    audit = _command(
        commands,
        "audit",
        audit_command,
        "look at data: duplicates, leaks, labels, lengths, and how alike its sides are",
    )
    audit.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="a recipe; or the rows to train on, then those of dev (by its name) and of test, as files or Hub ids",
    )
    _data_options(audit, train=False)
    audit.add_argument("--out", metavar="DIR", help="where to write audit.json (default: nowhere)")
    _talk_options(audit)


def _prepare(commands: Any) -> None:
    prepare = _command(
        commands, "prepare", prepare_command, "write the rows of a run to files: split, mined, augmented; no training"
    )
    _recipe_options(prepare)
    prepare.add_argument("--out", metavar="DIR", required=True, help="the folder to write, which must be new")
    _talk_options(prepare)


def _evaluate(commands: Any) -> None:
    evaluate = _command(
        commands, "evaluate", evaluate_command, "compare models on the test sets of a recipe: a ranking with intervals"
    )
    evaluate.add_argument("models", nargs="+", metavar="MODEL", help="a folder, the folder of a run, or a Hub id")
    evaluate.add_argument("--recipe", metavar="R", help="the recipe that names the data; without one, give --train")
    _data_options(evaluate, model=False)
    evaluate.add_argument("--out", metavar="DIR", help="where to write evaluation.json (default: nowhere)")
    _talk_options(evaluate)


def _report(commands: Any) -> None:
    report = _command(
        commands, "report", report_command, "draw the reports of a finished run again, or compare several runs"
    )
    report.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a finished run")
    _talk_options(report)


def _bench(commands: Any) -> None:
    bench = _command(
        commands, "bench", bench_command, "show what the engine gives on this machine: parity, speed, memory"
    )
    bench.add_argument("model", nargs="?", help="a folder or a Hub id (default: all-MiniLM-L6-v2)")
    bench.add_argument("--data", metavar="FILE", help="the rows to measure on (default: the sample of embertune)")
    _talk_options(bench)


def _demo(commands: Any) -> None:
    demo = _command(commands, "demo", demo_command, "the main job on the help centre that comes with embertune")
    demo.add_argument("--out", metavar="DIR", default="runs/demo", help="the run folder (default: runs/demo)")
    _talk_options(demo)


def _cache(commands: Any) -> None:
    cache = _command(commands, "cache", cache_command, "show, or clear, what is kept between runs to save work")
    cache.add_argument("action", nargs="?", choices=("clear",), help="remove all that is not in use")
    cache.add_argument("kind", nargs="?", choices=tuple(KINDS), help="of this kind only")
    _talk_options(cache)


def _command(
    commands: Any, name: str, call: Callable[[argparse.Namespace], None], means: str
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=means, description=means[0].upper() + means[1:] + "."
    )
    made.set_defaults(command=call)
    made.add_argument("--cache-dir", metavar="DIR", help="where to keep what saves work (default: ~/.cache/embertune)")
    made.add_argument("--cache-size", metavar="SIZE", help="how much room that may take (default: 20 GB)")
    return made


def _recipe_options(command: argparse.ArgumentParser) -> None:
    means = "a recipe (.yaml or .toml); without one, --train says which rows"
    command.add_argument("recipe", nargs="?", help=means)
    _data_options(command)


def _data_options(command: argparse.ArgumentParser, train: bool = True, model: bool = True) -> None:
    if model:
        command.add_argument("--model", metavar="M", help="the model to start from: a folder or a Hub id (model.name)")
    if train:
        command.add_argument("--train", metavar="FILE", help="the rows to train on (data.train)")
    command.add_argument("--dev", metavar="FILE", help="rows that steer training (data.dev)")
    command.add_argument("--test", metavar="FILE", help="rows for the verdict (data.test)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a leaf, e.g. train.epochs=2; repeatable",
    )


def _talk_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--quiet", action="store_true", help="print the outcome only")
    command.add_argument("--json", action="store_true", help="print the outcome as one JSON object, and nothing else")


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
    from embertune.search import search

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
