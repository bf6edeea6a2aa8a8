"""What a prefix must show before it is used: that it changes nothing, and that a text's states are its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device
from torch import Tensor

from embertune.engine.precision import Precision, applied
from embertune.engine.prefill import Texts, batch, fill
from embertune.engine.prefix import Prefix, still
from embertune.engine.prefixstore import StateStore, Storage
from embertune.errors import EmbertuneError, ModelError

#: How far a component may be from the one without a prefix, as a share of the largest, by the precision of products:
#: where texts stand in other company, these may be rounded in another way.
NEAR: Mapping[Precision, float] = {"float32": 1e-5, "tf32": 1e-3, "float16": 5e-3, "bfloat16": 2e-2}
#: Texts that stand together in the passes of the second trial, and tokens of the pass they are compared with.
COMPANIES, CROWD = (1, 5), 2048


def fault(model: SentenceTransformer, prefix: Prefix, texts: Texts) -> str:
    """Why `prefix` cannot be used, '' where it can: with it, `model` must give what it gives without, within rounding.

    Tried on a few texts, in two parts, while its store (empty, in memory, float32) has none of them, and once all of
    them are there.
    """
    parts = [texts.features(places) for places in (np.arange(len(texts.wanted))[first::2] for first in (0, 1))]
    try:
        with torch.no_grad(), still(model), applied(model, prefix.precision):
            wanted = torch.cat([_tokens(model, part) for part in parts])
            with prefix.entered():
                computed = torch.cat([_tokens(model, part) for part in parts])
                fill(prefix, texts)
                read = torch.cat([_tokens(model, part) for part in parts])
    except ModelError as error:
        return error.found
    except (EmbertuneError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    far = max(float((made - wanted).abs().max()) for made in (computed, read)) / float(wanted.abs().max() + 1e-30)
    return "" if far <= NEAR[prefix.precision] else f"token vectors differ by {far:.1e} of the largest"


def holds(prefix: Prefix, texts: Texts, storage: Storage) -> bool:
    """Whether numbers of this type are large enough for the states of a few texts."""
    other = prefix.over(StateStore(None, prefix.store.width, storage, 0))
    try:
        other.compute(batch(other, texts, np.argsort(texts.wanted.lengths, kind="stable")))
    except ModelError:
        return False
    return True


def steady(prefix: Prefix, texts: Texts) -> bool:
    """Whether texts have the same states, bit for bit, whatever other texts are in a pass; tried on a few."""
    order = np.argsort(texts.wanted.lengths, kind="stable")
    copies = math.ceil(CROWD / max(1, texts.wanted.tokens))
    lengths = texts.wanted.lengths[order].tolist()
    crowd = prefix.exact(batch(prefix, texts, np.repeat(order, copies)))
    alone = torch.split(crowd, [length for length in lengths for _ in range(copies)])[::copies]
    for company in COMPANIES:
        for first in range(0, len(order), company):
            some = slice(first, first + company)
            if not torch.equal(prefix.exact(batch(prefix, texts, order[some])), torch.cat(alone[some])):
                return False
    return True


def _tokens(model: SentenceTransformer, features: dict[str, Any]) -> Tensor:
    """Of all texts, flattened."""
    made: Tensor = model[0](batch_to_device(dict(features), model.device))["token_embeddings"]
    return made.float().reshape(-1)
