"""What is measured: the rows of one dev or test set, arranged so that every distinct text is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embertune.data.prepared import Prepared, ShapeName
from embertune.errors import DataError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Relevant:
    """Which documents answer each query: for query `i`, `documents[offsets[i]:offsets[i + 1]]`, ascending."""

    offsets: IntArray
    documents: IntArray

    @property
    def counts(self) -> IntArray:
        """How many documents answer each query: (queries,), all at least 1."""
        return np.diff(self.offsets)

    def of(self, query: int) -> IntArray:
        return self.documents[self.offsets[query] : self.offsets[query + 1]]


@dataclass(frozen=True, eq=False)
class EvalSet:
    """Everything that scoring needs, and nothing of the model.

    `texts` holds the distinct texts of each role, in order of first use. `index` holds, per column, the position of
    each item's text in `texts` of that role: (items,) int64, and (items, k) for `negative`, where -1 means no such
    negative. An item is a row, and for pairs and retrieval a distinct query. `groups` (items,) holds what may not be
    torn apart when items are resampled. `target` (items,) is the gold score, the 0/1 label or the class, where the
    shape has one.

    For classes, `index["reference"]` and `reference_target` are the rows among which neighbours are looked for; where
    `leave_one_out` is true these are the items themselves, and an item is not its own neighbour.
    """

    name: str
    shape: ShapeName
    texts: Mapping[str, tuple[str, ...]]
    index: Mapping[str, IntArray]
    groups: IntArray
    target: FloatArray | None = None
    relevant: Relevant | None = None
    reference_target: FloatArray | None = None
    leave_one_out: bool = False
    classes: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """The number of items."""
        return len(self.groups)

    @property
    def texts_to_encode(self) -> int:
        """How many texts one evaluation encodes."""
        return sum(len(texts) for texts in self.texts.values())

    def item(self, number: int) -> dict[str, tuple[str, ...]]:
        """The texts of one item by column, for people to read; for retrieval `positive` holds all that answer it."""
        found = {}
        for column, index in self.index.items():
            if column != "reference":
                texts = self.texts[column]
                found[column] = tuple(texts[i] for i in np.atleast_1d(index[number]) if i >= 0)
        if self.relevant is not None:
            found["positive"] = tuple(self.texts["positive"][i] for i in self.relevant.of(number))
        return found


def build_evalset(prepared: Prepared, name: str, reference: Prepared | None = None) -> EvalSet:
    """Arrange prepared rows for scoring under `name`, which begins every metric's name (`nli-test`).

    `reference` is read for classes only: the rows (those of train) among which nearest neighbours are looked for. A
    text that stands there too is kept, and finds itself. Without it every item is compared with all others.
    Raises DataError where nothing can be measured, ValueError for NLI rows, which become triplets first.
    """
    if prepared.shape not in _BUILDERS:
        raise ValueError(f"{name}: rows of shape {prepared.shape} cannot be scored; turn them into triplets first")
    if not len(prepared):
        raise DataError(name, "no rows to measure on", "give more rows, or set this side to none")
    return _BUILDERS[prepared.shape](prepared, name, reference)


class _Texts:
    """Gives each distinct text a number, in order of first use."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def add(self, texts: Iterable[str]) -> IntArray:
        numbers = self.numbers
        return np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), dtype=np.int64)

    @property
    def distinct(self) -> tuple[str, ...]:
        return tuple(self.numbers)


def _column(prepared: Prepared, name: str) -> list[Any]:
    return list(prepared.rows.select_columns([name]).with_format(None)[:][name])


def _groups(prepared: Prepared) -> IntArray:
    """The group of each row; rows without the column are their own groups."""
    if "group" not in prepared.rows.column_names:
        return np.arange(len(prepared), dtype=np.int64)
    return np.asarray(_column(prepared, "group"), dtype=np.int64)


def _target(prepared: Prepared, column: str) -> FloatArray:
    return np.asarray(_column(prepared, column), dtype=np.float64)


def _triplets(prepared: Prepared, name: str, _reference: Prepared | None) -> EvalSet:
    """Negatives that are empty or null do not count; the positive must beat all others."""
    anchors, positives, negatives = _Texts(), _Texts(), _Texts()
    columns = prepared.text_columns
    index = {
        "anchor": anchors.add(_column(prepared, "anchor")),
        "positive": positives.add(_column(prepared, "positive")),
    }
    told = [_column(prepared, column) for column in columns[2:]]
    numbered = [negatives.add(text for text in column if text) for column in told]
    index["negative"] = np.full((len(prepared), len(told)), -1, dtype=np.int64)
    for place, (column, numbers) in enumerate(zip(told, numbered, strict=True)):
        index["negative"][np.array([bool(text) for text in column]), place] = numbers
    texts = {"anchor": anchors.distinct, "positive": positives.distinct, "negative": negatives.distinct}
    return EvalSet(name, "triplets", texts, index, _groups(prepared))


def _judgements(queries: IntArray, documents: IntArray) -> Relevant:
    """Judgements as (query, document) numbers, in any order and with repeats, by query."""
    pairs = np.unique(np.stack([queries, documents], axis=1), axis=0)
    counts = np.bincount(pairs[:, 0], minlength=int(queries.max()) + 1)
    return Relevant(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), pairs[:, 1].astype(np.int64))


def _ranked(prepared: Prepared, name: str, documents: _Texts, found: IntArray) -> EvalSet:
    """Queries against documents, where `found` (rows,) is the document that each row judges relevant."""
    queries = _Texts()
    asked = queries.add(_column(prepared, "anchor"))
    _, first = np.unique(asked, return_index=True)
    return EvalSet(
        name,
        prepared.shape,
        texts={"anchor": queries.distinct, "positive": documents.distinct},
        index={"anchor": np.arange(len(queries.numbers), dtype=np.int64)},
        groups=_groups(prepared)[first],
        relevant=_judgements(asked, found),
    )


def _pairs(prepared: Prepared, name: str, _reference: Prepared | None) -> EvalSet:
    """Each anchor looks for its positives among all positives of this side."""
    documents = _Texts()
    return _ranked(prepared, name, documents, documents.add(_column(prepared, "positive")))


def _retrieval(prepared: Prepared, name: str, reference: Prepared | None) -> EvalSet:
    """Each query looks for its documents in the whole corpus, judged or not."""
    corpus = prepared.corpus
    if corpus is None:
        return _pairs(prepared, name, reference)
    documents = _Texts()
    numbers = dict(zip(corpus.ids, documents.add(corpus.texts).tolist(), strict=True))
    judged = [str(i) for i in _column(prepared, "doc_id")]
    missing = sorted({i for i in judged if i not in numbers})
    if missing:
        raise DataError(
            name,
            f"{len(missing)} judged documents are not in the corpus ({', '.join(missing[:3])})",
            "add them to the corpus, or leave out their judgements",
        )
    return _ranked(prepared, name, documents, np.array([numbers[i] for i in judged], dtype=np.int64))


def _two_sentences(prepared: Prepared, name: str, target: str) -> EvalSet:
    first, second = _Texts(), _Texts()
    index = {
        "sentence1": first.add(_column(prepared, "sentence1")),
        "sentence2": second.add(_column(prepared, "sentence2")),
    }
    texts = {"sentence1": first.distinct, "sentence2": second.distinct}
    return EvalSet(name, prepared.shape, texts, index, _groups(prepared), target=_target(prepared, target))


def _scored(prepared: Prepared, name: str, _reference: Prepared | None) -> EvalSet:
    return _two_sentences(prepared, name, "score")


def _labelled(prepared: Prepared, name: str, _reference: Prepared | None) -> EvalSet:
    return _two_sentences(prepared, name, "label")


def _classes(prepared: Prepared, name: str, reference: Prepared | None) -> EvalSet:
    """The reference's texts are numbered first, so that the lower number is the earlier reference row."""
    known = prepared if reference is None else reference
    if reference is None and len(prepared) < 2:
        raise DataError(name, "a single row has no neighbour", "give at least two rows")
    texts = _Texts()
    neighbours = texts.add(_column(known, "text"))
    items = neighbours if reference is None else texts.add(_column(prepared, "text"))
    return EvalSet(
        name,
        "classes",
        texts={"text": texts.distinct},
        index={"text": items, "reference": neighbours},
        groups=_groups(prepared),
        target=_target(prepared, "label"),
        reference_target=_by_name(known, prepared.classes),
        leave_one_out=reference is None,
        classes=prepared.classes,
    )


def _by_name(reference: Prepared, classes: Sequence[str]) -> FloatArray:
    """The reference's classes in the numbering of `classes`; one that the set does not have becomes a number beyond."""
    labels = _target(reference, "label")
    if not classes or not reference.classes or tuple(classes) == tuple(reference.classes):
        return labels
    numbers = {text: i for i, text in enumerate(classes)}
    table = np.array(
        [numbers.get(text, len(classes) + i) for i, text in enumerate(reference.classes)], dtype=np.float64
    )
    return table[labels.astype(np.int64)]


_BUILDERS: Mapping[ShapeName, Callable[[Prepared, str, Prepared | None], EvalSet]] = {
    "triplets": _triplets,
    "pairs": _pairs,
    "retrieval": _retrieval,
    "scored": _scored,
    "labelled": _labelled,
    "classes": _classes,
}
