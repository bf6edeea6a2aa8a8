"""How a model reads plain texts: its tokenizer, copied, so that texts can be tokenised once and in large batches."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Transformer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from embertune.engine.segment import Ids, Ints

#: Part of every key: raise it when what is stored changes its meaning.
VERSION = 1
#: A tokenizer says so where there is no limit.
_NO_LIMIT = 10**9
#: The features that can be rebuilt from token ids alone.
_KNOWN = {"input_ids", "token_type_ids", "attention_mask"}


@dataclass(frozen=True, eq=False)
class Reading:
    """A model's tokenizer, copied, with all that turns ids into the features that the model's `preprocess` gives.

    Texts are cut to `limit` tokens, special ones counted (None: never): `head` special tokens at the beginning and
    `tail` at the end always stay. `key` stands for all that decides over ids. `host` is the model's own `preprocess`.
    """

    key: str
    about: str
    tokenizer: Tokenizer
    source: PreTrainedTokenizerFast
    host: Callable[..., dict[str, Any]]
    limit: int | None
    head: int
    tail: int
    cut: str
    side: str
    pad_id: int
    pad_type: int
    features: tuple[str, ...]
    ids: npt.DTypeLike

    def tokenise(self, texts: Sequence[str]) -> tuple[Ids, Ints, Ints]:
        """Tokens of all texts end to end, and how many each text has (n,) after and before it was cut."""
        found = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]
        count = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        if self.limit is not None:
            for place in np.flatnonzero(count > self.limit):
                found[place] = self._cut(found[place], self.limit)
        length = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        return np.fromiter(itertools.chain.from_iterable(found), self.ids, int(length.sum())), length, count

    def _cut(self, ids: list[int], limit: int) -> list[int]:
        if self.cut == "left":
            return ids[: self.head] + ids[len(ids) - limit + self.head :]
        return ids[: limit - self.tail] + ids[len(ids) - self.tail :]

    @property
    def changed(self) -> bool:
        """Whether the model's tokenizer was given other settings since it was copied."""
        return _settings(self.source) != (self.limit, self.cut, self.side)


def reading(model: SentenceTransformer) -> Reading | None:
    """How `model` reads texts; None where ids alone do not make its features, or where it reads them in its own way.

    What is found has yet to be compared with the model's own `preprocess`: `tokens.open_store` does.
    """
    tokenizer = _plain_tokenizer(model)
    if tokenizer is None:
        return None
    state = _state(tokenizer)
    if state is None:
        return None
    limit, cut, side = _settings(tokenizer)
    own = Tokenizer.from_str(json.dumps({**state, "truncation": None, "padding": None}))
    own.encode_special_tokens = tokenizer.split_special_tokens
    head, tail = _ends(own)
    sample = model[0].preprocess(["a word"])
    features = tuple(name for name in sample if name in _KNOWN)
    if (limit is not None and limit <= head + tail) or not {"input_ids", "attention_mask"} <= set(features):
        return None
    vocabulary = own.get_vocab(True)
    return Reading(
        key=_key(state, limit, cut, tokenizer.split_special_tokens),
        about=f"{type(tokenizer).__name__}, {len(vocabulary):,} words, {_long(limit)}",
        tokenizer=own,
        source=tokenizer,
        host=model.preprocess,
        limit=limit,
        head=head,
        tail=tail,
        cut=cut,
        side=side,
        pad_id=int(tokenizer.pad_token_id or 0),
        pad_type=int(tokenizer.pad_token_type_id),
        features=features,
        ids=np.uint16 if max(vocabulary.values(), default=0) < 2**16 else np.int32,
    )


def _plain_tokenizer(model: SentenceTransformer) -> PreTrainedTokenizerFast | None:
    """The tokenizer of a model that hands plain texts to it and nothing else; None for all other models."""
    first = model[0]
    plain = (
        isinstance(first, Transformer)
        and type(first).preprocess is Transformer.preprocess
        and type(model).preprocess is BaseModel.preprocess
        and not {"preprocess", "tokenize"} & {*vars(first), *vars(model)}
        and "text" in first.modality_config
        and "message" not in first.modality_config
        and first.transformer_task == "feature-extraction"
        and not first.can_flatten_inputs
        and not first.query_expansion
        and not (first.processing_kwargs.get("text") or first.processing_kwargs.get("common"))
        and isinstance(first.processor, PreTrainedTokenizerFast)
    )
    return first.processor if plain else None


def _state(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any] | None:
    """Everything the tokenizer is made of; None where a part of it is code."""
    try:
        state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:  # the library raises a bare Exception for parts that it cannot write down
        return None
    return {name: part for name, part in state.items() if name not in ("truncation", "padding")}


def _settings(tokenizer: PreTrainedTokenizerFast) -> tuple[int | None, str, str]:
    """The limit in tokens (None: no limit), the side that is cut, and the side that is padded."""
    limit = tokenizer.model_max_length
    return (None if limit > _NO_LIMIT else int(limit)), tokenizer.truncation_side, tokenizer.padding_side


def _ends(tokenizer: Tokenizer) -> tuple[int, int]:
    """How many special tokens are put before and behind a text."""
    mask = tokenizer.encode("a word").special_tokens_mask
    head = len(list(itertools.takewhile(bool, mask)))
    return head, len(list(itertools.takewhile(bool, reversed(mask[head:]))))


def _key(state: dict[str, Any], *settings: object) -> str:
    told = json.dumps([VERSION, tokenizers.__version__, state, settings], sort_keys=True)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _long(limit: int | None) -> str:
    return "texts of any length" if limit is None else f"texts up to {limit:,} tokens"
