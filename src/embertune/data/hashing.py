"""Keys of texts, and chance from keys: decisions about rows hang on what the rows say, never on their position."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset

from embertune.data.store import batches

Keys = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def normalise(text: str) -> str:
    """The form in which texts compare: Unicode NFC, white space stripped and collapsed, case kept."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def folded(text: str) -> str:
    """The form in which leaks compare: NFKC, case folded, white space collapsed, punctuation stripped at the ends.

    Marks that carry meaning in a name or a number (`#`, `%`, `@`, `&`, `*`, `/`, `\\`) stay, and so does a text that is
    nothing but punctuation.
    """
    if text.isascii():
        text = " ".join(text.lower().split())
    else:
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        text = " ".join(text.split())
    if text[:1].isalnum() and text[-1:].isalnum():
        return text
    return text.strip(_ends(text.isascii())) or text


@cache
def _ends(ascii_only: bool) -> str:
    """White space and all punctuation of Unicode (which lies in its first two planes), but for what carries meaning."""
    marks = map(chr, range(0x80 if ascii_only else 0x20000))
    return " " + "".join(mark for mark in marks if unicodedata.category(mark)[0] == "P" and mark not in "#%@&*/\\")


def key(text: str, form: Callable[[str], str] = normalise) -> int:
    """The first 8 bytes of the blake2b of the text in that form, as a signed number: the same on every machine."""
    digest = hashlib.blake2b(form(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def keys_of(values: Sequence[Any], form: Callable[[str], str] = normalise) -> Keys:
    """The keys of some values; what is no text counts as its `str`."""
    found = (key(v if isinstance(v, str) else str(v), form) for v in values)
    return np.fromiter(found, dtype=np.int64, count=len(values))


def keys(rows: Dataset, column: str, form: Callable[[str], str] = normalise) -> Keys:
    """The key of every value of a column; each distinct value of a batch is hashed once. `form=str` tells all apart."""
    return keys_in_forms(rows, column, (form,))[0]


def keys_in_forms(rows: Dataset, column: str, forms: Sequence[Callable[[str], str]]) -> list[Keys]:
    """The keys of a column in several forms, read once."""
    parts: list[list[Keys]] = [[np.empty(0, dtype=np.int64)] for _ in forms]
    for batch in batches(rows, column):
        encoded = batch.combine_chunks().dictionary_encode()
        values, places = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
        for part, form in zip(parts, forms, strict=True):
            part.append(keys_of(values, form)[places])
    return [np.concatenate(part) for part in parts]


def digest_of(arrays: Iterable[npt.NDArray[Any]]) -> str:
    """One sha256 of the bytes of some arrays, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def mix(values: Keys, seed: int, salt: str) -> Words:
    """Pseudo-random words, a function of (seed, salt, value) alone; splitmix64's finaliser (Steele et al., 2014)."""
    start = int.from_bytes(hashlib.blake2b(f"{seed}/{salt}".encode(), digest_size=8).digest(), "little")
    word: Words = values.astype(np.uint64) ^ np.uint64(start)
    word = word + np.uint64(_GOLDEN)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(_FIRST)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(_SECOND)
    return word ^ (word >> np.uint64(31))


def unit(values: Keys, seed: int, salt: str) -> npt.NDArray[np.float64]:
    """The same chance as a number in [0, 1)."""
    return (mix(values, seed, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def joined(columns: Sequence[Keys]) -> Keys:
    """One key for a row out of the keys of its columns; the order of the columns counts."""
    total = np.zeros(len(columns[0]), dtype=np.int64)
    for place, values in enumerate(columns):
        total = mix(total ^ values, place, "joined").astype(np.int64)
    return total
