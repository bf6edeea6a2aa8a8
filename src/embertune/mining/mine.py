"""Mining: a pool of texts and an encoder in, negatives for every anchor out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embertune.errors import Problem, RecipeError
from embertune.mining.alike import Alike
from embertune.mining.choose import Chosen, ceilings, choose
from embertune.mining.pool import Pool
from embertune.mining.search import Floats, cut, nearest, unit_length
from embertune.model.encode import Encode
from embertune.recipe.negatives import WHERE, NegativesSection

#: Shapes with an anchor and a positive.
SHAPES = ("pairs", "retrieval", "triplets")


@dataclass(frozen=True)
class Mined:
    """`chosen` for every anchor of `pool`, with the scores of its negatives (anchors, n) and of each row's positive."""

    pool: Pool
    chosen: Chosen
    scores: Floats
    positives: Floats


def check_shape(shape: str) -> None:
    """Raise RecipeError for rows that have no anchor and positive."""
    if shape not in SHAPES:
        found = f"has no effect on {shape} rows, which have no anchor and positive"
        raise RecipeError(Problem(WHERE, found, f"leave it out; it takes {', '.join(SHAPES)} and NLI as triplets"))


def mine(pool: Pool, encode: Encode, settings: NegativesSection, alike: float | None, seed: int) -> Mined:
    """Negatives by the cosine that `encode` gives anchors and candidates. `alike` is the threshold of near duplicates.

    The margins are kept from the lowest-scored positive of an anchor. Chance is a hash of the anchor and `seed`.
    """
    queries = unit_length(encode(pool.anchors.to_pylist(), "anchor"))
    documents = unit_length(encode(pool.candidates.to_pylist(), "positive"))
    positives = _products(queries[pool.anchor_of], documents[pool.positive_of])
    lowest = np.full(len(queries), np.inf, dtype=np.float32)
    np.minimum.at(lowest, pool.anchor_of, positives)
    found = nearest(queries, documents, settings.range_max, pool.barred, cut(pool.barred_counts()))
    chosen = choose(pool, found, ceilings(lowest, settings), settings, Alike(pool.candidates, alike), seed)
    columns = [_products(queries, documents[chosen.negatives[:, n]]) for n in range(settings.num_negatives)]
    return Mined(pool, chosen, np.stack(columns, axis=1), positives)


def _products(left: Floats, right: Floats) -> Floats:
    """The product of each row with its partner, (n,)."""
    made: Floats = np.einsum("nd,nd->n", left, right)
    return made
