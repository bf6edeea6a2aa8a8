"""Whether states of frozen layers are kept in a run, decided before the first step: by counting, and by a trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from embertune.data.prepared import Prepared
from embertune.data.store import batches
from embertune.engine.boundaries import Stretch, cost, depths
from embertune.engine.prefill import Texts, gather
from embertune.engine.prefixstore import StateStore, Storage
from embertune.engine.prefixtrial import fault, holds, steady
from embertune.engine.tokens import TokenStore
from embertune.errors import Problem, RecipeError
from embertune.manifest import hardware, machine_of
from embertune.model.precision import device_of, width_of
from embertune.model.prefix import make_prefix, why_not
from embertune.model.prompts import column_prompts, prompt_of
from embertune.recipe import Recipe
from embertune.recipe.guidance import Resolved
from embertune.recipe.measured import Measured
from embertune.recipe.positives import sampler_of
from embertune.recipe.prefix import NOT_WITH, WHERE
from embertune.recipe.sections import TrainSection
from embertune.recipe.settle import settle
from embertune.recipe.units import parse_span
from embertune.training.course import Course, Phase

#: Texts on which a prefix is tried, and about as many tokens as that puts through it: less is not worth saving.
TRIED, TRIAL = 24, 10_000


@dataclass(frozen=True, eq=False)
class Reader:
    """Finds what a run puts through the model in the store of tokens: training rows, and the texts of `dev` by role.

    `prompts` go from role to prompt.
    """

    tokens: TokenStore
    prompts: Mapping[str, str]
    dev: Mapping[str, Sequence[str]]

    def __call__(self, train: Prepared) -> Texts:
        """All of it; what is read of each column, and of each role of dev, in this order."""
        prompts = column_prompts(self.prompts, train.text_columns)
        columns = [(prompts.get(name, ""), _column(train, name)) for name in train.text_columns]
        dev = [(prompt_of(self.prompts, role), texts) for role, texts in self.dev.items()]
        return gather(self.tokens, [*columns, *dev])


def _column(train: Prepared, name: str) -> Iterator[str]:
    return chain.from_iterable(piece.to_pylist() for piece in batches(train.rows, name))


@dataclass(frozen=True)
class Asked:
    """What a decision is made with: what was decided when the run began, and how texts are found.

    `reader` is None for a model whose texts are not kept as tokens.
    """

    known: Mapping[str, Measured]
    reader: Reader | None


@dataclass(frozen=True)
class Counted:
    """Tokens: of all distinct texts, of a pass over the training rows as the model reads them, of a look at dev."""

    distinct: int
    epoch: int
    look: int

    def stretch(self, phase: Phase, blocks: int, course: Course, every: int) -> Stretch:
        """What goes through the model in a phase with so many blocks frozen, where dev is looked at every `every`."""
        batches = (phase.last - phase.first) * course.accumulate
        looks = phase.last // every - phase.first // every if every else 0
        return Stretch(blocks, self.epoch * batches // course.batches_of_epochs[0] + self.look * looks)


def count(texts: Texts, train: Prepared, recipe: Recipe) -> Counted:
    """The tokens of `texts`, which a `Reader` found."""
    columns = len(train.text_columns)
    times = 2 if sampler_of(recipe.train, train.shape) == "class_pairs" else 1
    times *= 2 if recipe.train.chunk is not None else 1  # in chunks every text goes through twice
    return Counted(texts.wanted.tokens, times * sum(texts.read[:columns]), sum(texts.read[columns:]))


@dataclass(frozen=True, eq=False)
class PrefixPlan:
    """States that are kept as `storage`, of which texts, and whether others may share them.

    Dev is looked at `every` so many steps (0: never). `wanted` is the depth of a store that is made though none pays,
    because it is asked for; 0 for none. Otherwise what is asked for and what `auto` becomes are the same.
    """

    storage: Storage
    reader: Reader
    texts: Texts
    counted: Counted
    course: Course
    every: int
    wanted: int = 0
    steady: bool = True

    def depths(self, phases: Sequence[tuple[Phase, int]], there: Sequence[int] = ()) -> tuple[int, ...]:
        """How deep the store is for each of `phases`, which come with their frozen blocks; stores so deep are `there`.

        0 for none.
        """
        stretches = [self.counted.stretch(phase, blocks, self.course, self.every) for phase, blocks in phases]
        return depths(stretches, self.counted.distinct, {*there, self.wanted})

    def spared(self, reads: Sequence[int]) -> int:
        """How many tokens go through a block less with stores so deep, their filling counted, than with none."""
        of_phases = self._stretches()
        without = cost(of_phases, [0] * len(of_phases), self.counted.distinct)
        return without - cost(of_phases, reads, self.counted.distinct)

    @property
    def times(self) -> float:
        """How often a text goes through the model in the run, in training and in looks at dev, on average."""
        return sum(stretch.tokens for stretch in self._stretches()) / max(1, self.counted.distinct)

    def _stretches(self) -> list[Stretch]:
        phases = self.course.phases
        return [self.counted.stretch(phase, phase.frozen_blocks, self.course, self.every) for phase in phases]


@dataclass(frozen=True, eq=False)
class _Found:
    """What would be kept, or None, and why; what to do instead; figures, their units in their names.

    `cannot` tells that something stands in the way; otherwise it is that nothing would be gained.
    """

    plan: PrefixPlan | None
    reason: str
    remedy: str = "write auto or null"
    figures: Mapping[str, float] = field(default_factory=dict)
    cannot: bool = False


def find_prefix(
    model: SentenceTransformer, train: Prepared, resolved: Resolved, course: Course, asked: Asked
) -> tuple[Resolved, PrefixPlan | None]:
    """Decide `train.prefix_cache`, and what is kept; `RecipeError` where it is written and cannot take effect.

    A last note says where `auto` cannot keep anything, so that freezing saves less time than it might.
    """
    recipe = resolved.recipe
    if recipe.train.prefix_cache is None:
        return resolved, None
    found = _find(model, train, recipe, course, asked.reader)
    storage = found.plan.storage if found.plan else None
    machine = machine_of(hardware(str(device_of(recipe, model)), torch.get_num_threads()))
    measured = Measured(storage, found.reason, found.figures, machine)
    settled = settle(resolved, asked.known, {WHERE: lambda _: measured})
    value = settled.recipe.train.prefix_cache
    if value is not None and value != storage:
        raise RecipeError(Problem(WHERE, f"found {value}: {found.reason}", found.remedy))
    if found.cannot:
        note = f"frozen layers are computed in every pass, for their states cannot be kept: {found.reason}"
        settled = dataclasses.replace(settled, notes=(*settled.notes, note))
    return settled, found.plan if value is not None else None


def _find(model: SentenceTransformer, train: Prepared, recipe: Recipe, course: Course, reader: Reader | None) -> _Found:
    """What `auto`, or what is written, comes to."""
    deepest = max(phase.frozen_blocks for phase in course.phases)
    if not deepest:
        return _Found(None, "no layers are frozen together with the embeddings")
    if name := next((name for name in NOT_WITH if recipe.train.extra.get(name)), None):
        return _Found(None, f"train.extra.{name} is set, with which it has not been tested", cannot=True)
    why = why_not(model, reader.tokens if reader else None)
    if why or reader is None:
        return _Found(None, why, cannot=True)
    every = parse_span(recipe.guard.eval_every).in_steps(course.per_epoch) if recipe.guard.eval_every else 0
    texts = reader(train)
    written = recipe.train.prefix_cache if recipe.train.prefix_cache != "auto" else None
    plan = PrefixPlan(written or "float16", reader, texts, count(texts, train, recipe), course, every)
    phases = [(phase, phase.frozen_blocks) for phase in course.phases]
    if written and not any(plan.depths(phases)):
        plan = dataclasses.replace(plan, wanted=deepest)
    chosen = plan.depths(phases)
    spared = plan.spared(chosen)
    figures = {"kept_tokens": plan.counted.distinct, "spared_tokens_times_layers": spared, "layers": max(chosen)}
    if not written and spared <= TRIAL * max(chosen):
        return _Found(None, "states of frozen layers would hardly be read more often than computed", figures=figures)
    return dataclasses.replace(_tried(model, plan, recipe.train, max(chosen)), figures=figures)


def _tried(model: SentenceTransformer, plan: PrefixPlan, train: TrainSection, depth: int) -> _Found:
    """The plan after a trial on a few texts."""
    written, precision = train.prefix_cache != "auto", train.precision
    assert precision != "auto"
    some = plan.texts.some(np.arange(min(TRIED, len(plan.texts.wanted))))
    width = width_of(model)
    assert width is not None
    prefix = make_prefix(model, depth, StateStore(None, width, "float32", 2**30), precision)
    if why := fault(model, prefix, some):
        return _Found(None, f"not with this model: {why}", cannot=True)
    storage = plan.storage
    if not holds(prefix, some, storage):
        if written:
            return _Found(None, "it does not hold states as large as this model's", "write float32")
        storage = "float32"
    chosen = dataclasses.replace(plan, storage=storage, steady=steady(prefix, some))
    texts, tokens = len(plan.texts.wanted), plan.counted.distinct
    reason = (
        f"{texts:,} texts ({tokens:,} tokens) pass the frozen layers once; the run reads them {plan.times:.1f} times"
    )
    return _Found(chosen, reason)
