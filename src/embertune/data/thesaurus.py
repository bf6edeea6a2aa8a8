"""Where synonyms come from: a file of `lemma, pos, synonyms`, or an installed WordNet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from datasets import Dataset

from embertune.data.sources import read
from embertune.data.spec import parse
from embertune.data.store import BATCH
from embertune.errors import DataError

WHERE = "data.augment.thesaurus"
#: What stands in the recipe for an installed WordNet, with the language or the lexicon after a colon.
WORDNET = "wordnet"
#: Parts of speech as WordNet has them; `s` is an adjective that hangs on another.
NOUN, VERB, ADJECTIVE, ADVERB = "n", "v", "a", "r"
_SPELLED = {"s": ADJECTIVE, "noun": NOUN, "verb": VERB, "adj": ADJECTIVE, "adjective": ADJECTIVE}
_SPELLED |= {"adv": ADVERB, "adverb": ADVERB, "": ""}
_SEPARATORS = ("|", ";", ",")


class Thesaurus(Protocol):
    """Synonyms by lemma and part of speech. `mark` is the same for two that hold the same."""

    @property
    def mark(self) -> str: ...

    def find(self, lemma: str, pos: str) -> Sequence[str]:
        """The synonyms of a lemma in lower case, without itself; empty where it is not known."""
        ...


@dataclass(frozen=True, eq=False)
class Listed:
    """A thesaurus read from rows. A lemma without a part of speech stands for all of them."""

    entries: Mapping[tuple[str, str], tuple[str, ...]]
    mark: str

    def find(self, lemma: str, pos: str) -> Sequence[str]:
        """See `Thesaurus`."""
        return self.entries.get((lemma, pos), ()) or self.entries.get((lemma, ""), ())


@dataclass(frozen=True, eq=False)
class WordNet:
    """A WordNet that the package `wn` has installed. `words` is its `wn.Wordnet`."""

    words: Any
    mark: str
    known: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def find(self, lemma: str, pos: str) -> Sequence[str]:
        """See `Thesaurus`."""
        if (lemma, pos) not in self.known:
            synsets = [
                s for p in ((pos, "s") if pos == ADJECTIVE else (pos,)) for s in self.words.synsets(lemma, pos=p)
            ]
            found = dict.fromkeys(word for synset in synsets for word in synset.lemmas())
            self.known[lemma, pos] = tuple(word for word in found if word.lower() != lemma)
        return self.known[lemma, pos]


def open_thesaurus(name: str) -> Thesaurus:
    """The thesaurus that a recipe names: a file, or `wordnet`. Raises DataError where it is not there or is none."""
    kind, _, lexicon = name.partition(":")
    if kind == WORDNET and not Path(name).exists():
        return open_wordnet(lexicon)
    rows = _rows(name)
    columns = {column.lower(): column for column in rows.column_names}
    if missing := [column for column in ("lemma", "synonyms") if column not in columns]:
        found = f"{name} has no column {missing[0]!r}, only {', '.join(rows.column_names)}"
        raise DataError(WHERE, found, "give a table of lemma, pos (n, v, a, r) and synonyms")
    entries = _entries(rows, columns)
    if not any(entries.values()):
        raise DataError(WHERE, f"{name} holds no synonym", "give a table of lemma, pos and synonyms")
    return Listed(entries, hashlib.sha256(repr(sorted(entries.items())).encode()).hexdigest())


def _rows(name: str) -> Dataset:
    try:
        if parse(name).is_local:
            source = read(name)
            return source.splits[source.pick("train")]
    except DataError as error:
        raise DataError(WHERE, f"{error.where}: {error.found}", error.remedy) from None
    raise DataError(WHERE, f"there is no file {name!r}", f"name a file of lemma, pos, synonyms, or write {WORDNET}")


def _entries(rows: Dataset, columns: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for table in rows.with_format("arrow").iter(BATCH):
        lemmas, synonyms = (table.column(columns[name]).to_pylist() for name in ("lemma", "synonyms"))
        parts = table.column(columns["pos"]).to_pylist() if "pos" in columns else [""] * len(lemmas)
        for lemma, pos, listed in zip(lemmas, parts, synonyms, strict=True):
            if lemma is not None and listed is not None:
                entry = (str(lemma).lower().strip(), _pos(pos))
                words = dict.fromkeys((*found.get(entry, ()), *_words(listed)))
                found[entry] = tuple(word for word in words if word.lower() != entry[0])
    return found


def _pos(pos: object) -> str:
    word = str(pos or "").lower().strip()
    return _SPELLED.get(word, word)


def _words(synonyms: object) -> Iterable[str]:
    """A list of words, or a text in which `|`, `;` or `,` stands between them."""
    if isinstance(synonyms, str):
        separator = next((mark for mark in _SEPARATORS if mark in synonyms), ",")
        synonyms = synonyms.split(separator)
    listed = synonyms if isinstance(synonyms, list) else [synonyms]
    return (str(word).strip() for word in listed if word is not None and str(word).strip())


def open_wordnet(lexicon: str = "") -> WordNet:
    """An installed WordNet: the English ones, or the `lexicon` named (`oewn:2024`)."""
    try:
        import wn
    except ImportError:
        remedy = "pip install 'embertune[wordnet]', then python -m wn download oewn:2024"
        raise DataError(WHERE, "the package wn, which reads a WordNet, is not installed", remedy) from None
    found = [known for known in wn.lexicons() if lexicon in ("", known.id, known.specifier()) and _is_english(known)]
    if not found:
        named = f"the WordNet {lexicon}" if lexicon else "an English WordNet"
        remedy = f"python -m wn download {lexicon or 'oewn:2024'}, or name a file of lemma, pos, synonyms"
        raise DataError(WHERE, f"{named} is not installed", remedy)
    chosen = sorted(known.specifier() for known in found)[-1]
    mark = hashlib.sha256(f"{WORDNET} {chosen}".encode()).hexdigest()
    return WordNet(wn.Wordnet(chosen, expand=""), mark)


def _is_english(lexicon: Any) -> bool:
    return str(lexicon.language).lower().startswith("en")
