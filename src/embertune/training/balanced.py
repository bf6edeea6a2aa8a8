"""Batches that draw every class or label evenly, however many rows it has; pure functions of seed and epoch.

A pass is as long as one over all rows would be. Within it, small classes come round several times and large ones are
seen in part: the next pass draws others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from embertune.data.balance import class_weights
from embertune.data.prepared import Note, Prepared
from embertune.data.strata import STRATA, stratum_numbers
from embertune.recipe.balancing import draws_evenly, weighs
from embertune.recipe.losses import Sampler
from embertune.recipe.sections import Recipe
from embertune.training.batches import (
    SAMPLERS,
    Batches,
    Codes,
    apart,
    left_out,
    pairs_in_turn,
    rows_of_a_class,
    text_codes,
)

#: The rows of one draw of a class, endlessly: a row, a pair, or several.
Draws = Iterator[Codes]


def evenly(train: Prepared, sampler: Sampler, size: int) -> Callable[[int, int], Batches]:
    """As the sampler of that name, with classes drawn evenly: in a batch they differ by one draw at most.

    `class_pairs` draws a class once a batch at most. Classes of which nothing can be drawn (a single text, where two
    are needed) stay out.
    """
    labels = stratum_numbers(train)
    codes = text_codes(train) if sampler != "shuffled" else np.arange(len(train), dtype=np.int64)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if sampler != "shuffled":
        members = [m for m in members if len(np.unique(codes[m])) > 1]
    each = rows_of_a_class(len(members), size) if sampler == "class_groups" else 1
    most = len(members) if sampler == "class_pairs" else sum(map(len, members))
    slots = min(size // each, most)

    def plan(seed: int, epoch: int) -> Batches:
        if len(members) < 2 or slots < 2:
            return []
        chance = np.random.default_rng([seed, epoch])
        decks = [_deck(m, codes, sampler, each, chance) for m in members]
        count = -(-sum(map(len, members)) // (slots * each))
        turns = _turns(len(members), slots, chance)
        return [np.concatenate([next(decks[which]) for which in next(turns)]).tolist() for _ in range(count)]

    return plan


def _turns(classes: int, slots: int, chance: np.random.Generator) -> Iterator[Sequence[int]]:
    """Which classes the batches draw, `slots` each: all in turn, in a new order every round, none twice before all."""
    waiting: list[int] = []
    while True:
        turn = list(range(classes)) * (slots // classes)
        left = slots % classes
        drawn, waiting = waiting[:left], waiting[left:]
        if len(drawn) < left:
            new = chance.permutation(classes).tolist()
            more = [which for which in new if which not in drawn][: left - len(drawn)]
            waiting = [which for which in new if which not in more]
            drawn += more
        yield turn + drawn


def _deck(members: Codes, codes: Codes, sampler: Sampler, each: int, chance: np.random.Generator) -> Draws:
    """Draws of one class: all its rows in a new order, again and again."""
    while True:
        order = apart(chance.permutation(members), codes)
        if sampler == "class_pairs":
            yield from pairs_in_turn(order, codes)
        else:
            whole = max(1, len(order) // each)
            yield from np.split(order[: whole * each], range(each, whole * each, each))


def batches_of(train: Prepared, recipe: Recipe, sampler: Sampler) -> Callable[[int, int], Batches]:
    """The batches of any pass by seed and epoch, with classes drawn evenly where the resolved recipe asks for it."""
    size = recipe.train.batch_size
    assert isinstance(size, int)
    if draws_evenly(recipe.data.balance, recipe.train.loss):
        return evenly(train, sampler, size)
    return SAMPLERS[sampler](train, size)


def told(train: Prepared, recipe: Recipe, sampler: Sampler, first: Batches) -> tuple[Note, ...]:
    """What the first pass leaves out, or draws how often; no note where every row stands in it once."""
    if not draws_evenly(recipe.data.balance, recipe.train.loss):
        return left_out(train, sampler, first)
    times = np.bincount([row for batch in first for row in batch], minlength=len(train))
    missing = int((times == 0).sum())
    why = f"{recipe.train.loss} cannot weigh its rows, so " if recipe.data.balance == "weights" else ""
    text = (
        f"{why}every batch draws the {STRATA[train.shape][1]} evenly: the first pass has {missing:,} of {len(train):,} "
        f"training rows not at all, and none more than {int(times.max())} times"
    )
    return (Note("data.balance", text, missing),)


def weights_of(train: Prepared, recipe: Recipe) -> Tensor | None:
    """The weight of each class or label in the loss, (classes,); None where nothing is weighed."""
    if not weighs(recipe.data.balance, recipe.train.loss):
        return None
    return torch.tensor(class_weights(train), dtype=torch.float32)
