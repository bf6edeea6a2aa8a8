"""Every text tokenised once: memory-mapped files, shared by epochs, evaluations, processes and later runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from embertune.engine.reading import Reading, reading
from embertune.engine.segment import ENDING, Ints, Segment, keys, made
from embertune.engine.shelf import Found, Shelf

#: Texts, and characters, that are tokenised and written at a time: memory stays that of one such piece.
CHUNK, CHARACTERS = 2**16, 2**24
#: Segments with fewer texts than this are small: many of them are laid together.
SMALL = 2**18
#: Fewer texts than this, met by the way, are not worth a file of their own: they wait in memory for others.
FEW = 2**10

#: What a store must read as the model itself does before it is trusted: nothing, spaces, case, other scripts, special
#: tokens written out, and lengths; a text that has to be cut is added.
_SAMPLES = (
    "", " ", "a word", "  Two   words\n", "Straße, naïve café!", "東京 привет 🙂", "x" * 150,
    "[CLS] a [SEP] b [MASK] <s> c </s> <pad> [PAD] <unk>", "how can i repair the car, and who will help me with it?",
)  # fmt: skip


class TokenStore:
    """The texts that a model was shown, as tokens. Lies in `folder`, or in memory where there is none.

    Several processes may use one folder. Where it cannot be written, new texts are kept in memory instead, and
    `trouble` says why.
    """

    def __init__(self, read: Reading, folder: Path | None, trouble: str = "") -> None:
        self.read = read
        self._shelf = Shelf(folder, ENDING, read.ids, SMALL, trouble)
        self._prompt_lengths: dict[str, int | None] = {}

    @property
    def trouble(self) -> str:
        """Why new texts stay in memory; '' where they do not."""
        return self._shelf.trouble

    @property
    def texts(self) -> int:
        """How many texts it has; one that two processes read at the same time may count twice."""
        return self._shelf.texts

    def add(self, texts: Iterable[str], prompt: str = "") -> int:
        """Tokenise those of `prompt + text` that are not there yet; how many these were. May be called any time."""
        self._check()
        return sum(self._add(chunk, prompt, few=0) for chunk in _chunks(texts))

    def find(self, texts: Sequence[str], prompt: str = "") -> Found:
        """Where the texts lie; those that are not there yet are added."""
        self._check()
        high, low = keys(prompt + text for text in texts)
        found = self._shelf.find(high, low)
        if (found.row < 0).any():
            unknown = [texts[int(place)] for place in np.flatnonzero(found.row < 0)]
            for chunk in _chunks(unknown):
                self._add(chunk, prompt, few=FEW)
            found = self._shelf.find(high, low)
        return found

    def lengths(self, texts: Sequence[str], prompt: str = "") -> Ints:
        """Tokens of each text (n,) as the model reads it: special tokens counted, the end cut off."""
        return self.find(texts, prompt).lengths

    def counts(self, texts: Sequence[str], prompt: str = "") -> Ints:
        """Tokens of each text (n,) before anything is cut off."""
        return self.find(texts, prompt).counts

    def features(self, texts: Sequence[str], prompt: str = "") -> dict[str, Any]:
        """What the model's `preprocess(texts, prompt=prompt)` gives: tensors (n, longest), int64, and plain values."""
        return self.padded(self.find(texts, prompt), prompt) if len(texts) else {}

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **options: Any) -> dict[str, Any]:
        """Stands where the model's own `preprocess` would; whatever is not plain texts goes to that one."""
        if any(value is not None for value in options.values()) or not all(type(text) is str for text in inputs):
            return self.read.host(inputs, prompt=prompt, **options)
        return self.features(inputs, prompt or "")

    def padded(self, found: Found, prompt: str = "") -> dict[str, Any]:
        """The features of texts that were found with this prompt; at least one."""
        read = self.read
        joined, lengths = found.ids()
        width = int(lengths.max())
        place = np.arange(width)[None, :]
        mask = place < lengths[:, None] if read.side == "right" else place >= width - lengths[:, None]
        ids = np.full(mask.shape, read.pad_id, dtype=np.int64)
        ids[mask] = joined
        values = {
            "input_ids": ids,
            "token_type_ids": np.where(mask, 0, read.pad_type).astype(np.int64),
            "attention_mask": mask.astype(np.int64),
        }
        features: dict[str, Any] = {name: torch.from_numpy(values[name]) for name in read.features}
        features["modality"] = "text"
        if prompt and (length := self._prompt_length(prompt)) is not None:
            features["prompt_length"] = length
        return features

    def _prompt_length(self, prompt: str) -> int | None:
        """Asked from the model, once for each prompt."""
        if prompt not in self._prompt_lengths:
            self._prompt_lengths[prompt] = self.read.host(["a"], prompt=prompt).get("prompt_length")
        return self._prompt_lengths[prompt]

    def _check(self) -> None:
        if self.read.changed:
            raise ValueError("the model's tokenizer has other settings than when its store of tokens was opened")

    def _add(self, texts: Sequence[str], prompt: str, few: int) -> int:
        """Add one chunk; written once there are `few` new texts, with those that were waiting. How many were new."""
        new = self._new(texts, prompt)
        if not new:
            return 0
        waiting = sum(map(len, self._shelf.waiting))
        if self._shelf.folder is not None and waiting + len(new) >= few:
            try:
                with self._shelf.alone():
                    new = self._new(new, "")
                    if new:
                        self._shelf.remember(self._read(new))
                    self._shelf.publish()
            except OSError as error:
                self._shelf.give_up(error)
        if rest := self._new(new, ""):
            self._shelf.remember(self._read(rest))
        return len(new)

    def _new(self, texts: Sequence[str], prompt: str) -> list[str]:
        """Those of `prompt + text` that are not there yet, each once."""
        whole = list(dict.fromkeys(prompt + text for text in texts))
        row = self._shelf.find(*keys(whole)).row
        return [whole[place] for place in np.flatnonzero(row < 0)]

    def _read(self, texts: Sequence[str]) -> Segment:
        ids, length, count = self.read.tokenise(texts)
        return made(*keys(texts), ids, length, count)


def open_store(model: SentenceTransformer, folder: Path | None) -> TokenStore | None:
    """The store for `model` below `folder`, in a folder of its own for its tokenizer; in memory where `folder` is None.

    None where the model's features cannot be made from stored tokens exactly as its `preprocess` makes them: chat
    templates, other modalities, static embeddings, flattened inputs, tokenizers in Python.
    """
    read = reading(model)
    if read is None or not faithful(read):
        return None
    return TokenStore(read, None if folder is None else folder / read.key)


def faithful(read: Reading) -> bool:
    """Whether stored tokens give the very features that the model's own `preprocess` gives, tried on sample texts."""
    long = [] if read.limit is None else ["so it goes on " * read.limit]
    trial = TokenStore(read, None)
    for texts, prompt in itertools.product(([*_SAMPLES, *long], _SAMPLES[2:3], long or _SAMPLES[:1]), ("", "ask: ")):
        try:
            if not _equal(trial.features(texts, prompt), read.host(list(texts), prompt=prompt)):
                return False
        except Exception:  # whatever a model's own code finds wrong with plain texts: it is not for us
            return False
    return True


def _equal(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two sets of features have the same names in the same order, the same types and the same values."""
    if list(ours) != list(theirs):
        return False
    for name, value in theirs.items():
        if isinstance(value, torch.Tensor):
            if value.dtype != ours[name].dtype or not torch.equal(value, ours[name]):
                return False
        elif value != ours[name]:
            return False
    return True


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in pieces of bounded size; at least one text each."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if len(chunk) == CHUNK or characters >= CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
