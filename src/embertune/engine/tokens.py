"""Every text tokenised once: memory-mapped files, shared by epochs, evaluations, processes and later runs."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from embertune.engine.published import HALF, locked
from embertune.engine.reading import Reading, reading
from embertune.engine.segment import ENDING, Halves, Ids, Ints, Segment, keys, made, merged, opened, write

#: Texts, and characters, that are tokenised and written at a time: memory stays that of one such piece.
CHUNK, CHARACTERS = 2**16, 2**24
#: Segments with fewer texts than `SMALL` are laid together when there are more than `MANY` of them.
SMALL, MANY = 2**18, 8
#: Fewer texts than this, met by the way, are not worth a file of their own: they wait in memory for others.
FEW = 2**10

#: What a store must read as the model itself does before it is trusted: nothing, spaces, case, other scripts, special
#: tokens written out, and lengths; a text that has to be cut is added.
_SAMPLES = (
    "", " ", "a word", "  Two   words\n", "Straße, naïve café!", "東京 привет 🙂", "x" * 150,
    "[CLS] a [SEP] b [MASK] <s> c </s> <pad> [PAD] <unk>", "how can i repair the car, and who will help me with it?",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Found:
    """Where some texts lie, in the order in which they were asked for: text `i` is row `row[i]` of `parts[part[i]]`."""

    parts: tuple[Segment, ...]
    part: Ints
    row: Ints

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, places: npt.NDArray[np.intp] | slice) -> Found:
        """Some of the texts, in another order if need be."""
        return Found(self.parts, self.part[places], self.row[places])

    @property
    def lengths(self) -> Ints:
        """Tokens of each text (n,) as the model reads it: special tokens counted, the end cut off."""
        return self._each("length")

    @property
    def counts(self) -> Ints:
        """Tokens of each text (n,) before anything was cut off."""
        return self._each("count")

    def _each(self, name: str) -> Ints:
        values = np.zeros(len(self), dtype=np.int64)
        for number, mine in self._by_part():
            values[mine] = getattr(self.parts[number], name)[self.row[mine]]
        return values

    def _by_part(self) -> Iterator[tuple[int, Ints]]:
        """Parts that are used, and the places (k,) of the texts that lie there."""
        for number in np.unique(self.part):
            yield int(number), np.flatnonzero(self.part == number)

    def ids(self) -> tuple[Ids, Ints]:
        """The tokens of all texts end to end, and the texts' lengths (n,)."""
        used = list(self._by_part())
        lengths = self.lengths
        if len(used) == 1:
            return self.parts[used[0][0]].take(self.row), lengths
        begin = np.cumsum(lengths) - lengths
        joined = np.empty(int(lengths.sum()), dtype=np.int64)
        for number, mine in used:
            inside = lengths[mine]
            shift = begin[mine] - (np.cumsum(inside) - inside)
            joined[np.repeat(shift, inside) + np.arange(int(inside.sum()))] = self.parts[number].take(self.row[mine])
        return joined, lengths


class TokenStore:
    """The texts that a model was shown, as tokens. Lies in `folder`, or in memory where there is none.

    Several processes may use one folder. Where it cannot be written, new texts are kept in memory instead, and
    `trouble` says why.
    """

    def __init__(self, read: Reading, folder: Path | None, trouble: str = "") -> None:
        self.read, self.folder, self.trouble = read, folder, trouble
        self._parts: tuple[Segment, ...] = ()
        self._prompt_lengths: dict[str, int | None] = {}
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._look_around()
            except OSError as error:
                self._keep_to_memory(error)

    @property
    def texts(self) -> int:
        """How many texts it has; one that two processes read at the same time may count twice."""
        return sum(len(part) for part in self._parts)

    def add(self, texts: Iterable[str], prompt: str = "") -> int:
        """Tokenise those of `prompt + text` that are not there yet; how many these were. May be called any time."""
        self._check()
        return sum(self._add(chunk, prompt, few=0) for chunk in _chunks(texts))

    def find(self, texts: Sequence[str], prompt: str = "") -> Found:
        """Where the texts lie; those that are not there yet are added."""
        self._check()
        high, low = keys(prompt + text for text in texts)
        found = self._find(high, low)
        if (found.row < 0).any():
            unknown = [texts[int(place)] for place in np.flatnonzero(found.row < 0)]
            for chunk in _chunks(unknown):
                self._add(chunk, prompt, few=FEW)
            found = self._find(high, low)
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

    def _find(self, high: Halves, low: Halves) -> Found:
        part = np.zeros(len(high), dtype=np.int64)
        row = np.full(len(high), -1, dtype=np.int64)
        left = np.arange(len(high))
        for number, segment in enumerate(self._parts):
            if not len(left):
                break
            here = segment.find(high[left], low[left])
            hit = here >= 0
            part[left[hit]], row[left[hit]] = number, here[hit]
            left = left[~hit]
        return Found(self._parts, part, row)

    def _add(self, texts: Sequence[str], prompt: str, few: int) -> int:
        """Add one chunk; written once there are `few` new texts, with those that were waiting. How many were new."""
        new = self._new(texts, prompt)
        if not new:
            return 0
        waiting = sum(len(part) for part in self._parts if part.path is None)
        if self.folder is not None and waiting + len(new) >= few:
            try:
                with self._alone(self.folder):
                    new = self._new(new, "")
                    if new:
                        self._remember(self._read(new))
                    self._publish(self.folder)
            except OSError as error:
                self._keep_to_memory(error)
        if rest := self._new(new, ""):
            self._remember(self._read(rest))
        return len(new)

    def _new(self, texts: Sequence[str], prompt: str) -> list[str]:
        """Those of `prompt + text` that are not there yet, each once."""
        whole = list(dict.fromkeys(prompt + text for text in texts))
        row = self._find(*keys(whole)).row
        return [whole[place] for place in np.flatnonzero(row < 0)]

    def _read(self, texts: Sequence[str]) -> Segment:
        ids, length, count = self.read.tokenise(texts)
        return made(*keys(texts), ids, length, count)

    def _remember(self, segment: Segment) -> None:
        """Keep in memory; small ones are laid together where there are many."""
        young = [segment, *(part for part in self._parts if part.path is None and len(part) < SMALL)]
        if len(young) > MANY:
            self._parts = (*(part for part in self._parts if part not in young), merged(young))
        else:
            self._parts = (*self._parts, segment)

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[None]:
        """Inside, no other process writes to the folder, and what others have written is known."""
        lock = locked(folder / "writing", alone=True)
        try:
            for half in folder.glob(f"*{HALF}"):  # nobody is writing, so its writer is dead
                half.unlink(missing_ok=True)
            self._look_around()
            yield
        finally:
            if lock is not None:
                lock.release()

    def _publish(self, folder: Path) -> None:
        """Write what waits in memory, and lay small files together where there are many; `_alone` only."""
        waiting = [part for part in self._parts if part.path is None]
        if not waiting:
            return
        write(folder / f"{uuid.uuid4().hex}{ENDING}", waiting)
        self._parts = tuple(part for part in self._parts if part.path is not None)
        self._look_around()
        small = [part for part in self._parts if len(part) < SMALL]
        if len(small) > MANY:
            write(folder / f"{uuid.uuid4().hex}{ENDING}", small)
            for part in small:
                assert part.path is not None
                part.path.unlink(missing_ok=True)
            self._look_around()

    def _look_around(self) -> None:
        """Know the files that are there now: those of other processes too, and no longer those laid together."""
        assert self.folder is not None
        known = {part.path: part for part in self._parts}
        there = []
        for path in sorted(self.folder.glob(f"*{ENDING}")):
            try:
                segment = known.get(path) or opened(path)
            except FileNotFoundError:  # laid together with others in this very moment; at worst its texts are new
                continue
            if segment is not None:
                there.append(segment)
        young = [part for part in self._parts if part.path is None]
        self._parts = (*sorted(there, key=len, reverse=True), *young)

    def _keep_to_memory(self, error: OSError) -> None:
        self.folder, self.trouble = None, str(error)


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
