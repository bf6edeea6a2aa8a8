"""Models trained in several ways and compared item by item: what the scripts of this folder share."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embertune.evaluate.resampling import bootstrap
from embertune.evaluate.statistic import mean_of
from embertune.manifest import hardware, versions
from embertune.plan import Plan
from embertune.run import teach
from embertune.rundir import RunDir
from embertune.training.fit import Fit
from embertune.watch import Silent

ROOT = Path(__file__).resolve().parent.parent
#: The folder of real data sets.
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
#: What all comparisons have: one model, no dev, so that every way makes the same steps, and one similarity.
SHARED: dict[str, Any] = {
    "model.name": "sentence-transformers/all-MiniLM-L6-v2",
    "data.dev": "none",
    "train.learning_rate": 5e-5,
    "evaluate.similarity": ["cosine"],
}


def taught(planned: Plan) -> Fit:
    """Train the planned model in place, without dev; nothing but the model is left."""
    with tempfile.TemporaryDirectory() as folder:
        return teach(planned, RunDir(Path(folder), finished=False), None, None, Silent())


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, made only where `path` does not hold it yet."""
    if not path.is_file():
        made = json.dumps(make())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made, encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def runs_of(results: Path) -> dict[str, Any]:
    """The runs that a file of results holds, by label."""
    found: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))["runs"] if results.is_file() else {}
    return found


def add_run(results: Path, label: str, found: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Put a run into a file of results, with what all of them share and with the machine of this one."""
    runs = {**runs_of(results), label: found}
    machine = {"versions": versions(), "hardware": hardware("cpu", torch.get_num_threads())}
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps({"runs": runs, "settings": settings, **machine}, indent=1) + "\n", encoding="utf-8")


def change(
    before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], groups: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """The mean difference over the items of all seeds, its 95 % interval by group, and that of each seed."""
    each = [np.asarray(b) - np.asarray(a) for a, b in zip(before, after, strict=True)]
    whole = np.concatenate(each)
    drawn = bootstrap([mean_of(whole)], np.concatenate([np.asarray(g) for g in groups]), 10_000, 0)[0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    of_seeds = [float(one.mean()) for one in each]
    return {"difference": float(whole.mean()), "low": float(low), "high": float(high), "seeds": of_seeds}
