"""What was mined, kept in the cache: a run that goes on, or is asked for its result, does not search again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from embertune.data.hashing import digest_of, keys_of
from embertune.data.store import cache_key, mapped, quiet
from embertune.mining.choose import Chosen
from embertune.mining.mine import Mined
from embertune.mining.pool import Pool


def kept(pool: Pool, what: str, about: str, work: Callable[[], Mined]) -> Mined:
    """What `work` gives for `pool`, from the cache where it was done before.

    `what` stands for all that decides besides the texts: weights, prompts, settings, seed. `about` tells people.
    """

    def pieces() -> Iterator[pa.Table]:
        made = work()
        chosen = made.chosen
        arrays = (chosen.negatives, chosen.drawn, made.scores, made.positives)
        counts = np.array([chosen.filled, chosen.too_close, chosen.alike])
        values = [pa.array([array.reshape(-1)]) for array in (*arrays, counts)]
        yield pa.table(dict(zip(_COLUMNS, values, strict=True)))

    with quiet():
        rows = mapped(pieces(), cache_key("mining", _digest(pool), what), f"{about}: what was mined")
        table = rows.with_format("arrow")[:]
    negatives, drawn, scores, positives, counts = (
        table.column(name).chunk(0).flatten().to_numpy(zero_copy_only=False) for name in _COLUMNS
    )
    shape = (len(pool.anchors), -1)
    chosen = Chosen(negatives.reshape(shape), drawn.reshape(shape), *(int(count) for count in counts))
    return Mined(pool, chosen, scores.reshape(shape), positives)


_COLUMNS = ("negatives", "drawn", "scores", "positives", "counts")


def _digest(pool: Pool) -> str:
    """One sha256 for texts and for who must not meet whom."""
    texts = [keys_of(values.to_pylist(), str) for values in (pool.anchors, pool.candidates)]
    who = [array for lists in (pool.groups, pool.texts) for array in (lists.starts, lists.members)]
    return digest_of([*texts, pool.anchor_of, pool.positive_of, *who])
