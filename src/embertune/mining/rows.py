"""Mined negatives as columns of the rows, and what is told about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from embertune.data.hashing import digest_of, keys, keys_of, mix
from embertune.data.prepared import Note, Prepared
from embertune.data.store import BATCH, cache_key, mapped, quiet
from embertune.mining.lists import Places
from embertune.mining.mine import Mined
from embertune.mining.search import Floats

#: Width of a bar of the histograms, in cosine, and how many examples of each kind are kept.
BAR, EXAMPLES = 0.05, 3


def joined(train: Prepared, mined: Mined) -> Prepared:
    """`train` as triplets: the same rows in the same order, with the mined negatives behind those there; on disk."""
    here = len(train.text_columns) - 2
    candidates, of_row = mined.pool.candidates, mined.chosen.negatives[mined.pool.anchor_of]
    names = ["negative" if n == 1 else f"negative_{n}" for n in range(here + 1, here + of_row.shape[1] + 1)]
    kept = [*train.text_columns, "group"]

    def pieces() -> Iterator[pa.Table]:
        first = 0
        for table in train.rows.select_columns(kept).with_format("arrow").iter(BATCH):
            rows = of_row[first : first + len(table)]
            more = {name: candidates.take(pa.array(rows[:, n])) for n, name in enumerate(names)}
            yield pa.table({**{column: table.column(column) for column in kept}, **more})
            first += len(table)

    with quiet():
        here_before = [keys(train.rows, column, str) for column in kept]
        what = digest_of([*here_before, keys_of(candidates.to_pylist(), str), of_row])
        rows = mapped(pieces(), cache_key("mined", what), f"{train.source or train.name}: rows with mined negatives")
    return dataclasses.replace(train, shape="triplets", rows=rows)


def notes(mined: Mined) -> tuple[Note, ...]:
    """What people should know: how many negatives there are, and where chance stood in for mining."""
    anchors, count = mined.chosen.negatives.shape
    drawn = int(mined.chosen.drawn.sum())
    among = f"for {anchors:,} anchors among {len(mined.pool.candidates):,} texts"
    text = f"{anchors * count - drawn:,} negatives mined {among}"
    made = [Note("negatives", text + (f", {drawn:,} more drawn by hash" if drawn else ""), anchors * count)]
    if mined.chosen.filled:
        text = f"{mined.chosen.filled:,} anchors have fewer candidates within ranks and margins than asked for: "
        short = np.flatnonzero(mined.chosen.drawn.any(axis=1))[:EXAMPLES]
        examples = tuple(mined.pool.anchors[int(place)].as_py() for place in short)
        made.append(Note("negatives", text + "the rest is drawn by hash", mined.chosen.filled, examples))
    return tuple(made)


def record(mined: Mined, *, examples: bool = True) -> dict[str, Any]:
    """All that is kept of a mining, ready for JSON; without `examples`, no word of the data is in it."""
    chosen = mined.chosen
    by_search = ~chosen.drawn
    kept = {
        "anchors": len(mined.pool.anchors),
        "candidates": len(mined.pool.candidates),
        "mined": int(by_search.sum()),
        "drawn": int(chosen.drawn.sum()),
        "filled": chosen.filled,
        "too_close": chosen.too_close,
        "alike": chosen.alike,
        "scores": histograms(
            {"positive": mined.positives, "mined": mined.scores[by_search], "drawn": mined.scores[chosen.drawn]}
        ),
    }
    return {**kept, "examples": _examples(mined)} if examples else kept


def histograms(scores: dict[str, Floats]) -> dict[str, Any]:
    """Counts of scores in bars of one width over the range of all; means beside them. Names without scores are out."""
    there = {name: values for name, values in scores.items() if len(values)}
    low = np.floor(min(float(values.min()) for values in there.values()) / BAR)
    high = max(np.ceil(max(float(values.max()) for values in there.values()) / BAR), low + 1)
    edges = np.arange(low, high + 1) * BAR
    return {
        "edges": [round(float(edge), 4) for edge in edges],
        "counts": {name: np.histogram(values, edges)[0].tolist() for name, values in there.items()},
        "means": {name: round(float(values.mean(dtype=np.float64)), 4) for name, values in there.items()},
    }


def _examples(mined: Mined) -> list[dict[str, Any]]:
    """The rows whose mined negative comes nearest to the positive, and some by hash."""
    of_row = np.where(mined.chosen.drawn, -np.inf, mined.scores)[mined.pool.anchor_of][:, 0]
    hardest = np.argsort(mined.positives - of_row, kind="stable")[:EXAMPLES]
    any_rows = mix(np.arange(len(of_row)), 0, "examples").argsort(kind="stable")[:EXAMPLES]
    return [_example(mined, int(row)) for row in dict.fromkeys([*hardest.tolist(), *any_rows.tolist()])]


def _example(mined: Mined, row: int) -> dict[str, Any]:
    pool, anchor = mined.pool, int(mined.pool.anchor_of[row])
    places: Places = mined.chosen.negatives[anchor]
    return {
        "anchor": pool.anchors[anchor].as_py(),
        "positive": pool.candidates[int(pool.positive_of[row])].as_py(),
        "positive_score": round(float(mined.positives[row]), 4),
        "negatives": [pool.candidates[int(place)].as_py() for place in places],
        "scores": [round(float(score), 4) for score in mined.scores[anchor]],
    }
