"""From raw rows to examples: columns get their roles, values are checked, every row gets a group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from datasets import Dataset

from embertune.data import content
from embertune.data.detect import Found, detect, look
from embertune.data.groups import groups_of, limited
from embertune.data.hashing import Keys, keys
from embertune.data.negatives import is_list, unlisted
from embertune.data.nli import NAMES, NO_GOLD, NliSettings, hypotheses, nli_labels, speaks_nli, triplets
from embertune.data.prepared import TARGET_COLUMN, Note, Prepared, ShapeName
from embertune.data.retrieval import judged_pairs
from embertune.data.sources import Source
from embertune.data.store import batches, cache_key, picked, quiet, whole
from embertune.errors import DataError


@dataclass(frozen=True)
class ShapeSettings:
    """What a user may say about the shape of data; left alone, all is found from the columns.

    `columns` maps roles to columns. `shape` fixes the shape (`nli` rows become triplets unless `keep_nli`). `group` is
    the column whose values rows are grouped by. `limit` keeps that many examples, chosen by a hash of (seed, group).
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    shape: ShapeName | None = None
    group: str | None = None
    nli: NliSettings | None = None
    keep_nli: bool = False
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Task:
    """One split on its way. `place` is what errors call it, `digest` its fingerprint, `known` the classes of train."""

    rows: Dataset
    found: Found
    settings: ShapeSettings
    place: str
    digest: str
    known: Sequence[str] = ()


@dataclass(frozen=True)
class Draft:
    """Canonical columns without `group`; `origin` are the source's row numbers where rows are not the source's own."""

    shape: ShapeName
    rows: Dataset
    notes: tuple[Note, ...] = ()
    classes: tuple[str, ...] = ()
    origin: Keys | None = None


def shape(
    source: Source, split: str, settings: ShapeSettings | None = None, *, classes: Sequence[str] = ()
) -> Prepared:
    """The examples of one split of a source.

    `classes` are the names of the training set's classes, for its dev and test sets: labels are indices into them, and
    labels not among them are appended. Raises DataError for columns in doubt and for values that cannot be used.
    """
    with quiet():
        return _shape(source, split, settings or ShapeSettings(), classes)


def _shape(source: Source, split: str, settings: ShapeSettings, classes: Sequence[str]) -> Prepared:
    place = source.spec if source.spec.endswith(split) or len(source.splits) == 1 else f"{source.spec}@{split}"
    _enough(len(source.splits[split]), place, "row")
    mark = source.fingerprint(split).sha256
    base = Prepared(
        source.name, "pairs", source.splits[split], source=source.spec, fingerprint=mark, notes=source.notes
    )
    if source.corpus is not None:
        judged = judged_pairs(source, base, place, settings.columns, settings.shape)
        return _finished(judged, settings, place, _judged_groups(judged, settings.group, place))
    found = detect(look(source.splits[split], place), settings.columns, settings.shape)
    task = Task(source.splits[split], found, settings, place, mark, classes)
    _check_texts(task)
    draft = BUILDERS[found.layout](task)
    unused = (Note("shape", f"columns not used: {', '.join(found.unused)}"),) if found.unused else ()
    prepared = replace(
        base,
        shape=draft.shape,
        rows=draft.rows,
        classes=draft.classes,
        columns=_columns(found),
        notes=(*source.notes, *unused, *draft.notes),
    )
    return _finished(prepared, settings, place, _named_groups(task, draft))


def _columns(found: Found) -> dict[str, str]:
    """Role -> column, as a user would write it."""
    named = {"label" if role == "class" else role: column for role, column in found.columns.items()}
    more = {f"negative_{number}": column for number, column in enumerate(found.negatives[1:], 2)}
    return {**named, **more}


def _enough(count: int, place: str, what: str) -> None:
    if count < 2:
        raise DataError(
            place, f"{'a single' if count else 'not one'} {what}", "nothing can be learned or measured; give more"
        )


def _named_groups(task: Task, draft: Draft) -> Keys | None:
    """The keys of the column that the user groups by, for the rows of the draft; None where none is named."""
    group = task.settings.group
    if group is None:
        return None
    if group not in task.rows.column_names:
        names = ", ".join(task.rows.column_names)
        raise DataError("data.group", f"no column {group!r} in {task.place}", f"the data has {names}")
    if is_list(task.rows, group):
        raise DataError(task.place, f"the group column {group!r} holds lists or objects", "name another")
    missing = sum(piece.null_count for piece in batches(task.rows, group))
    if missing:
        raise DataError(task.place, f"the group column {group!r} is null in {missing} rows", "give every row a group")
    groups = keys(task.rows, group)
    return groups if draft.origin is None else groups[draft.origin]


def _judged_groups(judged: Prepared, group: str | None, place: str) -> Keys | None:
    """The ids that the user groups judgements by; None where nothing is named."""
    if group is None:
        return None
    if group not in ("query_id", "doc_id"):
        found = f"no column {group!r} in {place}, a retrieval set in BEIR's layout"
        raise DataError("data.group", found, "write auto, query_id or doc_id")
    return keys(judged.rows, group)


def _finished(prepared: Prepared, settings: ShapeSettings, place: str, groups: Keys | None = None) -> Prepared:
    """Give every row its group, and keep as many examples as asked for."""
    _enough(len(prepared), place, "example")
    notes: tuple[Note, ...] = ()
    rule = str(settings.group)
    if groups is None:
        groups, rule, notes = groups_of(prepared.shape, prepared.rows)
    prepared = replace(prepared, group=rule).take(prepared.rows.add_column("group", groups), *notes)
    return limited(prepared, settings.limit, settings.seed)


def _check_texts(task: Task) -> None:
    texts = [
        column for role, column in task.found.columns.items() if role not in ("score", "label", "class", "negative")
    ]
    for column in (*texts, *(c for c in task.found.negatives if not is_list(task.rows, c))):
        content.check_texts(task.rows, column, task.place)


def _canonical(task: Task, names: Mapping[str, str]) -> Dataset:
    """The columns `names` (new -> old) under their new names; nothing is copied."""
    rows = task.rows.select_columns(list(names.values()))
    return rows.rename_columns({old: new for new, old in names.items() if old != new})


def _texts(task: Task, *roles: str) -> dict[str, str]:
    return {role: task.found.columns[role] for role in roles}


def _labels(task: Task) -> tuple[content.Labels, str]:
    column = task.found.columns["class" if task.found.layout == "classes" else "label"]
    return content.labels(task.rows, column, task.place), column


def _pairs(task: Task) -> Draft:
    return Draft("pairs", _canonical(task, _texts(task, "anchor", "positive")))


def _triplets(task: Task) -> Draft:
    negatives = task.found.negatives
    names = _texts(task, "anchor", "positive")
    if any(is_list(task.rows, column) for column in negatives):
        rows, notes = unlisted(task.rows, names, negatives, task.place, task.digest)
        return Draft("triplets", rows, notes)
    for number, column in enumerate(negatives, 1):
        names["negative" if number == 1 else f"negative_{number}"] = column
    return Draft("triplets", _canonical(task, names))


def _scored(task: Task) -> Draft:
    column = task.found.columns["score" if task.found.layout == "scored" else "label"]
    values, notes = content.scores(task.rows, column, task.place)
    rows = _canonical(task, _texts(task, "sentence1", "sentence2"))
    return Draft("scored", rows.add_column("score", values), notes)


def _judged(task: Task) -> Draft:
    """Two sentences and a label: NLI by its words, labelled by 0 and 1, scored by fractions; else in doubt."""
    wanted = task.settings.shape
    if wanted == "scored":
        return _scored(task)
    found, column = _labels(task)
    if wanted == "nli" or (wanted is None and speaks_nli(found.values, names_only=True)):
        return _nli(replace(task, found=replace(task.found, columns=_as_nli(task.found.columns))))
    if wanted == "labelled" or content.is_binary(found.values):
        codes = content.binary(found, task.place, column)
        rows = _canonical(task, _texts(task, "sentence1", "sentence2"))
        return Draft("labelled", rows.add_column("label", codes))
    if all(isinstance(value, float) for value in found.values):
        return _scored(task)
    shown = ", ".join(repr(value) for value in found.values[:5])
    remedy = (
        "write data.shape: labelled (0 and 1), scored (a number), or nli (0 entailment, 1 neutral, 2 contradiction)"
    )
    raise DataError(
        "data.shape", f"column {column!r} of {task.place} holds {shown}: this may be several shapes", remedy
    )


def _as_nli(columns: Mapping[str, str]) -> dict[str, str]:
    return {"premise": columns["sentence1"], "hypothesis": columns["sentence2"], "label": columns["label"]}


def _classes(task: Task) -> Draft:
    found, column = _labels(task)
    codes, names, new = content.classes(found, task.place, column, task.known)
    notes: tuple[Note, ...] = ()
    if task.known and new:
        notes = (Note("shape", "classes that the training set does not have", len(new), tuple(new[:3])),)
    return Draft("classes", _canonical(task, _texts(task, "text")).add_column("label", codes), notes, names)


def _nli(task: Task) -> Draft:
    found, column = _labels(task)
    codes, without = nli_labels(found, task.place, column)
    notes = (without,) if without else ()
    names = _texts(task, "premise", "hypothesis")
    if task.settings.keep_nli:
        kept = np.flatnonzero(codes != NO_GOLD)
        rows = _canonical(task, names).add_column("label", codes)
        return Draft("nli", rows.select(kept) if len(kept) < len(rows) else rows, notes, origin=kept)
    settings = task.settings.nli or NliSettings()
    table, repeats = hypotheses(keys(task.rows, names["premise"]), keys(task.rows, names["hypothesis"]), codes)
    made = triplets(table, settings, task.settings.seed, task.place)
    premises, texts = whole(task.rows, names["premise"]), whole(task.rows, names["hypothesis"])
    columns = {
        "anchor": (premises, made.entailed),
        "positive": (texts, made.entailed),
        "negative": (texts, made.contradicting),
    }
    if made.neutral is not None:
        columns["negative_2"] = (texts, made.neutral)
    name = cache_key("nli", task.digest, sorted(names.items()), column, settings, task.settings.seed)
    rows = picked(columns, name, f"{task.place}: NLI as triplets")
    return Draft("triplets", rows, (*notes, *repeats, *made.notes), origin=made.entailed)


#: Layout -> what makes canonical rows of it.
BUILDERS: dict[str, Callable[[Task], Draft]] = {
    "pairs": _pairs,
    "triplets": _triplets,
    "scored": _scored,
    "judged": _judged,
    "nli": _nli,
    "classes": _classes,
}


def describe(prepared: Prepared, n: int = 3) -> list[dict[str, str]]:
    """The first `n` examples as a user should see them: role -> text, labels by their names."""
    target = TARGET_COLUMN.get(prepared.shape)
    shown = []
    for row in prepared.rows.select(range(min(n, len(prepared)))).to_list():
        texts = {column: row[column] for column in prepared.text_columns}
        if target:
            texts[target] = _label_text(prepared, row[target])
        shown.append(texts)
    return shown


def _label_text(prepared: Prepared, value: float) -> str:
    if prepared.shape == "classes":
        return prepared.classes[int(value)]
    return NAMES[int(value)] if prepared.shape == "nli" else f"{value:g}"
