"""How much of dev a run measures and how often: what a look costs in tokens, and the part of dev that is affordable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from embertune.data.prepare import Data
from embertune.data.prepared import Note, Prepared
from embertune.data.sample import BESIDE, first_of, sampled, spread
from embertune.engine.tokens import TokenStore
from embertune.evaluate.evalset import EvalSet
from embertune.evaluate.scene import Scene, with_dev
from embertune.model.build import Built
from embertune.model.encode import count_tokens
from embertune.model.prompts import prompt_of
from embertune.recipe.budget import LEAST, Cost
from embertune.recipe.guidance import Resolved, decided
from embertune.recipe.load import replace as vary
from embertune.recipe.positives import sampler_of
from embertune.recipe.rules import Facts, interval_of, spending_of
from embertune.training.balanced import batches_of

Counts = npt.NDArray[np.int64]
#: Texts and their role to the tokens that the model reads of each, (n,).
Count = Callable[[Sequence[str], str], Counts]

#: Training rows whose tokens are counted, spread over all of them: the mean of so many is right to about 1 %.
ROWS = 10_000
#: How often a sample is taken anew where its items turn out too long.
TRIES = 4
EVERY = "guard.eval_every"
#: What a part of dev is to the figures it gives, by shape; the others are as they would be over the whole.
_BIASED = {
    "pairs": "fewer answers to choose from make its figures higher than those of the whole",
    "retrieval": "fewer documents to choose from make its figures higher than those of the whole",
    "classes": "fewer rows to look among make its figures lower than those of the whole",
}


@dataclass(frozen=True)
class Looks:
    """What looking at dev takes: `items` of `of` items, `tokens` each time, of those trained a `share` in all.

    It is done `number` times in training, and at most `later` times to choose what is saved.
    """

    number: int
    items: int
    of: int
    tokens: int
    share: float
    later: int = 0

    def __str__(self) -> str:
        part = f"{self.items:,} of {self.of:,}" if self.items < self.of else f"all {self.of:,}"
        number = f"{self.number} looks in training and {self.later} to choose" if self.later else f"{self.number} looks"
        return f"{number} at {part} dev items encode {self.share:.1%} of the tokens that are trained"


@dataclass(frozen=True)
class Within:
    """Data, scene and recipe with the part of dev that is measured, and what looking at it takes; None without dev."""

    data: Data
    scene: Scene
    resolved: Resolved
    looks: Looks | None = None


def counting(built: Built, tokens: TokenStore | None) -> Count:
    """How many tokens the model reads of a text."""

    def count(texts: Sequence[str], role: str) -> Counts:
        prompt = prompt_of(built.role_prompts, role)
        if tokens is not None:
            return tokens.lengths(texts, prompt).astype(np.int64)
        return np.minimum(count_tokens(built.model, texts, prompt), built.model.max_seq_length or np.inf)

    return count


def cost_of(dev: EvalSet, train: Prepared, sides: int = 0, count: Count | None = None) -> Cost:
    """What looking at the whole of `dev` costs beside training on `train`; in texts where nothing counts tokens.

    Rows of so many `sides` are probed as well.
    """
    count = count or (lambda texts, _role: np.ones(len(texts), dtype=np.int64))
    every = max(1, len(train) // ROWS)
    rows = train.rows.select(range(0, len(train), every)) if every > 1 else train.rows
    row = sum(float(count(list(rows[column]), column).mean()) for column in train.text_columns)
    tokens = {role: count(texts, role) for role, texts in dev.texts.items() if texts}
    beside = _beside(dev)
    others = {role: counts[beside[role]] for role, counts in tokens.items() if role in beside}
    whole, extra = (float(sum(counts.sum() for counts in some.values())) for some in (tokens, others))
    texts = sum(map(len, others.values()))
    return Cost(
        row=row * (2 if train.shape == "classes" else 1),
        item=(whole - extra) / len(dev),
        items=len(dev),
        beside=extra,
        least=extra * min(1.0, BESIDE / texts) if texts else 0.0,
        sides=sides,
    )


def _beside(dev: EvalSet) -> dict[str, npt.NDArray[np.bool_]]:
    """Which texts of a role belong to no item, where there can be such: documents, or rows with neighbours to find."""
    if dev.relevant is not None:
        role, used = "positive", dev.relevant.documents
    elif dev.shape == "classes":
        role, used = "text", dev.index["text"]
    else:
        return {}
    mask = np.ones(len(dev.texts[role]), dtype=np.bool_)
    mask[used] = False
    return {role: mask}


def within_budget(made: Within, plain: Prepared, facts: Facts, count: Count) -> Within:
    """Sample dev: to `guard.items`, or where the whole of it costs more than `guard.budget` allows at the interval.

    `plain` are the training rows before any were added, `facts.looking` is the cost of the dev set, or of the items
    that `guard.items` names. What is sampled, and what stays above the budget, is among the notes; what looking takes
    is the reason of `guard.budget`.
    """
    whole = made.scene.dev
    if whole is None:
        return made
    made, facts = _by_batches(made, facts)
    recipe = made.resolved.recipe
    spending, every = spending_of(facts, recipe), interval_of(facts, recipe)
    number = spending.looks(every)
    named = recipe.guard.items
    if named is not None:
        made = _named(made, plain, named) if named < len(whole) else made
    elif (items := spending.items(every)) is not None:
        made = _fitted(made, plain, items, spending.allowed(every), count)
    dev = made.scene.dev
    assert dev is not None
    tokens = _tokens(dev, count)
    spent = number * spending.probes + (number + spending.later) * tokens
    share = spent / spending.trained
    looks = Looks(number, len(dev), len(whole), tokens, share, spending.later)
    notes = [*made.data.sides.notes]
    if dev.texts_to_encode < whole.texts_to_encode:
        notes.append(_note(looks, dev, whole, "guard.budget" if named is None else "guard.items"))
    if recipe.guard.budget is not None and share > recipe.guard.budget:
        less = "fewer looks or items would tell too little" if named is None else "guard.items says how many items"
        notes.append(Note("dev", f"{looks}, more than guard.budget: {recipe.guard.budget:g}; {less}"))
    data = replace(made.data, sides=replace(made.data.sides, notes=tuple(notes)))
    reasons = {**made.resolved.reasons, "guard.budget": str(looks)}
    return Within(data, made.scene, replace(made.resolved, reasons=reasons), looks)


def _by_batches(made: Within, facts: Facts) -> tuple[Within, Facts]:
    """The interval decided anew, where it is not the user's, now that batches can be planned; a pass may skip rows."""
    train, recipe = made.data.sides.train, made.resolved.recipe
    batches = batches_of(train, recipe, sampler_of(recipe.train, train.shape))(recipe.seed, 0)
    if not batches:
        return made, facts
    facts = replace(facts, first_pass=(sum(map(len, batches)), len(batches)))
    if EVERY in made.resolved.reasons:
        every, why = decided(EVERY, recipe, facts)
        resolved = replace(made.resolved, recipe=vary(recipe, {EVERY: every}))
        made = replace(made, resolved=replace(resolved, reasons={**resolved.reasons, EVERY: why}))
    return made, facts


def _fitted(made: Within, plain: Prepared, items: int, allowed: float, count: Count) -> Within:
    """About so many items; fewer, but not below the least, where those that chance took are longer than others."""
    assert made.scene.dev is not None
    whole = len(made.scene.dev)
    share = items / whole
    for _ in range(TRIES):
        found = _sampled(made, plain, share)
        assert found.scene.dev is not None
        over = _tokens(found.scene.dev, count) / max(allowed, 1.0)
        if over <= 1 or share * whole <= LEAST:
            break
        share = max(share / over, LEAST / whole)
    return found


def _sampled(made: Within, plain: Prepared, share: float) -> Within:
    dev = made.data.sides.dev
    assert dev is not None
    return _looking_at(made, plain, sampled(dev, share, made.resolved.recipe.seed) if share < 1 else dev)


def _named(made: Within, plain: Prepared, items: int) -> Within:
    """So many items, which for retrieval are queries of one row or several."""
    dev, whole = made.data.sides.dev, made.scene.dev
    assert dev is not None
    assert whole is not None
    rows = math.ceil(items * len(dev) / len(whole))
    return _looking_at(made, plain, first_of(dev, rows, made.resolved.recipe.seed))


def _looking_at(made: Within, plain: Prepared, dev: Prepared) -> Within:
    sides, seed = made.data.sides, made.resolved.recipe.seed
    index = spread(plain, seed) if dev.shape == plain.shape == "classes" else None
    return replace(made, data=replace(made.data, sides=replace(sides, dev=dev)), scene=with_dev(made.scene, dev, index))


def _tokens(dev: EvalSet, count: Count) -> int:
    return sum(int(count(texts, role).sum()) for role, texts in dev.texts.items())


def _note(looks: Looks, dev: EvalSet, whole: EvalSet, leaf: str) -> Note:
    """What was left out, as which leaf says, and what that does to the figures of dev."""
    kept = f"dev: {looks.items:,} of {looks.of:,} items are measured, by the hash of the group"
    if dev.texts_to_encode < whole.texts_to_encode:
        kept += f", and {dev.texts_to_encode:,} of {whole.texts_to_encode:,} texts encoded"
    why = f"{leaf}: {looks}"
    biased = f"; {_BIASED[dev.shape]}" if dev.shape in _BIASED else ""
    return Note("dev", f"{kept} ({why}){biased}", looks.of - looks.items)
