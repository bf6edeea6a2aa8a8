"""What a run would do and what it would take, without training: `embertune run --dry-run`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from embertune import caches
from embertune.data.prepared import Prepared
from embertune.data.shapes import describe
from embertune.model.encode import Encode
from embertune.model.layers import find_layers
from embertune.model.precision import width_of
from embertune.plan import Plan, plan
from embertune.recipe import Recipe
from embertune.recipe.explain import to_yaml
from embertune.recipe.optimizers import OPTIMIZERS
from embertune.recipe.rules import TRAINING_PASSES
from embertune.watch import LayerLine, Watcher

#: Texts that are encoded to learn how fast this machine is.
SAMPLE = 64
#: Bytes of a weight: float32.
FLOAT = 4


@dataclass(frozen=True)
class Estimate:
    """What a run would take: steps, seconds, bytes at the peak, on disk, and of frozen layers' states in the cache.

    `checkpoints` are at most so many bytes more on disk, while training goes on. `looks` says what looking at dev
    takes; empty without dev. Of `several` runs, such as 3 seeds, `steps` are those of one, seconds and disk of all.
    """

    steps: int
    seconds: float
    memory: float
    disk: float
    states: float = 0.0
    looks: str = ""
    checkpoints: float = 0.0
    several: str = ""

    def lines(self) -> list[tuple[str, str]]:
        """For people to read."""
        kept = f", {self.states / 2**20:,.0f} MiB of states of frozen layers in the cache" if self.states else ""
        more = f", and {self.checkpoints / 2**20:,.0f} MiB of checkpoints until it is finished"
        where = "all run folders" if self.several else "the run folder"
        several = f" for each of {self.several}" if self.several else ""
        return [
            ("steps", f"{self.steps:,}{several}"),
            *([("dev", self.looks)] if self.looks else []),
            ("time", f"about {_rough(self.seconds)}, training and measuring{several and ', all of them together'}"),
            ("memory", f"about {self.memory / 2**30:.1f} GiB beside the program itself"),
            ("disk", f"about {self.disk / 2**20:,.0f} MiB in {where}{more if self.checkpoints else ''}{kept}"),
        ]


@dataclass(frozen=True)
class Preview:
    """Everything a dry run shows. Of a cross-validation `runs` has the rows of each side, by the run's folder."""

    recipe_yaml: str
    rows: list[dict[str, str]]
    layers: tuple[LayerLine, ...]
    estimate: Estimate
    runs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def dry_run(recipe: Recipe, watch: Watcher, seeds: int = 1) -> Preview:
    """Do all that comes before training, and estimate the rest from a few texts encoded on this machine.

    With several `seeds`, what they take together is estimated.
    """
    planned = plan(recipe, None, None, watch)
    resolved = planned.resolved
    rows = describe(planned.data.sides.train) if recipe.report.examples else []
    for note in planned.data.notes:
        if note.stage == "augment" and recipe.report.examples:
            for example in note.examples[:1]:
                watch.note(f"for example: {example}")
    return Preview(to_yaml(resolved.recipe, resolved.reasons), rows, planned.layers, times(estimate(planned), seeds))


def times(one: Estimate, seeds: int) -> Estimate:
    """What so many runs take, one after the other."""
    several = f"{seeds} seeds" if seeds > 1 else ""
    return replace(one, seconds=one.seconds * seeds, disk=one.disk * seeds, several=several)


def estimate(planned: Plan) -> Estimate:
    """Steps are counted; time, memory and disk are estimates.

    A text costs three encoded ones in a layer that is trained, one in a frozen layer, and none where states are read.
    Memory is that of the weights and of the longest batch.
    """
    train, recipe = planned.data.sides.train, planned.resolved.recipe
    course = planned.course
    assert isinstance(recipe.train.batch_size, int)
    columns = _columns(train)
    trained = course.batches * recipe.train.batch_size * len(columns)
    looked = planned.looks.share if planned.looks else 0.0
    scene = planned.scene
    tests = sum(evalset.texts_to_encode for evalset in (*scene.tests, *scene.retention))
    seconds = _seconds_per_text(planned.encode_dev, columns) * (passes(planned) + looked) * trained
    seconds += _seconds_per_text(planned.encode, columns) * 2 * tests
    weights = FLOAT * sum(p.numel() for p in planned.built.model.parameters())
    assert recipe.train.chunk != "auto"
    memory = weights + planned.memory.need(recipe.train.chunk)
    looks = str(planned.looks or "")
    return Estimate(course.steps, seconds, memory, weights + 2**20, _states(planned), looks, checkpoints(planned))


def checkpoints(planned: Plan) -> float:
    """Bytes of the checkpoints that stay and of the one that is being written, each with best state and average."""
    train, model = planned.resolved.recipe.train, planned.built.model
    if train.keep_checkpoints is None:
        return 0.0
    frozen = planned.course.last_frozen(train.unfreeze).names(find_layers(model))
    whole = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for name, p in model.named_parameters() if name not in frozen)
    learned = whole + trained * (OPTIMIZERS[train.optimizer].kept + (train.average is not None))
    best = whole * (1 + isinstance(train.keep_general, tuple)) if planned.scene.dev else 0
    if planned.resolved.recipe.guard.on_overfit == "regularise":
        best += learned
    return float(FLOAT * (train.keep_checkpoints + 1) * (learned + best))


def passes(planned: Plan) -> float:
    """Passes of a text through the whole model that a trained text costs, on average over the phases."""
    blocks, phases = len(find_layers(planned.built.model).blocks), planned.course.phases
    if not blocks:
        return TRAINING_PASSES
    depths = _depths(planned)
    made = 0.0
    for phase, depth in zip(phases, depths, strict=True):
        frozen = phase.frozen_blocks
        cost = TRAINING_PASSES * (blocks - frozen) + frozen - depth
        made += cost / blocks * (phase.last - phase.first) / planned.course.steps
    return made


def _depths(planned: Plan) -> tuple[int, ...]:
    """Behind how many blocks states are kept in each phase; 0 for none."""
    phases = [(phase, phase.frozen_blocks) for phase in planned.course.phases]
    return (0,) * len(phases) if planned.prefix is None else planned.prefix.depths(phases)


def _states(planned: Plan) -> float:
    """Bytes of the states that are kept, at most what the cache may take."""
    width = width_of(planned.built.model)
    if planned.prefix is None or width is None:
        return 0.0
    stores = len({depth for depth in _depths(planned) if depth})
    size = np.dtype(planned.prefix.storage).itemsize
    return float(min(caches.limit(), stores * planned.prefix.texts.wanted.tokens * width * size))


def _columns(train: Prepared) -> Mapping[str, list[str]]:
    """A sample of the texts of each column; for classes, anchor and positive are both `text`."""
    rows = train.rows.select(np.linspace(0, len(train) - 1, min(SAMPLE, len(train)), dtype=int).tolist())
    columns = {column: list(rows[column]) for column in train.text_columns}
    return {"text": columns["text"], "text again": columns["text"]} if train.shape == "classes" else columns


def _seconds_per_text(encode: Encode, columns: Mapping[str, list[str]]) -> float:
    texts = [text for column in columns.values() for text in column][: 2 * SAMPLE]
    encode(texts[:8], "")
    started = time.perf_counter()
    encode(texts, "")
    return (time.perf_counter() - started) / len(dict.fromkeys(texts))


def _rough(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
