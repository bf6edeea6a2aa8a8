"""A hundred kills: short runs of several recipes, ended by `kill -9` at some moment, gone on with, and compared.

`python prove/kills.py` takes about half an hour on one core and writes prove/results/kills.json. Every run is a process
of its own, forked from this one before torch has done anything. A kill comes at a moment drawn by chance (`anywhere`),
or when next something is being written beside its place: a checkpoint, a report (`write`) or the model (`model`). What
is left is gone on with; in every third run, that is killed again. The weights that are saved and all scores in
metrics.json must be those of the run left alone. `python prove/kills.py 3 remedies` makes so many kills, of runs of the
named recipes, and writes nothing.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tiny model and the toy rows are those of the tests

from embertune.data.tongues import language  # noqa: E402
from embertune.manifest import versions  # noqa: E402
from embertune.recipe import load_recipe  # noqa: E402
from embertune.run import run  # noqa: E402
from embertune.rundir import MODEL  # noqa: E402
from embertune.training import looking  # noqa: E402
from embertune.training.diagnosis import Diagnosis, Scope, diagnose  # noqa: E402
from embertune.training.signs import Signs  # noqa: E402
from tests import tiny  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "kills.json"
KILLS = 100
SHARED: dict[str, Any] = {
    "train.max_steps": 18,
    "train.batch_size": 8,
    "train.learning_rate": 1e-3,
    "train.precision": "float32",
    "train.save_every": "4 steps",
    "guard.eval_every": "3 steps",
    "guard.patience": None,
    "guard.on_overfit": "warn",
    "data.dev": 0.2,
    "data.test": 0.2,
}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no dev": {"data.dev": "none", "guard.eval_every": None, "guard.on_overfit": "stop"},
    "thaw with a prefix cache": {
        "train.freeze": 1,
        "train.unfreeze": "7 steps",
        "train.prefix_cache": "float16",
    },
    "plateau": {"train.schedule": "plateau", "train.schedule_options": {"patience": "1 evaluation"}},
    "new negatives": {"data.negatives": {"every": 1}, "train.max_steps": None, "train.epochs": 3},
    "average": {"train.average": 0.9},
    "loss with parameters": {"train.loss": "softmax", "data.train": "nli.jsonl"},
    "chunks and a mask": {"train.chunk": 64, "train.known_positives": "mask", "train.accumulate": 2},
    "remedies": {"guard.on_overfit": "regularise"},
}
#: So few rows tell little: at these steps of every run that asks for remedies, the diagnosis is overfitting.
OVERFITS = (6, 12)
#: Where something is written beside its place, under a name of its own.
PARTIAL = ("checkpoints/.*", ".model.partial", ".*.????????")


@dataclass(frozen=True)
class Outcome:
    """What a run came to: a sum of its weights, one of its scores, and whether the folder is as it should be."""

    weights: str
    scores: str
    clean: bool


def outcome(out: Path) -> Outcome:
    """Of the finished run in `out`."""
    record = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    record.pop("timing")
    weights = hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()
    scores = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return Outcome(weights, scores, not any(path.name.startswith(".") for path in out.iterdir()))


def started(settings: Mapping[str, Any], out: Path, log: Path) -> int:
    """A new process that runs a recipe; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    with log.open("ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        looking.diagnose = diagnosed
        run(load_recipe(set=settings), out)
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def diagnosed(signs: Sequence[Signs], scope: Scope) -> Diagnosis | None:
    """What the guard says, in the child."""
    return Diagnosis("overfitting", "told so") if signs[-1].step in OVERFITS else diagnose(signs, scope)


def ended(child: int) -> int:
    """Wait for its end: the exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def over(child: int) -> bool:
    """Whether it has ended, without waiting for it; it can still be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def killed(child: int, out: Path, chance: random.Random, lines: int) -> str:
    """Kill it at some moment; what was aimed at, or `too late` where it ended before.

    The moment is a number of lines of its history drawn by chance, up to the `lines` of a whole run, and some
    milliseconds more; or the next time from there on that something, or the model, is being written.
    """
    aim, least = chance.choice(("anywhere", "anywhere", "write", "model")), chance.randint(-lines // 8, lines)
    wanted = MODEL if aim == "model" else ""
    more, found = chance.choice((0.0, 0.0005, 0.002, 0.01, 0.1, 0.5)), ""
    while not over(child):
        if written(out) >= least:
            found = next((p.name for pattern in PARTIAL for p in out.glob(pattern) if wanted in p.name), "")
            if aim == "anywhere" or found:
                time.sleep(more)
                break
        time.sleep(0.0003)
    late = over(child)
    os.kill(child, signal.SIGKILL)
    ended(child)
    if late:
        return "too late"
    return f"write {found.lstrip('.').partition('.')[0].partition('-')[0]}" if found else "anywhere"


def written(out: Path) -> int:
    """How many lines the history has."""
    history = out / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.is_file() else 0


def main() -> None:
    """Every recipe once alone, then kills of one after the other."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        recipes = {name: made for name, made in prepared(work).items() if name in (sys.argv[2:] or RECIPES)}
        alone, lines = {}, {}
        for recipe, settings in recipes.items():
            code = ended(started(settings, work / "alone", work / "log"))
            assert code == 0, (recipe, (work / "log").read_text(encoding="utf-8")[-3000:])
            lines[recipe] = written(work / "alone")
            alone[recipe] = outcome(work / "alone")
            remedies = (work / "alone" / "history.jsonl").read_text(encoding="utf-8").count("remedy_result")
            print(f"{recipe}: {lines[recipe]} lines, {remedies} remedies", flush=True)
            shutil.rmtree(work / "alone")
        made: list[dict[str, Any]] = []
        for turn in range(10 * kills):
            recipe = list(recipes)[turn % len(recipes)]
            made.append(one(recipe, recipes[recipe], alone[recipe], work, (chance, lines[recipe], turn % 3 == 0)))
            done = sum(aim != "too late" for record in made for aim in record["aims"])
            print(f"{done:3} {recipe}: {made[-1]}", flush=True)
            if done >= kills:
                break
    report(made, kills, alone)


def prepared(work: Path) -> dict[str, dict[str, Any]]:
    """The recipes with a model and rows in the folder `work`."""
    child = os.fork()
    if not child:
        tiny.make_model(tiny.make_encoder(work / "encoder"), work / "model")
        tiny.write_jsonl(work / "pairs.jsonl", tiny.toy_pairs(80))
        tiny.write_jsonl(work / "nli.jsonl", tiny.toy_nli(150))
        os._exit(0)
    assert ended(child) == 0
    os.environ["EMBERTUNE_CACHE"] = str(work / "cache")
    language("what every child would load again")
    gc.freeze()
    return {
        name: {
            **SHARED,
            "model.name": str(work / "model"),
            **leaves,
            "data.train": str(work / leaves.get("data.train", "pairs.jsonl")),
        }
        for name, leaves in RECIPES.items()
    }


def one(
    recipe: str, settings: Mapping[str, Any], alone: Outcome, work: Path, how: tuple[random.Random, int, bool]
) -> dict[str, Any]:
    """A run that is killed, perhaps twice, and goes on to its end."""
    chance, lines, twice = how
    out, log = work / "out", work / "log"
    shutil.rmtree(out, ignore_errors=True)
    log.unlink(missing_ok=True)
    aims, at = [], []
    for _ in range(1 + twice):
        aims.append(killed(started(settings, out, log), out, chance, lines))
        at.append(written(out))
    code = ended(started(settings, out, log))
    if code:
        text = log.read_text(encoding="utf-8")[-3000:]
        return {"recipe": recipe, "aims": aims, "lines": at, "same": False, "error": text}
    return {"recipe": recipe, "aims": aims, "lines": at, "same": outcome(out) == alone}


def report(made: list[dict[str, Any]], kills: int, alone: Mapping[str, Outcome]) -> None:
    """Say how many ended as the run left alone; write it down where all kills were made."""
    aims = Counter(aim for record in made for aim in record["aims"])
    by_recipe = {name: Counter(r["same"] for r in made if r["recipe"] == name) for name in alone}
    late = aims.pop("too late", 0)
    different = [record for record in made if not record["same"]]
    record = {
        "kills": sum(aims.values()),
        "runs": len(made),
        "same": len(made) - len(different),
        "too_late": late,
        "aims": dict(sorted(aims.items())),
        "recipes": {name: {"same": found[True], "different": found[False]} for name, found in by_recipe.items()},
        "different": different,
        "versions": versions(),
    }
    print(json.dumps(record, indent=1))
    if kills >= KILLS:
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if different:
        raise SystemExit(f"{len(different)} runs ended otherwise than the run left alone")


if __name__ == "__main__":
    main()
