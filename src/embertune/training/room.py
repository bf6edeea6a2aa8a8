"""Is there room for the longest batch, and in which chunks: what a step needs against what is free."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from embertune.data.prepared import Prepared
from embertune.engine.tokens import TokenStore
from embertune.errors import Problem, RecipeError
from embertune.manifest import hardware, machine_of
from embertune.model.build import Built
from embertune.model.encode import count_tokens
from embertune.model.freezing import held
from embertune.model.precision import device_of
from embertune.model.prompts import column_prompts
from embertune.recipe import Recipe, replace
from embertune.recipe.guidance import Resolved
from embertune.recipe.measured import Measured
from embertune.recipe.settle import settle
from embertune.training.free import free_bytes
from embertune.training.longest import with_longest
from embertune.training.memory import Memory, decide, no_trial, refuse
from embertune.training.weigh import Lengths, make_trial, weigh

WHERE = "train.chunk"

#: Arguments of the trainer that compute activations anew instead of keeping them.
_UNCOUNTED = ("gradient_checkpointing", "activation_checkpointing")


@dataclass(frozen=True)
class Room:
    """`resolved` with `train.chunk` decided, what a step needs, and the bytes that are free (None: nothing tells)."""

    resolved: Resolved
    memory: Memory
    free: int | None


def find_room(
    built: Built,
    train: Prepared,
    resolved: Resolved,
    known: Mapping[str, Measured],
    tokens: TokenStore | None,
    frozen: Collection[str] = (),
) -> Room:
    """Decide `train.chunk` by what the longest batch needs; `TrainingError` where nothing fits.

    `known` is what was decided when the run began, `tokens` the store of what the model reads, if there is one.
    `frozen` are the parameters that are never trained: they keep nothing.
    """
    with held(built.model, frozen):
        return _find(built, train, resolved, known, tokens)


def _find(
    built: Built, train: Prepared, resolved: Resolved, known: Mapping[str, Measured], tokens: TokenStore | None
) -> Room:
    recipe, device = resolved.recipe, device_of(resolved.recipe, built.model)
    prompts = column_prompts(built.role_prompts, train.text_columns)
    lengths = lengths_of(built.model, tokens)
    train = with_longest(train, recipe, prompts, lengths)
    memory = weigh(built.model, train, recipe, prompts, lengths)
    free = None if any(recipe.train.extra.get(name) for name in _UNCOUNTED) else free_bytes(device)
    trial = make_trial(built.model, train, recipe, prompts, memory) if device.type == "cuda" else no_trial
    machine = machine_of(hardware(str(device), torch.get_num_threads()))

    def ask(_: Recipe) -> Measured:
        return dataclasses.replace(decide(memory, free, trial), machine=machine)

    settled = settle(resolved, known, {WHERE: ask})
    chunk = settled.recipe.train.chunk
    assert chunk != "auto"
    refuse(memory, chunk, free, trial if recipe.train.chunk != "auto" else no_trial)
    return Room(settled, memory, free)


def lengths_of(model: SentenceTransformer, tokens: TokenStore | None) -> Lengths:
    """How many tokens the model reads of texts, from its store where it has one."""
    if tokens is not None:
        return tokens.lengths
    limit = model.max_seq_length or np.iinfo(np.int64).max
    return lambda texts, prompt: np.minimum(count_tokens(model, texts, prompt), limit)


def uncut(resolved: Resolved, memory: Memory, free: int | None) -> Resolved:
    """The same without chunks, for a loss that may ask the model for anything; errors where it must have them."""
    chunk = resolved.recipe.train.chunk
    if WHERE not in resolved.reasons and chunk is not None:
        found = f"found {chunk}, and a loss is handed over, which may not bear it"
        raise RecipeError(Problem(WHERE, found, f"write {WHERE}: null"))
    refuse(dataclasses.replace(memory, chunks=False), None, free)
    if chunk is None:
        return resolved
    why = "a loss handed over from Python takes the batch as it is"
    measured = {path: found for path, found in resolved.measured.items() if path != WHERE}
    recipe, reasons = replace(resolved.recipe, {WHERE: None}), {**resolved.reasons, WHERE: why}
    return dataclasses.replace(resolved, recipe=recipe, reasons=reasons, measured=measured)
