"""How fast, how lean and how exact the engine is: the table of figures, one row at a time or all of them.

    python benchmarks/engine.py [ROW …] [--rounds N] [--steps N] [--rows N] [--batch N] [--data FOLDER]

`--help` lists the rows. Both sides of a row do the same work on the same batches and take turns in one process;
medians, ratios, losses and the machine go to benchmarks/results/engine/ROW.json. `--data` is any folder with `nli/`
(files train and test with premise, hypothesis, label) and `squad/` (a search collection in BEIR's layout); the default
is $EMBERTUNE_DATA, or else ../shared/data from the project's root. All rows take about three hours on two cores, an
hour and a half with `--rounds 1`. The whole epoch is half of it; `--rows 2000` takes that many of its triplets. Where
products in bfloat16 are slower than in float32, rows in bfloat16 take smaller batches. Each result says what was done.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import disable_progress_bars
from transformers.utils import logging as transformers_logging

from table.machine import fingerprint
from table.row import Options, Row
from table.rows import ROWS
from table.texts import Texts

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).resolve().parent / "results" / "engine"


def main() -> None:
    """Measure what is asked for; a row's file is written as soon as the row is done."""
    asked = arguments()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")
    transformers_logging.disable_progress_bar()
    disable_progress_bars()
    if not all((asked.data / name).is_dir() for name in ("nli", "squad")):
        raise SystemExit(f"no nli/ and squad/ in {asked.data}: name their folder with --data or EMBERTUNE_DATA")
    for row in ROWS:
        if not asked.row or row.name in asked.row:
            print(f"{row.name}: {row.work}, against {row.against}; to reach: {row.target}", flush=True)
            keep(row, measured(row, asked), asked)


def arguments() -> argparse.Namespace:
    """The command line."""
    listed = "\n".join(f"  {row.name:<18}{row.work} (about {row.minutes} min)" for row in ROWS)
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=str(__doc__), epilog=f"rows:\n{listed}", formatter_class=shown)
    parser.add_argument("row", nargs="*", help="rows to measure; without any, all")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--steps", type=int, default=3, help="timed steps in a turn; one more goes before them")
    parser.add_argument("--rows", type=int, help="the most triplets of the epoch, or texts encoded")
    parser.add_argument("--batch", type=int, help="another batch size than the row's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="a folder with nli/ and squad/")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where the results go")
    asked = parser.parse_args()
    if unknown := set(asked.row) - {row.name for row in ROWS}:
        parser.error(f"no row {', '.join(sorted(unknown))}; the rows are {', '.join(row.name for row in ROWS)}")
    return asked


def measured(row: Row, asked: argparse.Namespace) -> dict[str, Any]:
    """One row, in a folder of its own that goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        options = Options(Texts(asked.data), asked.rounds, asked.steps, asked.rows, asked.batch, Path(folder))
        return row.measure(options)


def keep(row: Row, found: dict[str, Any], asked: argparse.Namespace) -> None:
    """Write and print what was found."""
    head = {"row": row.name, "work": row.work, "against": row.against, "to reach": row.target}
    asked.out.mkdir(parents=True, exist_ok=True)
    record = {**head, **found, "rounds": asked.rounds, **fingerprint()}
    (asked.out / f"{row.name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    shown = {name: found[name] for name in ("times faster", "against the host", "share") if name in found}
    print(f"  {shown or found}", flush=True)


if __name__ == "__main__":
    main()
