"""Training rows with the changed copies that `data.augment` asks for: opens what it names, and hands it down."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embertune.data.augment import Tools, augment, columns_of
from embertune.data.hashing import Keys, folded, keys
from embertune.data.prepare import Data
from embertune.data.prepared import Prepared, Sides
from embertune.data.thesaurus import Thesaurus, open_thesaurus
from embertune.model.build import Built
from embertune.model.encode import make_encode
from embertune.model.save import fingerprint as weights
from embertune.recipe.augmenting import WHERE, AugmentSection
from embertune.recipe.sections import Recipe
from embertune.rewrite import Back, back_translation

_NONE: Keys = np.empty(0, dtype=np.int64)


def enlarged(data: Data, recipe: Recipe, tools: Tools | None) -> Data:
    """The data with changed copies in train, as `data.augment` says; unchanged where it says nothing.

    `tools` are what `tools_of` gave. Raises DataError where nothing could be changed.
    """
    section = recipe.data.augment
    if section is None or tools is None:
        return data
    train = data.sides.train
    columns = columns_of(train, section)
    tools = dataclasses.replace(tools, held=asked_for(data.sides))
    sides = dataclasses.replace(data.sides, train=augment(train, section, tools, recipe.seed))
    settings: dict[str, Any] = {f"{WHERE}.columns": list(columns)}
    if section.thesaurus is not None and Path(section.thesaurus).expanduser().is_file():
        settings[f"{WHERE}.thesaurus"] = str(Path(section.thesaurus).expanduser().resolve())
    why = "the text of a row on which no other hangs" if section.columns == "auto" else ""
    return dataclasses.replace(
        data,
        sides=sides,
        settings={**data.settings, **settings},
        reasons={**data.reasons, f"{WHERE}.columns": why},
        fingerprints={**data.fingerprints, **_prints(section, tools, len(sides.train) - len(train))},
    )


def copying(sides: Sides, seed: int) -> Callable[[Prepared, float], Prepared]:
    """What gives rows and a changed copy of each, the remedy `augment`: such a share of its words left out or swapped.

    It needs nothing but the rows; it raises DataError where they cannot be changed so.
    """
    tools = Tools(held=asked_for(sides))

    def enlarged(train: Prepared, share: float) -> Prepared:
        return augment(train, AugmentSection(delete=share, swap=share), tools, seed)

    return enlarged


def asked_for(sides: Sides) -> Keys:
    """The keys, folded, of the first text of every row of dev and test: a copy that becomes one of them would leak."""
    held = (*((sides.dev,) if sides.dev else ()), *sides.tests.values(), *sides.unread.values())
    return np.unique(np.concatenate([keys(side.rows, side.text_columns[0], folded) for side in held] or [_NONE]))


def tools_of(recipe: Recipe, built: Built) -> Tools | None:
    """What the methods of `data.augment` need, all of it there; None where it says nothing.

    Raises DataError or ModelError for a thesaurus or model that is not there.
    """
    section = recipe.data.augment
    if section is None:
        return None
    thesaurus: Thesaurus | None = None if section.thesaurus is None else open_thesaurus(section.thesaurus)
    translate: Back | None = None
    if section.translate is not None:
        assert section.translate.there is not None
        assert section.translate.back is not None
        translate = back_translation(section.translate.there, section.translate.back)
    encode = None if section.keep is None else make_encode(built.model, built.role_prompts)
    marks = ("" if translate is None else translate.mark, "" if encode is None else weights(built.model))
    return Tools(thesaurus, translate, encode, " ".join(marks))


def _prints(section: AugmentSection, tools: Tools, copies: int) -> dict[str, dict[str, Any]]:
    """What copies were made from besides rows: a run that begins again with another thesaurus is another run."""
    translate = section.translate
    named = (section.thesaurus, *((translate.there, translate.back) if translate else ()))
    mark = f"{tools.thesaurus.mark if tools.thesaurus else ''} {tools.mark}"
    sha256 = hashlib.sha256(mark.encode()).hexdigest()
    return {"augment": {"rows": copies, "sha256": sha256, "source": ", ".join(name for name in named if name)}}
