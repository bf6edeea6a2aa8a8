"""Texts in other words by translating them there and back, with any two translation models of transformers.

For models that translate from one language into one other, such as Marian's; what was translated is kept in the cache.
"""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from embertune import caches
from embertune.errors import ModelError
from embertune.model.find import locate, sha256_of
from embertune.model.quiet import quiet
from embertune.recipe.augmenting import WHERE

#: Tokens of a batch that is translated at once, and texts of it at most.
TOKENS, TEXTS = 2**11, 64
#: A translation has at most so many tokens for one of its text, and so many more.
LONGER, MORE = 2, 16
#: Part of what cached translations are found by: raise it when the same model would translate otherwise.
VERSION = 1
_ENDINGS = (".json", ".txt", ".model", ".spm", ".safetensors", ".bin")


@dataclass(frozen=True)
class Translator:
    """One direction: the folder of a model, and a `mark` that is another for other files in it."""

    folder: Path
    mark: str
    where: str


@dataclass(frozen=True)
class Back:
    """There and back: calling it gives texts in other words, as many as it is given; '' never comes of a text."""

    there: Translator
    back: Translator

    @property
    def mark(self) -> str:
        """The same for the same two models."""
        return f"{self.there.mark} {self.back.mark}"

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Each text there and back; a text that is lost on the way comes back as it was."""
        found = translated(self.back, translated(self.there, texts))
        return [new or old for new, old in zip(found, texts, strict=True)]


def back_translation(there: str, back: str) -> Back:
    """The two models that a recipe names. Raises ModelError for one that is not there or does not translate."""
    return Back(_found(there, "there"), _found(back, "back"))


def _found(name: str, side: str) -> Translator:
    from transformers import AutoConfig

    where = f"{WHERE}.translate.{side}"
    try:
        folder = locate(name).folder
    except ModelError as error:
        raise ModelError(where, error.found, error.remedy) from None
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        found = f"{name!r} cannot be read: {str(error).splitlines()[0][:200]}"
        raise ModelError(where, found, "name a translation model of transformers") from None
    if not config.is_encoder_decoder:
        found = f"{name!r} is a model of type {config.model_type}, which does not translate"
        raise ModelError(where, found, "name a model of encoder and decoder, such as one of Marian's")
    digest = hashlib.sha256(str(VERSION).encode())
    for path in sorted(path for path in folder.iterdir() if path.suffix in _ENDINGS):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return Translator(folder, digest.hexdigest()[:32], where)


def translated(translator: Translator, texts: Sequence[str]) -> list[str]:
    """The translations of texts: those kept from before, the others made now, and kept; each distinct text once."""
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    with _Kept(translator) as kept:
        known = {text: old for text in distinct if (old := kept.find(text)) is not None}
        for batch in _translations(translator, [text for text in distinct if text not in known]):
            kept.add(batch)
            known.update(batch)
    return [known.get(text, "") for text in texts]


class _Kept:
    """Translations of one model in a table on disk, written a batch at a time, whole or not at all."""

    def __init__(self, translator: Translator) -> None:
        try:
            folder = caches.keep("translations", translator.mark, f"by {translator.folder.name}")
            self.table = sqlite3.connect(folder / "texts.sqlite", timeout=60)
            self.table.execute("CREATE TABLE IF NOT EXISTS texts (text TEXT PRIMARY KEY, translation TEXT)")
        except (OSError, sqlite3.Error):  # a cache that cannot be written costs time, nothing else
            self.table = sqlite3.connect(":memory:")
            self.table.execute("CREATE TABLE texts (text TEXT PRIMARY KEY, translation TEXT)")

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *_error: object) -> None:
        self.table.close()

    def find(self, text: str) -> str | None:
        """The translation of a text, or None."""
        row = self.table.execute("SELECT translation FROM texts WHERE text = ?", (text,)).fetchone()
        return None if row is None else str(row[0])

    def add(self, translations: dict[str, str]) -> None:
        """Keep translations."""
        with self.table:
            self.table.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?)", translations.items())


def _translations(translator: Translator, texts: Sequence[str]) -> Iterator[dict[str, str]]:
    """Texts with their translations, batch by batch, long texts first.

    Greedy, and a batch holds texts of one length, so what becomes of a text does not hang on those beside it.
    """
    if not texts:
        return
    with quiet():
        tokenizer, model = _loaded(translator)
        ids = tokenizer(list(texts), truncation=True, max_length=_longest(tokenizer, model))["input_ids"]
        for batch in _batches([len(one) for one in ids]):
            features = tokenizer.pad({"input_ids": [ids[place] for place in batch]}, return_tensors="pt")
            with torch.inference_mode():
                found = model.generate(
                    **features.to(model.device),
                    max_new_tokens=LONGER * len(ids[batch[0]]) + MORE,
                    num_beams=1,
                    do_sample=False,
                )
            lines = tokenizer.batch_decode(found, skip_special_tokens=True)
            yield {texts[place]: " ".join(line.split()) for place, line in zip(batch, lines, strict=True)}


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The places of texts of one length, as many as a batch may hold."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    for length, places in itertools.groupby(order, key=lambda place: lengths[place]):
        alike = list(places)
        size = max(1, min(TEXTS, TOKENS // max(1, length)))
        yield from (alike[first : first + size] for first in range(0, len(alike), size))


def _loaded(translator: Translator) -> tuple[Any, Any]:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    told = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(translator.folder, **told)
        model = AutoModelForSeq2SeqLM.from_pretrained(translator.folder, **told)
    except ImportError as error:
        found = f"its tokenizer needs a package that is not installed: {str(error).strip().partition('. ')[0]}"
        raise ModelError(translator.where, found, "pip install sentencepiece") from None
    except (OSError, ValueError) as error:
        found = f"{translator.folder} cannot be loaded: {str(error).strip().splitlines()[0][:200]}"
        raise ModelError(translator.where, found, "name a translation model of transformers") from None
    return tokenizer, model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _longest(tokenizer: Any, model: Any) -> int:
    """Tokens after which a text is cut: what the tokenizer says, or the positions that the model has."""
    positions = getattr(model.config, "max_position_embeddings", None) or 512
    return int(min(tokenizer.model_max_length, positions))
