"""The audit of a run: the data, in the tokens of its model and the batches of its recipe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embertune.data.audit import audit, troubles
from embertune.data.findings import Finding
from embertune.data.inbatch import Batches
from embertune.data.prepared import Sides
from embertune.data.texts import Tokens
from embertune.engine.tokens import TokenStore
from embertune.model.build import Built
from embertune.model.prompts import prompt_of
from embertune.recipe import Recipe
from embertune.recipe.losses import LOSSES
from embertune.recipe.positives import sampler_of
from embertune.watch import Watcher

#: Findings that are told while a run goes on; the report has all of them.
TOLD = 5


def examine(
    sides: Sides, recipe: Recipe, built: Built | None, store: TokenStore | None, watch: Watcher
) -> tuple[Finding, ...]:
    """What the audit finds in the sides, before anything is added to train; the recipe is resolved.

    Lengths are in words where no model, or no store of its tokens, is there.
    """
    watch.stage("audit", "duplicates, lengths, languages, and whether dev and test are like train")
    tokens = None if built is None or store is None else tokens_of(built, store)
    near, how = recipe.data.near_duplicates, batches_of(recipe, sides.train.shape)
    found = audit(sides, tokens=tokens, batches=how, near=near, seed=recipe.seed)
    grave = troubles(found)
    for finding in grave[:TOLD]:
        watch.note(told(finding))
    if len(grave) > TOLD:
        watch.note(f"and {len(grave) - TOLD} more findings, in audit.json and the report")
    return found


def told(finding: Finding) -> str:
    """A finding on one line."""
    count = f"{finding.count:,} of {finding.of:,} " if finding.of else ""
    done = f"; {finding.done}" if finding.done else ""
    return f"{finding.side}: {count}{finding.text}{done}"


def tokens_of(built: Built, store: TokenStore) -> Tokens:
    """How the model counts, with the prompt of each column."""

    def count(texts: Sequence[str], column: str) -> npt.NDArray[np.int64]:
        return store.counts(texts, prompt_of(built.role_prompts, column)).astype(np.int64)

    return Tokens(count, built.model.max_seq_length)


def batches_of(recipe: Recipe, shape: str) -> Batches | None:
    """How rows meet in the batches of a resolved recipe; None for a loss that has no place in the table."""
    train = recipe.train
    if train.loss == "auto" or not isinstance(train.batch_size, int) or shape not in LOSSES[train.loss].samplers:
        return None
    masked = train.known_positives == "mask"
    return Batches(train.batch_size, sampler_of(train, shape), LOSSES[train.loss].in_batch_negatives, masked)
