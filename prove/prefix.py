"""Is training from stored states of frozen layers the training without them, and what does half precision change?

MiniLM with its lowest four layers frozen, on 1,000 rows of `banking77/` and of `nli/`, two passes, with dropout in what
is trained: without states, with states as float32 and as float16. A set has one order and one dropout, which all three
share, so that any difference is that of the states. Compared are the losses of all steps, the values on dev, and of
the trained models the weights and the vectors of dev texts (in float32, without states).

`python prove/prefix.py [SET …]` writes prove/results/prefix.json. The data is looked for in $EMBERTUNE_DATA (default
../shared/data).
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compared import DATA
from embertune.caches import placed
from embertune.manifest import hardware, versions
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.run import look, teach
from embertune.rundir import HISTORY, RunDir
from embertune.watch import Silent

RESULTS = Path(__file__).parent / "results" / "prefix.json"
SETS = ("banking77", "nli")
STATES = (None, "float32", "float16")
SETTINGS: dict[str, Any] = {
    "model.name": "sentence-transformers/all-MiniLM-L6-v2",
    "data.limit": 1_000,
    "data.dev": 0.2,
    "data.test": "none",
    "data.near_duplicates": None,
    "train.epochs": 2,
    "train.batch_size": 32,
    "train.learning_rate": 5e-5,
    "train.freeze": 4,
    "train.precision": "float32",
    "guard.eval_every": "0.5 epoch",
    "guard.patience": None,
    "evaluate.similarity": ["cosine"],
}


@dataclass(frozen=True)
class Trained:
    """The losses of all steps, the looks at dev, and of the model the weights and the vectors of dev texts."""

    losses: list[float]
    looks: list[dict[str, float]]
    weights: dict[str, torch.Tensor]
    vectors: np.ndarray[Any, np.dtype[np.float32]]


def trained(name: str, states: str | None) -> Trained:
    """One training, in a cache of its own."""
    leaves = SETTINGS | {"data.train": str(DATA / name / "train.jsonl.gz"), "train.prefix_cache": states}
    with tempfile.TemporaryDirectory() as folder, placed(f"{folder}/cache"):
        planned = plan(load_recipe(set=leaves), None, None, Silent())
        run = RunDir(Path(folder), finished=False)
        teach(planned, run, look(planned), None, Silent())
        records = [json.loads(line) for line in run.file(HISTORY).read_text(encoding="utf-8").splitlines()]
        weights = {name: tensor.clone() for name, tensor in planned.built.model.state_dict().items()}
        assert planned.scene.dev is not None
        texts = list(dict.fromkeys(text for part in planned.scene.dev.texts.values() for text in part))
        vectors = planned.encode(texts, "")
    losses = [record["loss"] for record in records if "loss" in record]
    return Trained(losses, [record["dev"] for record in records if "dev" in record], weights, vectors)


def compared(one: Trained, plain: Trained) -> dict[str, Any]:
    """How far training from states is from training without."""
    sizes = np.linalg.norm(one.vectors, axis=1) * np.linalg.norm(plain.vectors, axis=1)
    return {
        "weights, greatest difference": max(
            float((tensor - plain.weights[name]).abs().max()) for name, tensor in one.weights.items()
        ),
        "losses, greatest difference": max(abs(a - b) for a, b in zip(one.losses, plain.losses, strict=True)),
        "dev values, greatest difference": max(
            abs(a[name] - b[name]) for a, b in zip(one.looks, plain.looks, strict=True) for name in a
        ),
        "vectors, greatest difference": float(np.abs(one.vectors - plain.vectors).max()),
        "vectors, lowest cosine": float(((one.vectors * plain.vectors).sum(1) / sizes).min()),
        "last look": one.looks[-1],
        "loss at the last step": one.losses[-1],
    }


def main() -> None:
    """The sets that are named, or all."""
    record = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"sets": {}}
    for name in sys.argv[1:] or SETS:
        ends = {str(states): trained(name, states) for states in STATES}
        found = {states: compared(one, ends["None"]) for states, one in ends.items()}
        record["sets"][name] = {"steps": len(ends["None"].losses), "states": found}
        record |= {"settings": SETTINGS, "versions": versions(), "hardware": hardware("cpu", torch.get_num_threads())}
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(name, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
