"""From the recipe's data section to the sides of a run, with every decision taken on the way and its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embertune.data.folds import folds
from embertune.data.groups import group_column
from embertune.data.leaks import without_leaks
from embertune.data.nli import NliSettings
from embertune.data.prepared import Note, Prepared, Sides
from embertune.data.shapes import ShapeSettings, shape
from embertune.data.sources import Source, read
from embertune.data.spec import parse
from embertune.data.split import dev_corpus, dev_share, hold_out, split
from embertune.errors import Problem, RecipeError
from embertune.recipe import Recipe
from embertune.recipe.folding import parse_fold
from embertune.recipe.sections import DataSection

#: General pairs that come with embertune, written for it.
BUNDLED = Path(__file__).parent.parent / "sample" / "general.jsonl"
#: The share of groups held out for test where the data brings none.
TEST_SHARE = 0.1


@dataclass(frozen=True)
class Given:
    """Rows handed over from Python instead of paths: a Dataset, a DataFrame, a list of dicts, or None."""

    train: Any = None
    dev: Any = None
    test: Any = None


@dataclass(frozen=True)
class Data:
    """The sides, and what was decided: `settings` are recipe leaves by dotted path, `reasons` why.

    `origin` is the shape of the training file (NLI rows become triplets); `fingerprints` has rows and sha256 by side.
    """

    sides: Sides
    origin: str
    settings: Mapping[str, Any]
    reasons: Mapping[str, str]
    fingerprints: Mapping[str, Mapping[str, Any]]

    @property
    def fingerprint(self) -> str:
        """One sha256 for all sides."""
        parts = [f"{side} {print_['rows']} {print_['sha256']}" for side, print_ in sorted(self.fingerprints.items())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def notes(self) -> tuple[Note, ...]:
        """What all stages found, in the order train, dev, tests, split."""
        sides = self.sides
        held = [sides.train, *([sides.dev] if sides.dev else []), *sides.tests.values(), *sides.unread.values()]
        found = [note for prepared in held for note in prepared.notes] + list(sides.notes)
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class _Decided:
    """A side before splitting (a share, rows of its own, or none), the leaf that says so again, and why."""

    value: Any
    leaf: Any
    reason: str = ""
    fingerprints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def prepare(recipe: Recipe, given: Given | None = None) -> Data:
    """Read, shape and split the data of a recipe, and take leaks out of train.

    Raises DataError or RecipeError for what cannot be used.
    Where dev or test is `auto`, the data's own split is taken, else a share of the groups is held out.
    """
    given = given or Given()
    source = read(given.train if given.train is not None else _named(recipe.data))
    name = source.pick("train")
    settings = _settings(recipe)
    train = shape(source, name, settings)
    rest, held = _fold(train, recipe)
    family = _Family(recipe, source, name, rest, settings)
    dev, retention = family.dev(given.dev), family.retention()
    test = family.test(given.test) if held is None else family.held_out(held, given.test)
    sides = split(rest, dev.value, test.value, recipe.seed)
    sides = replace(sides, dev=_measurable(sides.dev, recipe.seed), tests=_all_measurable(sides.tests, recipe.seed))
    sides = without_leaks(sides, recipe.data.leaks)
    sides = replace(sides, train=_subset(sides.train, recipe))
    sides = sides if recipe.evaluate.test else _unread(sides)
    if sides.dev is not None:
        sides = replace(sides, dev=dev_corpus(sides.dev, seed=recipe.seed))
    sides = replace(sides, retention=_all_measurable(retention.value, recipe.seed))
    origin = "nli" if train.shape == "triplets" and "anchor" not in train.columns else train.shape
    return Data(
        sides,
        origin,
        {
            "data.train": None if given.train is not None else _absolute(recipe.data.train),
            "data.dev": dev.leaf,
            "data.test": test.leaf,
            **({} if recipe.evaluate.retention == "auto" else {"evaluate.retention": retention.leaf}),
            "data.shape": origin,
            "data.columns": dict(train.columns),
        },
        {
            "data.dev": dev.reason,
            "data.test": test.reason,
            "data.shape": "found from the columns" if recipe.data.shape == "auto" else "",
            "data.group": f"rows are grouped by {train.group}",
        },
        {"train": _print(train), **dev.fingerprints, **test.fingerprints, **retention.fingerprints},
    )


def _fold(train: Prepared, recipe: Recipe) -> tuple[Prepared, Prepared | None]:
    """All rows; or those that are not in the recipe's fold, and those that are."""
    if recipe.data.fold is None:
        return train, None
    number, count = parse_fold(recipe.data.fold)
    return folds(train, count, recipe.seed)[number - 1]


def _subset(train: Prepared, recipe: Recipe) -> Prepared:
    """The part of the training rows that is trained on, of every class, label or score bin the same share."""
    wanted = recipe.data.subset
    if wanted is None:
        return train
    if isinstance(wanted, int) and wanted >= len(train):
        found = f"found {wanted}, and there are {len(train)} training rows"
        raise RecipeError(Problem("data.subset", found, "ask for fewer, or write null"))
    share = wanted if isinstance(wanted, float) else wanted / len(train)
    _, kept = hold_out(train, share, recipe.seed, "subset")
    text = f"{train.name}: trained on {len(kept):,} of {len(train):,} rows, as data.subset says"
    return replace(kept, notes=(*kept.notes, Note("subset", text, len(train) - len(kept))))


def _unread(sides: Sides) -> Sides:
    """The sides with tests that stay out of train, and of which nothing is measured."""
    count = sum(map(len, sides.tests.values()))
    note = Note("split", f"test: {count:,} rows are held out and not measured, as evaluate.test says", count)
    return replace(sides, tests={}, unread=sides.tests, notes=(*sides.notes, note))


def _named(data: DataSection) -> Any:
    if data.train is None:
        raise RecipeError(Problem("data.train", "no training data is named", "write a file, a folder or a Hub id"))
    return list(data.train) if isinstance(data.train, tuple) else data.train


def _settings(recipe: Recipe) -> ShapeSettings:
    data = recipe.data
    return ShapeSettings(
        columns=data.columns,
        shape=None if data.shape == "auto" else data.shape,
        group=None if data.group == "auto" else data.group,
        nli=NliSettings(**data.nli.model_dump()) if data.nli else None,
        keep_nli=recipe.train.loss == "softmax",
        limit=data.limit,
        seed=recipe.seed,
    )


@dataclass(frozen=True)
class _Family:
    """The training source and what dev and test take over from it."""

    recipe: Recipe
    source: Source
    split: str
    train: Prepared
    settings: ShapeSettings

    def dev(self, handed: Any) -> _Decided:
        wanted = self.recipe.data.dev
        if handed is not None:
            return self._own("dev", read(handed, name=self.train.name), None, "handed over from Python")
        if wanted is None:
            raise RecipeError(Problem("data.dev", "found null", "write auto, none, a share or a path"))
        if wanted == "none":
            return _Decided(None, "none")
        if isinstance(wanted, float):
            return _Decided(wanted, wanted)
        if wanted != "auto":
            return self._own("dev", read(wanted), _absolute(wanted))
        if self._has("dev"):
            return self._own("dev", self.source, _absolute(f"{self.source.spec}@dev"), "the data's own dev split")
        share, reason = dev_share(len(set(group_column(self.train).tolist())), len(self.train))
        return _Decided(share, share, reason)

    def test(self, handed: Any) -> _Decided:
        wanted = self.recipe.data.test
        if handed is not None:
            return self._own("test", read(handed, name=self.train.name), None, "handed over from Python")
        if wanted is None:
            raise RecipeError(Problem("data.test", "found null", "write auto, none, a share, a path or {name: path}"))
        if wanted == "none":
            return _Decided(None, "none")
        if isinstance(wanted, float):
            return _Decided(wanted, wanted)
        if isinstance(wanted, Mapping):
            return self._several(wanted)
        if wanted != "auto":
            return self._own("test", read(wanted), _absolute(wanted))
        if self._has("test"):
            return self._own("test", self.source, _absolute(f"{self.source.spec}@test"), "the data's own test split")
        return _Decided(TEST_SHARE, TEST_SHARE, "10 % of the groups are held out")

    def held_out(self, fold: Prepared, handed: Any) -> _Decided:
        """The recipe's fold as the test set."""
        if handed is not None:
            found = f"found {self.recipe.data.fold}, and test rows are handed over"
            raise RecipeError(Problem("data.fold", found, "leave one of them out"))
        return _Decided({self.train.name: fold}, None, "the fold is the test set")

    def retention(self) -> _Decided:
        """What stands for all that the model could do before; the bundled pairs are no data of the user's."""
        wanted = self.recipe.evaluate.retention
        if wanted is None:
            return _Decided({}, None)
        if wanted in ("auto", "bundled"):
            source = read(str(BUNDLED), name="general")
            return _Decided({"general": shape(source, source.pick("test"), ShapeSettings(group="topic"))}, "bundled")
        if isinstance(wanted, Mapping):
            sources = [read(path, name=name) for name, path in wanted.items()]
            leaf: Any = {name: _absolute(path) for name, path in wanted.items()}
        else:
            sources, leaf = [read(wanted)], _absolute(wanted)
        settings = ShapeSettings(seed=self.recipe.seed)
        shaped = {source.name: shape(source, source.pick("test"), settings) for source in sources}
        return _Decided(shaped, leaf, "", {f"retention {name}": _print(one) for name, one in shaped.items()})

    def _has(self, side: str) -> bool:
        return side in self.source.splits and side != self.split

    def _own(self, side: str, source: Source, leaf: Any, reason: str = "") -> _Decided:
        prepared = self._shaped(source, side)
        return _Decided(prepared, leaf, reason, {f"{side} {prepared.name}": _print(prepared)})

    def _several(self, wanted: Mapping[str, str]) -> _Decided:
        tests = {name: self._shaped(read(path, name=name), "test") for name, path in wanted.items()}
        prints = {f"test {name}": _print(prepared) for name, prepared in tests.items()}
        return _Decided(tests, {name: _absolute(path) for name, path in wanted.items()}, "", prints)

    def _shaped(self, source: Source, side: str) -> Prepared:
        """Rows of another file: read like the training rows where it has their columns, found anew otherwise."""
        name = source.pick(side)
        here = set(source.splits[name].column_names)
        alike = set(self.source.splits[self.split].column_names) <= here
        settings = replace(self.settings, limit=None, nli=None, keep_nli=False)
        if not alike:
            settings = replace(settings, columns={}, shape=None, group=None)
        return shape(source, name, settings, classes=self.train.classes)


def _measurable(prepared: Prepared | None, seed: int) -> Prepared | None:
    """NLI rows that were held out are measured as triplets."""
    if prepared is None or prepared.shape != "nli":
        return prepared
    source = Source(prepared.source, prepared.name, {"train": prepared.rows.select_columns(list(_NLI))})
    return shape(source, "train", ShapeSettings(shape="nli", columns={name: name for name in _NLI}, seed=seed))


_NLI = ("premise", "hypothesis", "label")


def _all_measurable(tests: Mapping[str, Prepared], seed: int) -> dict[str, Prepared]:
    found = {name: _measurable(prepared, seed) for name, prepared in tests.items()}
    return {name: prepared for name, prepared in found.items() if prepared is not None}


def _print(prepared: Prepared) -> dict[str, Any]:
    return {"rows": len(prepared), "sha256": prepared.fingerprint, "source": prepared.source}


def _absolute(leaf: Any) -> Any:
    """Local paths as absolute ones, so that the resolved recipe runs from anywhere; Hub ids stay."""
    if isinstance(leaf, tuple | list):
        return [_absolute(one) for one in leaf]
    spec = parse(leaf)
    return str(Path(spec.place).expanduser().resolve()) + spec.text[len(spec.place) :] if spec.is_local else leaf
