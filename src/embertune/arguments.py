"""The command line's grammar: every command, its options, and what help says of them."""

from __future__ import annotations

import argparse
from typing import Any

from embertune.caches import KINDS


def parser() -> argparse.ArgumentParser:
    """All commands and their options; `command` is the name of the one that was given."""
    top = argparse.ArgumentParser(
        prog="embertune",
        description="Fine-tune a Sentence Transformer on your own data, and know whether it got better.",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_run, _search, _crossval, _init, _audit, _prepare, _evaluate, _report, _bench, _demo, _cache):
        add(commands)
    return top


def _run(commands: Any) -> None:
    run = _command(commands, "run", "train by a recipe, or on a file, and measure what was gained")
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
    search = _command(commands, "search", "look for better settings on some of the rows, and prove what they gain")
    _recipe_options(search)
    search.add_argument("--out", metavar="DIR", help="the folder for the search (default: runs/NAME-search)")
    search.add_argument("--trials", type=int, default=20, metavar="N", help="how many trials (default: 20)")
    seeds = "with how many seeds the best are trained on all rows (default: 3)"
    search.add_argument("--seeds", type=int, default=3, metavar="N", help=seeds)
    search.add_argument("--processes", type=int, default=1, metavar="N", help="how many runs at a time (default: 1)")
    search.add_argument("--dry-run", action="store_true", help="show the space and what it would take; no training")
    search.add_argument("--hours", type=float, metavar="H", help="begin no trial after so long")
    _talk_options(search)


def _crossval(commands: Any) -> None:
    cross = _command(commands, "crossval", "train once for each fold of the rows, measured on it")
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
    init = _command(commands, "init", "write a complete recipe for some data, with a reason at each decision")
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
    prepare = _command(commands, "prepare", "write the rows of a run to files: split, mined, augmented; no training")
    _recipe_options(prepare)
    prepare.add_argument("--out", metavar="DIR", required=True, help="the folder to write, which must be new")
    _talk_options(prepare)


def _evaluate(commands: Any) -> None:
    evaluate = _command(commands, "evaluate", "compare models on the test sets of a recipe: a ranking with intervals")
    evaluate.add_argument("models", nargs="+", metavar="MODEL", help="a folder, the folder of a run, or a Hub id")
    evaluate.add_argument("--recipe", metavar="R", help="the recipe that names the data; without one, give --train")
    _data_options(evaluate, model=False)
    evaluate.add_argument("--out", metavar="DIR", help="where to write evaluation.json (default: nowhere)")
    _talk_options(evaluate)


def _report(commands: Any) -> None:
    report = _command(commands, "report", "draw the reports of a finished run again, or compare several runs")
    report.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a finished run")
    _talk_options(report)


def _bench(commands: Any) -> None:
    bench = _command(commands, "bench", "show what the engine gives on this machine: parity, speed, memory")
    bench.add_argument("model", nargs="?", help="a folder or a Hub id (default: all-MiniLM-L6-v2)")
    bench.add_argument("--data", metavar="FILE", help="the rows to measure on (default: the sample of embertune)")
    _talk_options(bench)


def _demo(commands: Any) -> None:
    demo = _command(commands, "demo", "the main job on the help centre that comes with embertune")
    demo.add_argument("--out", metavar="DIR", default="runs/demo", help="the run folder (default: runs/demo)")
    _talk_options(demo)


def _cache(commands: Any) -> None:
    cache = _command(commands, "cache", "show, or clear, what is kept between runs to save work")
    cache.add_argument("action", nargs="?", choices=("clear",), help="remove all that is not in use")
    cache.add_argument("kind", nargs="?", choices=tuple(KINDS), help="of this kind only")
    _talk_options(cache)


def _command(commands: Any, name: str, means: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=means, description=means[0].upper() + means[1:] + "."
    )
    made.set_defaults(command=name)
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
