"""Training rows with the hard negatives that `data.negatives` asks for: opens what it names, and hands it down."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embertune.data.prepare import Data
from embertune.data.prepared import Prepared, ShapeName
from embertune.engine.pack import unpack
from embertune.errors import ModelError
from embertune.mining import Mined, joined, kept, make_pool, mine, notes, record
from embertune.mining.pool import Pool
from embertune.model.build import Built, build, pooling_of
from embertune.model.encode import Encode, make_encode
from embertune.model.load import on_fastest_path
from embertune.model.save import fingerprint as weights
from embertune.model.tokens import open_tokens
from embertune.recipe import Recipe
from embertune.recipe.negatives import WHERE
from embertune.watch import Watcher


@dataclasses.dataclass(frozen=True)
class Sharpened:
    """The data with mined negatives in train, and what is kept of the mining, ready for JSON; None without mining."""

    data: Data
    record: Mapping[str, Any] | None


def with_negatives(data: Data, recipe: Recipe, built: Built, watch: Watcher) -> Sharpened:
    """Mine with the model to be trained, or the one that is named; unchanged data where nothing is asked for.

    Rows have anchor and positive. Raises ModelError for a model that is not there, and DataError where there are too
    few texts.
    """
    section = recipe.data.negatives
    if section is None:
        return Sharpened(data, None)
    other = None if section.model is None else _miner(section.model)
    watch.stage("negatives", section.model or "mined with the model to be trained")
    source = built if other is None else on_fastest_path(other, recipe)
    encode = make_encode(source.model, source.role_prompts, tokens=open_tokens(source.model))
    mark = weights(source.model)
    reads = (source.model.max_seq_length, pooling_of(source.model), sorted(source.role_prompts.items()))
    mined = _kept(data.sides.train, recipe, encode, f"{mark} {reads}")
    train = joined(data.sides.train, mined)
    settings, prints = {}, {}
    if other is not None:
        prints["negatives"] = {"rows": len(train), "sha256": mark, "source": other.source}
        if Path(str(section.model)).expanduser().is_dir():
            settings[f"{WHERE}.model"] = str(Path(str(section.model)).expanduser().resolve())
        unpack(other.model)
    made = dataclasses.replace(
        data,
        sides=dataclasses.replace(data.sides, train=train.take(train.rows, *notes(mined))),
        settings={**data.settings, **settings},
        fingerprints={**data.fingerprints, **prints},
    )
    head = {"model": source.source, "settings": section.model_dump()}
    return Sharpened(made, {**head, **record(mined, examples=recipe.report.examples)})


def _miner(name: str) -> Built:
    """The model that `data.negatives.model` names."""
    try:
        return build(name)
    except ModelError as error:
        raise ModelError(f"{WHERE}.model", error.found, error.remedy) from None


def _kept(train: Prepared, recipe: Recipe, encode: Encode, model: str) -> Mined:
    """What is mined, from the cache where this was mined before; `model` stands for its weights and how it reads."""
    section, pool = recipe.data.negatives, make_pool(train)
    assert section is not None
    what = f"{model} {section.model_dump(exclude={'every', 'model'})} {recipe.data.near_duplicates} {recipe.seed}"
    return kept(pool, what, train.source or train.name, lambda: _mine(pool, recipe, encode))


def _mine(pool: Pool, recipe: Recipe, encode: Encode) -> Mined:
    assert recipe.data.negatives is not None
    return mine(pool, encode, recipe.data.negatives, recipe.data.near_duplicates, recipe.seed)


def mining_anew(recipe: Recipe, encode: Encode, watch: Watcher) -> Callable[[Prepared], Prepared] | None:
    """What gives rows new mined negatives in place of the old, by the weights of the moment; None if none is to."""
    section = recipe.data.negatives
    if section is None or section.every is None:
        return None
    count = section.num_negatives

    def renewed(train: Prepared) -> Prepared:
        own = train.text_columns[:-count]
        shape: ShapeName = "triplets" if len(own) > 2 else "pairs"
        bare = dataclasses.replace(train, shape=shape, rows=train.rows.select_columns([*own, "group"]))
        mined = _mine(make_pool(bare), recipe, encode)
        for note in notes(mined):
            watch.note(note.text)
        return joined(bare, mined)

    return renewed
