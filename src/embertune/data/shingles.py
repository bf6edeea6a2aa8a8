"""Texts as sets of shingles: their words, and the pairs of neighbouring words, as 64-bit hashes; and exact Jaccard."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embertune.data.hashing import folded, key

Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

#: Texts are shingled in pieces of at most so many rows and characters, and pairs compared in blocks of so many
#: shingles, so that memory is that of one piece.
ROWS, CHARACTERS, ELEMENTS = 10_000, 4_000_000, 4_000_000
#: Words whose hashes are remembered at most; the memory begins anew when it is full.
REMEMBERED = 1_000_000

#: Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, Han. Each of their characters counts as a word.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Shingles:
    """The shingles of text t are `hashes[starts[t]:starts[t + 1]]`, ascending, each once.

    `hashes` may lie in a temporary file (memory-mapped), gone with this object.
    """

    hashes: Hashes
    starts: Places

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes(self) -> Places:
        """How many shingles each text has; 0 for a text without a word."""
        return np.diff(self.starts)

    def jaccard(self, left: Places, right: Places) -> npt.NDArray[np.float64]:
        """The Jaccard similarity of the texts at `left[i]` and `right[i]`; 0 where neither has a shingle."""
        sizes = self.sizes
        together = sizes[left] + sizes[right]
        shared = np.zeros(len(left), dtype=np.int64)
        for part in _blocks(together):
            shared[part] = self._shared(left[part], right[part])
        similarity: npt.NDArray[np.float64] = shared / np.maximum(together - shared, 1)
        return similarity

    def _shared(self, left: Places, right: Places) -> Places:
        """How many shingles each pair has in common; at most 65,536 pairs.

        One sort does it: the number of the pair takes the place of the lowest 16 bits of each hash, so that what two
        texts share stands side by side. Two shingles of one pair are told apart by 48 bits.
        """
        parts = []
        for places in (left, right):
            at, owners = ranges(self.starts, places)
            parts.append((self.hashes[at] & ~np.uint64(0xFFFF)) | owners.astype(np.uint64))
        found = np.concatenate(parts)
        found.sort()
        twice = found[1:][found[1:] == found[:-1]] & np.uint64(0xFFFF)
        return np.bincount(twice.astype(np.int64), minlength=len(left))


def _blocks(sizes: Places) -> Iterator[slice]:
    """Slices of at most 65,536 pairs and about `ELEMENTS` shingles."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        reach = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + ELEMENTS, side="right"))
        stop = min(max(reach, start + 1), start + 0x10000)
        yield slice(start, stop)
        start = stop


def ranges(starts: Places, picks: Places) -> tuple[Places, Places]:
    """Where the members of the picked ranges lie, one after the other, and which pick each belongs to."""
    lengths = starts[picks + 1] - starts[picks]
    owners = np.repeat(np.arange(len(picks)), lengths)
    firsts = np.cumsum(lengths) - lengths
    return np.arange(len(owners)) - firsts[owners] + starts[picks][owners], owners


def shingled(pieces: Iterable[pa.Array]) -> Shingles:
    """The shingles of all texts of the pieces, in order, kept in a temporary file so that memory stays bounded.

    Words are split at white space and compare folded (see `hashing.folded`), so punctuation around them does not count.
    """
    lexicon = _Lexicon()
    sizes: list[Places] = []
    with tempfile.TemporaryFile() as file:
        for piece in pieces:
            for part in _parts(piece):
                hashes, counts = _shingles(lexicon, part)
                hashes.tofile(file)
                sizes.append(counts)
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(sizes or [np.empty(0, int)]))])
        file.flush()
        hashes = np.memmap(file, dtype=np.uint64, mode="r") if starts[-1] else np.empty(0, dtype=np.uint64)
    return Shingles(hashes, starts.astype(np.int64))


def _parts(piece: pa.Array) -> Iterator[pa.Array]:
    lengths = np.asarray(pc.fill_null(pc.binary_length(piece), 0), dtype=np.int64)
    ends, start = np.cumsum(lengths), 0
    while start < len(piece):
        reach = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + CHARACTERS, side="right"))
        stop = min(max(reach, start + 1), start + ROWS)
        yield piece.slice(start, stop - start)
        start = stop


def _shingles(lexicon: _Lexicon, texts: pa.Array) -> tuple[Hashes, Places]:
    """Words and pairs of neighbouring words of each text, distinct and ascending, and how many."""
    words, owners = lexicon.read(texts)
    paired = owners[1:] == owners[:-1]
    pairs = _paired(words[:-1], words[1:])[paired]
    hashes, rows = np.concatenate([words, pairs]), np.concatenate([owners, owners[1:][paired]])
    order = np.argsort(hashes)
    order = order[np.argsort(rows[order].astype(np.uint16), kind="stable")]
    hashes, rows = hashes[order], rows[order]
    fresh = np.ones(len(hashes), dtype=bool)
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
    return hashes[fresh], np.bincount(rows[fresh], minlength=len(texts))


def _paired(first: Hashes, second: Hashes) -> Hashes:
    """One hash for two words in their order: splitmix64's finaliser over both."""
    word = first * np.uint64(0x9E3779B97F4A7C15) + ((second << np.uint64(31)) | (second >> np.uint64(33)))
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


class _Lexicon:
    """The hashes of words met so far; each distinct word is folded and hashed once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, ...]] = {}

    def read(self, texts: pa.Array) -> tuple[Hashes, Places]:
        """The hashes of all words, text after text, and the text that each belongs to."""
        split = pc.utf8_split_whitespace(texts)
        encoded = pc.list_flatten(split).dictionary_encode()
        parents = pc.list_parent_indices(split).to_numpy(zero_copy_only=False).astype(np.int64)
        if len(self._known) > REMEMBERED:
            self._known.clear()
        known = [self._hashes(word) for word in encoded.dictionary.to_pylist()]
        values = np.array([number for numbers in known for number in numbers], dtype=np.uint64)
        starts = np.concatenate([[0], np.cumsum([len(numbers) for numbers in known])]).astype(np.int64)
        at, places = ranges(starts, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64))
        return values[at], parents[places]

    def _hashes(self, word: str) -> tuple[int, ...]:
        found = self._known.get(word)
        if found is None:
            found = self._known[word] = tuple(key(part, str) & 0xFFFFFFFFFFFFFFFF for part in _words(word))
        return found


def _words(word: str) -> list[str]:
    """What counts as words in a piece between white space: one folded word, none, or each spaceless character."""
    if word.isascii() and word.isalnum():
        return [word.lower()]
    if not word.isascii() and _SPACELESS.search(word):
        word = _SPACELESS.sub(r" \g<0> ", word)
    parts = (folded(part) for piece in word.split() for part in folded(piece).split())
    return [part for part in parts if any(character.isalnum() for character in part)]
