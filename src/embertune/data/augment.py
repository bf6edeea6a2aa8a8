"""Changed copies of training rows: which rows get one, by which method, and which copies are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from embertune.data.hashing import Keys, folded, joined, keys, keys_of, mix, normalise, unit
from embertune.data.prepared import Note, Prepared, ShapeName
from embertune.data.store import BATCH, cache_key, mapped, quiet
from embertune.data.synonyms import replaced
from embertune.data.thesaurus import Thesaurus
from embertune.data.words import Chances, Word, deleted, is_unspaced, swapped, text_of, words_of
from embertune.errors import DataError
from embertune.recipe.augmenting import WHERE, AugmentSection, methods_of

#: Texts and their role to vectors, float32 (n, d).
Encode = Callable[[Sequence[str], str], npt.NDArray[np.float32]]
#: Texts to the same texts in other words.
Rewrite = Callable[[Sequence[str]], Sequence[str]]
#: The words of a text, chances for each and for what takes its place, to other words.
Change = Callable[[Sequence[Word], Chances, Chances], Sequence[Word]]

#: Shapes whose rows say how two texts stand to each other: there only words that say nothing may be left out.
JUDGED: tuple[ShapeName, ...] = ("triplets", "nli", "scored", "labelled")
#: Rows that are looked at for the script they are written in, and the share that makes word-level changes senseless.
SAMPLE, TOO_MANY = 1_000, 0.1
UNCHANGED, OUTSIDE, REPEATED, HELD = -1, -2, -3, -4
#: Part of what cached copies are found by: raise it when the same rows and settings would give others.
VERSION = 1
_OUTCOME, _PLACE = "augment outcome", "augment place"
_WORD_LEVEL = ("delete", "swap", "synonyms")
_DONE = {
    "delete": "words left out",
    "swap": "neighbouring words swapped",
    "synonyms": "synonyms put",
    "translate": "translated there and back",
}
_LOST = {
    UNCHANGED: "nothing in them could be changed",
    OUTSIDE: "their similarity is outside data.augment.keep",
    REPEATED: "they would repeat a text of their row",
    HELD: "they would repeat a text of dev or test",
}


@dataclass(frozen=True)
class Tools:
    """What methods need from outside. `mark` stands for all weights in it: what they made is found again by it.

    `held` are the keys, folded, of texts that no copy may become: what dev and test ask for.
    """

    thesaurus: Thesaurus | None = None
    translate: Rewrite | None = None
    encode: Encode | None = None
    mark: str = ""
    held: Keys = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def columns_of(prepared: Prepared, section: AugmentSection) -> tuple[str, ...]:
    """The columns to change: those named, or the first of the row, which no other text of the row hangs on."""
    if section.columns == "auto":
        return prepared.text_columns[:1]
    for column in section.columns:
        if column not in prepared.text_columns:
            found = f"{prepared.shape} rows have no text {column!r}"
            raise DataError(f"{WHERE}.columns", found, f"texts here: {', '.join(prepared.text_columns)}")
    return tuple(dict.fromkeys(section.columns))


def augment(prepared: Prepared, section: AugmentSection, tools: Tools, seed: int) -> Prepared:
    """The rows, then `copies` changed ones of each, with their group and label; a note tells how many and which not.

    What becomes of a row hangs on its texts and the seed, not on its place. Raises DataError where texts are in a
    script that the methods cannot take, and where nothing at all was changed.
    """
    work = _Work(prepared, section, tools, seed, columns_of(prepared, section))
    for column in work.columns:
        _check_script(prepared, section, column, seed)
    with quiet():
        tried = mapped(work.pieces(), work.name(), f"{prepared.source}: augmented rows")
        outcomes = np.concatenate([c.to_numpy() for c in tried.with_format("arrow")[_OUTCOME].chunks])
        kept = np.flatnonzero(outcomes >= 0)
        notes = tuple(_notes(work, tried, outcomes))
        if not len(kept):
            raise DataError(WHERE, f"changes nothing: {_why(outcomes)}", "name another method, or leave it out")
        copies = tried.select(kept).remove_columns([_OUTCOME, _PLACE]).cast(prepared.rows.features)
        return prepared.take(concatenate_datasets([prepared.rows, copies]), *notes)


def _check_script(prepared: Prepared, section: AugmentSection, column: str, seed: int) -> None:
    """Refuse methods that need words where many texts have no spaces between theirs."""
    wanted = [name for name in methods_of(section) if name in _WORD_LEVEL]
    if not wanted:
        return
    order = mix(keys(prepared.rows, column), seed, "augment sample").argsort(kind="stable")
    texts = prepared.rows.select(np.sort(order[:SAMPLE]))[column]
    share = float(np.mean([is_unspaced(text) for text in texts]))
    if share > TOO_MANY:
        found = f"{share:.0%} of the texts in {column!r} are in a script without spaces between words"
        remedy = "use data.augment.translate, which reads whole texts, or leave it out"
        raise DataError(f"{WHERE}.{wanted[0]}", found, remedy)


@dataclass(frozen=True)
class _Work:
    """One augmentation: the rows and all that decides what becomes of them."""

    prepared: Prepared
    section: AugmentSection
    tools: Tools
    seed: int
    columns: tuple[str, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        return methods_of(self.section)

    def row_keys(self, table: pa.Table) -> Keys:
        """One key for all texts of each row."""
        return joined([keys_of(table.column(name).to_pylist()) for name in self.prepared.text_columns])

    def name(self) -> str:
        """What the copies are a function of."""
        digest = hashlib.sha256()
        for table in self.prepared.rows.with_format("arrow").iter(BATCH):
            digest.update(self.row_keys(table).tobytes())
            for name in sorted(set(table.column_names) - set(self.prepared.text_columns)):
                digest.update(str(table.column(name).to_pylist()).encode())
        digest.update(np.sort(self.tools.held).tobytes())
        marks = self.tools.thesaurus.mark if self.tools.thesaurus else "", self.tools.mark
        return cache_key("augment", VERSION, digest.hexdigest(), self.section, self.columns, self.seed, *marks)

    def pieces(self) -> Iterator[pa.Table]:
        """Every copy that was tried, with its outcome and the place of its row, a batch of rows at a time."""
        start = 0
        for table in self.prepared.rows.with_format("arrow").iter(BATCH):
            texts = {name: table.column(name).to_pylist() for name in self.prepared.text_columns}
            seen = [{folded(text) for text in row} for row in zip(*texts.values(), strict=True)]
            row_keys = self.row_keys(table)
            for copy in range(self.section.copies):
                made, outcomes = self.copied(texts, row_keys, copy)
                self.refuse(texts, made, outcomes, seen)
                yield self.as_table(table, made, outcomes, start)
            start += len(table)

    def copied(
        self, texts: Mapping[str, Sequence[str]], row_keys: Keys, copy: int
    ) -> tuple[dict[str, list[str]], npt.NDArray[np.int8]]:
        """Changed texts by column, and the method of each row: its turn's, or the next that can change it."""
        turns = (mix(row_keys, self.seed, "augment turn") + np.uint64(copy)) % np.uint64(len(self.methods))
        made = {column: list(texts[column]) for column in self.columns}
        outcomes = np.full(len(row_keys), UNCHANGED, dtype=np.int8)
        for later in range(len(self.methods)):
            for number, method in enumerate(self.methods):
                mine = (turns + np.uint64(later)) % np.uint64(len(self.methods)) == number
                rows = np.flatnonzero((outcomes == UNCHANGED) & mine).tolist()
                for column in self.columns if rows else ():
                    before = [texts[column][row] for row in rows]
                    after = self.changed(method, before, row_keys[rows], f"{column} {copy}")
                    for row, old, new in zip(rows, before, after, strict=True):
                        if normalise(new) != normalise(old):
                            made[column][row], outcomes[row] = new, number
        return made, outcomes

    def changed(self, method: str, texts: Sequence[str], row_keys: Keys, salt: str) -> Sequence[str]:
        """What a method makes of some texts."""
        if method == "translate":
            assert self.tools.translate is not None
            return self.tools.translate(texts)
        change = self.change(method)
        worded = [() if is_unspaced(text) else words_of(text) for text in texts]
        lengths = np.array([len(words) for words in worded])
        ends = np.cumsum(lengths)
        within = np.arange(int(ends[-1])) - np.repeat(ends - lengths, lengths)
        places = joined([np.repeat(row_keys, lengths), within])
        chances, picks = (
            unit(places, self.seed, f"augment {what} {method} {salt}").tolist() for what in ("word", "pick")
        )
        spans = [slice(end - len(words), end) for words, end in zip(worded, ends.tolist(), strict=True)]
        made = (change(words, chances[span], picks[span]) for words, span in zip(worded, spans, strict=True))
        return [text_of(words) if words else text for text, words in zip(texts, made, strict=True)]

    def change(self, method: str) -> Change:
        """A method of the word level, with its rate."""
        rate = getattr(self.section, method)
        if method == "delete":
            judged = self.prepared.shape in JUDGED
            return lambda words, chances, _picks: deleted(words, chances, rate, only_empty=judged)
        if method == "swap":
            return lambda words, chances, _picks: swapped(words, chances, rate)
        thesaurus = self.tools.thesaurus
        assert thesaurus is not None
        return lambda words, chances, picks: replaced(words, chances, picks, rate, thesaurus)

    def refuse(
        self,
        texts: Mapping[str, Sequence[str]],
        made: Mapping[str, Sequence[str]],
        outcomes: npt.NDArray[np.int8],
        seen: Sequence[set[str]],
    ) -> None:
        """Take back copies that are not to be kept: changes `outcomes`, and `seen`, which has the texts of each row."""
        held = set(self.tools.held.tolist())
        for row in np.flatnonzero(outcomes >= 0).tolist():
            new = {folded(made[c][row]) for c in self.columns if made[c][row] != texts[c][row]}
            if new & seen[row]:
                outcomes[row] = REPEATED
            elif not held.isdisjoint(keys_of(tuple(new), str).tolist()):
                outcomes[row] = HELD
            seen[row].update(new)
        if self.section.keep is not None:
            self.refuse_outside(texts, made, outcomes, self.section.keep)

    def refuse_outside(
        self,
        texts: Mapping[str, Sequence[str]],
        made: Mapping[str, Sequence[str]],
        outcomes: npt.NDArray[np.int8],
        band: tuple[float, float],
    ) -> None:
        """Take back copies with a changed text whose cosine to its origin is not in the band (changes `outcomes`)."""
        assert self.tools.encode is not None
        for column in self.columns:
            rows = [row for row in np.flatnonzero(outcomes >= 0).tolist() if made[column][row] != texts[column][row]]
            if rows:
                old, new = (self.tools.encode([of[column][row] for row in rows], column) for of in (texts, made))
                lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
                cosine = (old * new).sum(axis=1) / np.maximum(lengths, 1e-12)
                outcomes[np.asarray(rows)[(cosine < band[0]) | (cosine > band[1])]] = OUTSIDE

    def as_table(
        self, table: pa.Table, made: Mapping[str, Sequence[str]], outcomes: npt.NDArray[np.int8], start: int
    ) -> pa.Table:
        """The copies as rows; what was not kept has its row's own texts."""
        columns = {name: table.column(name) for name in table.column_names}
        for name in self.columns:
            columns[name] = pa.array(made[name], table.schema.field(name).type)
        columns[_OUTCOME] = pa.array(outcomes)
        columns[_PLACE] = pa.array(np.arange(start, start + len(table)))
        return pa.table(columns)


def _notes(work: _Work, tried: Dataset, outcomes: npt.NDArray[np.int8]) -> Iterator[Note]:
    """What was made by which method, with examples, and what was not, with the reason."""
    for number, method in enumerate(work.methods):
        places = np.flatnonzero(outcomes == number)
        text = (
            f"{len(places):,} changed copies of training rows joined them: {_DONE[method]} in {', '.join(work.columns)}"
        )
        yield Note("augment", text, len(places), tuple(_examples(work, tried, places[:5])))
    for outcome, why in _LOST.items():
        if count := int((outcomes == outcome).sum()):
            yield Note("augment", f"{count:,} of {len(outcomes):,} copies were left out: {why}", count)


def _examples(work: _Work, tried: Dataset, places: npt.NDArray[np.int64]) -> Iterator[str]:
    for copy in tried.select(places).to_list():
        row = work.prepared.rows[int(copy[_PLACE])]
        yield " | ".join(f"{row[c]} -> {copy[c]}" for c in work.columns if row[c] != copy[c])


def _why(outcomes: npt.NDArray[np.int8]) -> str:
    counts = {why: int((outcomes == outcome).sum()) for outcome, why in _LOST.items()}
    return "; ".join(f"{count:,} copies were left out, for {why}" for why, count in counts.items() if count)
