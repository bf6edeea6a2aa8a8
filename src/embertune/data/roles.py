"""Which column names stand for which role, and which roles make which shape: all that is known about names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embertune.data.prepared import ShapeName

#: Role -> the column names that stand for it. Names compare in lower case and without `_`, `-`, `.` and spaces.
#: A question is an anchor in pairs, the first sentence of scored pairs and the text of classes: the shape decides.
ALIASES: dict[str, tuple[str, ...]] = {
    "anchor": ("anchor", "query", "question", "q", "sentence", "sentence1", "sent1", "question1", "premise"),
    "positive": (
        *("positive", "pos", "answer", "passage", "document", "doc", "response", "reply", "paraphrase", "context"),
        *("positive passage", "positive document", "answer text", "sentence2", "sent2", "question2", "entailment"),
    ),
    "negative": (
        *("negative", "neg", "hard negative", "hard neg", "negative passage", "negative document", "contradiction"),
    ),
    "negatives": ("negatives", "negs", "hard negatives", "hard negs", "negative passages"),
    "sentence1": (
        *("sentence1", "sent1", "s1", "text1", "sentence a", "text a", "question1", "sentence 1 text"),
        *("query", "question", "anchor"),
    ),
    "sentence2": (
        *("sentence2", "sent2", "s2", "text2", "sentence b", "text b", "question2", "sentence 2 text"),
        *("answer", "passage", "document", "doc", "response", "reply", "paraphrase", "positive"),
    ),
    "premise": ("premise",),
    "hypothesis": ("hypothesis",),
    "text": ("text", "sentence", "utterance", "message", "content", "review", "comment", "query", "question"),
    "score": (
        "score",
        "similarity",
        "similarity score",
        "relatedness",
        "relatedness score",
        "gold score",
        "sim",
        "scores",
    ),
    "label": (
        "label",
        "labels",
        "gold label",
        "target",
        "is duplicate",
        "is paraphrase",
        "relevance",
        "entailment judgment",
    ),
    "class": ("label", "labels", "intent", "category", "class", "target", "topic", "label text", "label name"),
}

#: Names that only say "first of two": as anchor and positive they need to stand alone, since a column beside them that
#: nobody knows may well be a score.
NEUTRAL = frozenset({"sentence1", "sentence2", "sent1", "sent2", "question1", "question2"})

#: Columns that name a label in words, beside a column that holds it as a number.
LABEL_WORDS = frozenset({"labeltext", "labelname"})

_NUMBERED = re.compile(r"^(?:hard)?neg(?:ative)?s?(\d+)$")
_ID = re.compile(
    r"^(?:.*[_\-. ])?(?:[qpds]|doc|pair|row|sent|query|corpus)?(?:id|ids|idx|uuid|guid|index|md5|hash)\d*$"
)
_CAMEL_ID = re.compile(r"[a-z](?:ID|Id|Idx|IDX)\d*$")


@dataclass(frozen=True)
class Layout:
    """Roles that together make a shape. `judged` is settled by the label's values: labelled, scored or nli."""

    name: str
    roles: tuple[str, ...]
    shapes: tuple[ShapeName, ...]


LAYOUTS: tuple[Layout, ...] = (
    Layout("triplets", ("anchor", "positive", "negative"), ("triplets",)),
    Layout("nli", ("premise", "hypothesis", "label"), ("nli", "triplets")),
    Layout("scored", ("sentence1", "sentence2", "score"), ("scored",)),
    Layout("judged", ("sentence1", "sentence2", "label"), ("labelled", "scored", "nli")),
    Layout("classes", ("text", "class"), ("classes",)),
    Layout("pairs", ("anchor", "positive"), ("pairs",)),
)

#: Roles as a user may write them in `data.columns`: `label` is also the class of a text.
WRITABLE = (
    "anchor",
    "positive",
    "negative",
    "negatives",
    "sentence1",
    "sentence2",
    "score",
    "label",
    "premise",
    "hypothesis",
    "text",
)


def plain(name: str) -> str:
    """A column name as it compares."""
    return re.sub(r"[\s_.\-]+", "", name).lower()


KNOWN: dict[str, frozenset[str]] = {role: frozenset(plain(alias) for alias in names) for role, names in ALIASES.items()}


def negative_number(name: str) -> int | None:
    """The number of a numbered negative: `negative_2`, `neg3`, `hard_negative_1`; None for any other column."""
    match = _NUMBERED.match(plain(name))
    return int(match[1]) if match else None


def is_id(name: str) -> bool:
    """Whether a column's name says that it identifies and does not speak."""
    return bool(_ID.match(name.strip().lower()) or _CAMEL_ID.search(name.strip()))
