"""Embeddings kept in the cache, by model and text: what was measured once is not encoded again."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from embertune import caches
from embertune.engine.prefixstore import StateStore, Wanted
from embertune.engine.segment import keys_of
from embertune.engine.tokens import TokenStore
from embertune.model.encode import Encode, Floats
from embertune.model.prefix import ORIGIN
from embertune.model.prompts import prompt_of
from embertune.model.save import fingerprint

VERSION = 1


class Vectors:
    """An encoder that reads from the cache what it or another process has encoded with these very weights.

    Vectors are float32 as `encode` gives them (to rounding: which texts share a pass moves the last bits). For a model
    whose texts cannot be told by a tokenizer alone (`tokens` None), and where the cache cannot be used, nothing is
    kept; `trouble` says why. `read` counts texts that came out of the cache.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        encode: Encode,
        role_prompts: Mapping[str, str],
        tokens: TokenStore | None,
    ) -> None:
        self.encode, self.prompts, self.read = encode, role_prompts, 0
        self._store = None if tokens is None else _opened(model, tokens)

    @property
    def trouble(self) -> str:
        """Why nothing is kept on the disk; '' where something is."""
        return "the model reads more than texts" if self._store is None else self._store.trouble

    def __call__(self, texts: Sequence[str], role: str) -> Floats:
        """Embeddings (n, d) of texts in this role."""
        if self._store is None or not texts:
            return self.encode(texts, role)
        prompt = prompt_of(self.prompts, role)
        distinct = list(dict.fromkeys(texts))
        high, low = keys_of(f"{prompt}\0{text}".encode("utf-8", "surrogatepass") for text in distinct)
        order = np.lexsort((low, high))
        missing = order[self._store.find(high[order], low[order]).row < 0]
        self.read += len(distinct) - len(missing)
        new = self.encode([distinct[place] for place in missing], role)
        self._store.fill(Wanted(high[missing], low[missing], np.ones(len(missing), dtype=np.int64)), lambda at: new[at])
        vectors = np.empty((len(distinct), self._store.width), dtype=np.float32)
        vectors[missing] = new  # there may have been no room for them
        kept = self._store.find(high, low)
        held = np.flatnonzero(kept.row >= 0)
        if len(held):
            vectors[held] = kept[held].ids()[0]
        place = {text: number for number, text in enumerate(distinct)}
        return vectors[[place[text] for text in texts]]


def _opened(model: SentenceTransformer, tokens: TokenStore) -> StateStore:
    width = int(model.truncate_dim or model.get_embedding_dimension() or 0)
    about = f"embeddings of {width} dimensions, {type(model[0]).__name__} of {_parameters(model):,} parameters"
    try:
        held = caches.take("vectors", _key(model, tokens), about)
    except OSError as error:
        return StateStore(None, width, "float32", caches.limit(), str(error))
    store = StateStore(held.path, width, "float32", caches.limit())
    weakref.finalize(store, held.release)
    return store


def _parameters(model: SentenceTransformer) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _key(model: SentenceTransformer, tokens: TokenStore) -> str:
    """A hash of all that decides over embeddings: weights, modules with their settings, the tokenizer."""
    modules = [(type(module).__name__, _settings(module)) for module in model]
    told: Any = [VERSION, fingerprint(model), modules, tokens.read.key, model.truncate_dim, torch.__version__]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _settings(module: Any) -> Any:
    """What a module is set to beside its weights."""
    backbone = getattr(getattr(module, "model", None), "config", None)
    own = module.get_config_dict() if hasattr(module, "get_config_dict") else {}
    config = {} if backbone is None else backbone.to_dict()
    return [own, {name: value for name, value in config.items() if name not in ORIGIN}]
