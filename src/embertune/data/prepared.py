"""The values that move through the data stages: notes, corpora, and rows whose columns have their roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from datasets import Dataset

from embertune.data.findings import Finding

ShapeName = Literal["pairs", "triplets", "scored", "labelled", "nli", "classes", "retrieval"]

#: The canonical text columns of each shape, in the order in which losses take them. `triplets` may go on with
#: `negative_2`, `negative_3` …; every shape also has the column `group` (int64), and `retrieval` has `query_id` and
#: `doc_id` (strings that are never text).
TEXT_COLUMNS: dict[ShapeName, tuple[str, ...]] = {
    "pairs": ("anchor", "positive"),
    "triplets": ("anchor", "positive", "negative"),
    "scored": ("sentence1", "sentence2"),
    "labelled": ("sentence1", "sentence2"),
    "nli": ("premise", "hypothesis"),
    "classes": ("text",),
    "retrieval": ("anchor", "positive"),
}

#: The column that holds what is known about a row, where a shape has one: a float in [0, 1] for `score`, 0 or 1 for the
#: label of `labelled`, an index into `Prepared.classes` for `classes`, 0/1/2 (entailment, neutral, contradiction) for
#: `nli`.
TARGET_COLUMN: dict[ShapeName, str] = {"scored": "score", "labelled": "label", "nli": "label", "classes": "label"}


@dataclass(frozen=True)
class Note:
    """Something a stage did or found: what is removed or changed is counted and shown with examples."""

    stage: str
    text: str
    count: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """The documents of a retrieval set. `ids` and `texts` have the same length; a text is title and body in one."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Prepared:
    """Rows with their roles resolved: the columns of `rows` are those of `TEXT_COLUMNS`, the target and `group`.

    For `retrieval` a row is one relevant judgement (a query and a document that answers it), `corpus` all documents.
    `fingerprint` is a sha256 over the source's rows, `source` what the user wrote.
    """

    name: str
    shape: ShapeName
    rows: Dataset
    source: str = ""
    fingerprint: str = ""
    corpus: Corpus | None = None
    classes: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    group: str = "auto"
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text columns really there, in the order of their roles (all negatives of triplets included)."""
        fixed = TEXT_COLUMNS[self.shape]
        more = sorted((c for c in self.rows.column_names if c.startswith("negative_")), key=lambda c: int(c[9:]))
        return (*fixed, *more)

    def take(self, rows: Dataset, *notes: Note) -> Prepared:
        """The same set with other rows and further notes."""
        return replace(self, rows=rows, notes=(*self.notes, *notes))


@dataclass(frozen=True)
class Sides:
    """Train, dev and test: no group stands on two of those that were split from one source.

    `unread` are tests of which nothing is measured; they only are kept out of train.
    `retention` has what the model could do before and should still do.
    `findings` are those of stages that changed a side; the audit adds what it only tells.
    """

    train: Prepared
    dev: Prepared | None
    tests: Mapping[str, Prepared]
    notes: tuple[Note, ...] = ()
    findings: tuple[Finding, ...] = ()
    retention: Mapping[str, Prepared] = field(default_factory=dict)
    unread: Mapping[str, Prepared] = field(default_factory=dict)
