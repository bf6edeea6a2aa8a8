"""What the engine gives on a user's machine, model and data: is it the same, how much faster, in how much memory?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from embertune.data.spec import parse
from embertune.engine import paths
from embertune.engine.machine import PRECISIONS, begin_peak, peak_memory, product_speed, synchronize
from embertune.engine.parity import Parity, check
from embertune.engine.precision import Precision
from embertune.manifest import hardware
from embertune.model.encode import count_tokens, evaluating, make_encode
from embertune.model.layers import find_layers
from embertune.model.precision import width_of
from embertune.model.prompts import column_prompts
from embertune.plan import Plan, plan
from embertune.recipe import Recipe, load_recipe, replace
from embertune.recipe.losses import LOSSES
from embertune.training.batches import SAMPLERS, Stream
from embertune.training.fit import fit
from embertune.training.session import Surroundings
from embertune.watch import Progress, Silent, Watcher

#: The rows that come with the package: premises, and hypotheses that follow from them or contradict them.
SAMPLE = Path(__file__).parent / "sample" / "nli.jsonl"
#: Raw rows that are read of a user's data, at most.
ROWS = 4_000
#: Real tokens of a training step and of all texts that are encoded, about; they bound how long it all takes.
TOKENS_A_STEP, TOKENS_TO_ENCODE = 1_500, 8_000
#: Steps in a turn, of which the first is not counted. Turns of each side that are timed, after one that is not.
STEPS, TURNS = 3, 2
#: Texts of the parity check.
CHECKED = 32

Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pace:
    """Real tokens a second without and with the engine; padding counts on neither side."""

    plain: float
    packed: float

    @property
    def times(self) -> float:
        """How many times faster the engine is."""
        return self.packed / self.plain


@dataclass(frozen=True)
class Bench:
    """What was found. Speeds of products are in floating-point operations a second, memory in bytes.

    `tokens` is the mean of a text, special tokens counted, and `batch_size` the rows of a training step. The plain side
    of `training` is in float32, the packed one in `precision`, which embertune chose; `encoding` is in float32.
    `memory` (plain, packed) is what steps take above model and optimizer, None where it cannot be measured. `share` is
    what training (plain, packed) gets out of the products of its precision, counting real tokens only.
    """

    model: str
    data: str
    tokens: float
    batch_size: int
    precision: Precision
    parity: Parity
    training: Pace
    encoding: Pace
    memory: tuple[int, int] | None
    products: Mapping[Precision, float]
    share: tuple[float, float]
    machine: Mapping[str, Any]
    notes: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def bench(model: str | None, data: str | None, watch: Watcher) -> Bench:
    """Measure `model` on the rows of `data`, each None for the one that comes with embertune; a minute or two.

    Nothing is written outside the cache. Raises `EmbertuneError` for a model or data that cannot be used.
    """
    source = data or str(SAMPLE)
    watch.stage("load", f"{model or 'the default model'}, {Path(source).name}")
    job = _job(_planned(model, source))
    device = job.model.device.type
    watch.stage("products", "how fast this machine multiplies matrices")
    products = _products(device, {})
    watch.stage("parity", f"{min(CHECKED, len(job.texts))} texts, forward and backward")
    parity = check(job.model, job.texts[:CHECKED])
    watch.stage("training", f"{STEPS} steps of {job.batch_size} rows, plain and packed in turns, {TURNS} times")
    plain, packed = _training(job)
    watch.stage("encoding", f"{len(job.texts):,} texts, plain and packed in turns, {TURNS} times")
    encoding = _encoding(job)
    products = _products(device, products)  # the best of before and after: other work on the machine comes and goes
    return Bench(
        model=job.planned.built.source,
        data=source,
        tokens=float(_lengths(job.model, job.texts).mean()),
        batch_size=job.batch_size,
        precision=job.precision,
        parity=parity,
        training=Pace(plain.tokens_a_second, packed.tokens_a_second),
        encoding=encoding,
        memory=None if plain.memory is None or packed.memory is None else (plain.memory, packed.memory),
        products=products,
        share=(plain.work_a_second / products["float32"], packed.work_a_second / products[job.precision]),
        machine=hardware(device, torch.get_num_threads()),
        notes=job.planned.built.notes,
    )


def _products(device: str, before: Mapping[Precision, float]) -> dict[Precision, float]:
    """The speed of products in every precision, or that of `before` where it is higher."""
    chosen: tuple[Precision, ...] = PRECISIONS.get(device, ("float32",))
    return {precision: max(product_speed(precision, device), before.get(precision, 0.0)) for precision in chosen}


@dataclass(frozen=True)
class _Job:
    """A run that is planned, with batches that bound the time of a step, some of its texts, and its fast path."""

    planned: Plan
    recipe: Recipe
    texts: list[str]
    path: paths.Path | None

    @property
    def model(self) -> SentenceTransformer:
        return self.planned.built.model

    @property
    def batch_size(self) -> int:
        size = self.recipe.train.batch_size
        assert isinstance(size, int)
        return size

    @property
    def precision(self) -> Precision:
        chosen = self.recipe.train.precision
        assert chosen != "auto"
        return chosen

    def put(self, packed: bool) -> None:
        """Set the model on its fast path, or on the plain one."""
        if packed and self.path is not None:
            paths.attach(self.model, self.path)
        else:
            paths.detach(self.model)


def _planned(model: str | None, data: str) -> Plan:
    """Data and model as a run would take them, without dev and test; the model is on its fastest path."""
    given: dict[str, Any] = {"data.train": data if parse(data).rows is not None else f"{data}[:{ROWS}]"}
    given |= {"data.dev": "none", "data.test": "none", "train.max_steps": STEPS, "train.warmup": 0.0}
    return plan(load_recipe(set=given | ({"model.name": model} if model else {})), None, None, Silent())


def _job(planned: Plan) -> _Job:
    """A smaller batch where the planned one has too many tokens, and as many texts as there is time for."""
    model, train, recipe = planned.built.model, planned.data.sides.train, planned.resolved.recipe
    some = train.rows.select(range(min(len(train), 1_024)))
    texts = list(dict.fromkeys(text for row in some for text in (row[column] for column in train.text_columns)))
    lengths = _lengths(model, texts)
    a_row = float(lengths.mean()) * len(train.text_columns)
    assert isinstance(recipe.train.batch_size, int)
    size = min(recipe.train.batch_size, max(4, int(TOKENS_A_STEP / a_row)))
    enough = max(2, int(np.searchsorted(lengths.cumsum(), TOKENS_TO_ENCODE)))
    return _Job(planned, replace(recipe, {"train.batch_size": size}), texts[:enough], paths.path_of(model))


def _lengths(model: SentenceTransformer, texts: Sequence[str]) -> Lengths:
    """Real tokens of texts (n,), as far as the model reads them."""
    counts, limit = count_tokens(model, texts), model.max_seq_length
    return counts if limit is None else np.minimum(counts, limit)


@dataclass(frozen=True)
class _Taught:
    """How a side trained: real tokens and floating-point operations on them a second; bytes above the start."""

    tokens_a_second: float
    work_a_second: float
    memory: int | None


class _Clock(Silent):
    """Notes when steps end; memory counts from the first one on, when model and optimizer are complete."""

    def __init__(self, device: torch.device, weigh: bool) -> None:
        self.device, self.weigh = device, weigh
        self.ends: list[float] = []
        self.before: int | None = None
        self.memory: int | None = None

    def step(self, progress: Progress) -> None:
        """A step is done."""
        synchronize(self.device)
        if self.weigh and progress.step == 1:
            self.before = begin_peak(self.device)
        elif self.before is not None and (peak := peak_memory(self.device)) is not None:
            self.memory = max(0, peak - self.before)
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Of every step but the first."""
        return [later - sooner for sooner, later in zip(self.ends, self.ends[1:], strict=False)]


def _training(job: _Job) -> tuple[_Taught, _Taught]:
    """The plain and the packed model through the same steps: memory in the first turn, time in the others."""
    lengths = [_lengths(job.model, texts) for texts in _steps(job)][1:]
    tokens = float(sum(step.sum() for step in lengths))
    work = sum(3 * model_work(job.model, step) for step in lengths)
    weighed = {packed: _turn(job, packed, weigh=True) for packed in (False, True)}
    timed: dict[bool, list[_Clock]] = {False: [], True: []}
    for _ in range(TURNS):
        for packed, clocks in timed.items():
            clocks.append(_turn(job, packed, weigh=False))
    seconds = {
        packed: sum(median(step) for step in zip(*(clock.seconds for clock in clocks), strict=True))
        for packed, clocks in timed.items()
    }
    found = {side: _Taught(tokens / took, work / took, weighed[side].memory) for side, took in seconds.items()}
    return found[False], found[True]


def _steps(job: _Job) -> list[list[str]]:
    """All texts of every step of a turn."""
    train, settings = job.planned.data.sides.train, job.recipe.train
    assert settings.loss != "auto"
    sampler = SAMPLERS[LOSSES[settings.loss].samplers[train.shape]](train, job.batch_size)
    batches = Stream(sampler, job.recipe.seed, STEPS)
    return [[text for c in train.text_columns for text in train.rows.select(batch)[c]] for batch in batches]


def _turn(job: _Job, packed: bool, weigh: bool) -> _Clock:
    """One turn of a side through the training of embertune's own; the plain side in float32 and from texts."""
    job.put(packed)
    train, clock = job.planned.data.sides.train, _Clock(job.model.device, weigh)
    recipe = job.recipe if packed else replace(job.recipe, {"train.precision": "float32"})
    with tempfile.TemporaryDirectory() as folder:
        prompts = column_prompts(job.planned.built.role_prompts, train.text_columns)
        around = Surroundings(
            score=None,
            history=Path(folder) / "history",
            watch=clock,
            prompts=prompts,
            tokens=job.planned.tokens if packed else None,
        )
        fit(job.model, train, recipe, around)
    return clock


def _encoding(job: _Job) -> Pace:
    """Plain `encode` as it comes, and embertune's on the packed model, both in float32."""
    model, tokens = job.model, float(_lengths(job.model, job.texts).sum())
    ours = make_encode(model, {}, tokens=job.planned.tokens)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with evaluating(model):
        for turn in range(TURNS + 1):
            for packed, found in seconds.items():
                job.put(packed)
                started = time.perf_counter()
                if packed:
                    ours(job.texts, "text")
                else:
                    model.encode(job.texts, prompt="", show_progress_bar=False)
                if turn:  # the first one warms up
                    found.append(time.perf_counter() - started)
    return Pace(tokens / median(seconds[False]), tokens / median(seconds[True]))


def model_work(model: SentenceTransformer, lengths: Lengths) -> float:
    """Floating-point operations of a forward pass over texts of these `lengths` (n,) in tokens, without padding.

    Products with the matrices of the blocks, and attention (scores, and their product with the values). A backward
    pass costs twice as much. Kaplan et al. 2020, arXiv:2001.08361, table 1.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.ndim == 2}
    blocks = find_layers(model).blocks
    matrices: int = sum(block.repeated * sum(sizes.get(name, 0) for name in block.parameters) for block in blocks)
    depth: int = sum(block.repeated for block in blocks)
    tokens, pairs = float(lengths.sum()), float(np.square(lengths, dtype=np.float64).sum())
    return 2.0 * matrices * tokens + 4.0 * depth * (width_of(model) or 0) * pairs
