"""What a report is drawn from: plain values, all known at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embertune.choose import Choice
from embertune.data.findings import Finding
from embertune.data.prepared import Note
from embertune.evaluate.proof import Proof
from embertune.evaluate.seen import Seen
from embertune.recipe.advice import Advice
from embertune.watch import LayerLine


@dataclass(frozen=True)
class Side:
    """One side of the data: `role` is train, dev or test.

    `length` is that to which vectors are cut off for it, None where they are whole.
    """

    role: str
    name: str
    shape: str
    rows: int
    length: int | None = None


@dataclass(frozen=True)
class Facts:
    """A finished run.

    `history` holds the records of history.jsonl, `timing` seconds per stage, `rows` three parsed rows.
    `examples` false means that no text of the data may be shown: then `rows` is not drawn, nor are examples of notes.
    `metric` is the dev metric that steered training, None without dev. `negatives` is what audit.json keeps of mining.
    `layers` is the table of layers, empty where nothing was trained, `advice` what to try next,
    `seen` what was seen on test beside figures; None where there is no test set. `datasets` are the Hub's names of
    data sets that were trained on.
    """

    title: str
    base_model: str
    recipe_yaml: str
    proof: Proof
    choice: Choice
    steps: int
    best_step: int
    stopped: str
    sides: Sequence[Side]
    rows: Sequence[Mapping[str, str]]
    notes: Sequence[Note]
    history: Sequence[Mapping[str, Any]]
    timing: Mapping[str, float]
    environment: Mapping[str, str]
    model_path: Path
    examples: bool
    metric: str | None = None
    findings: Sequence[Finding] = ()
    negatives: Mapping[str, Any] | None = None
    layers: Sequence[LayerLine] = ()
    advice: Sequence[Advice] = ()
    seen: Seen | None = None
    datasets: Sequence[str] = ()
