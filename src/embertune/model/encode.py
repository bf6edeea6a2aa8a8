"""Texts to embeddings and texts to token counts, without leaving a trace on the model or on the random state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device, truncate_embeddings
from torch import nn

from embertune.engine.precision import Precision, applied, kept_casts
from embertune.engine.tokens import TokenStore
from embertune.model.prompts import prompt_of

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

#: Texts and their role to float32 (n, d); rows in the order of the texts.
Encode = Callable[[Sequence[str], str], Floats]

#: Tokens of a batch that is encoded, padding counted, by kind of device. On a CPU what fits its cache is fastest: 1,500
#: texts of 18 tokens took 5.8 s of processor time with 2,048, 6.4 with 1,024 and 4,096, 7.7 with 8,192 (MiniLM packed).
TOKENS = {"cpu": 2**11, "cuda": 2**16}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, every part of `model` is in evaluation mode; afterwards each is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def make_encode(
    model: SentenceTransformer,
    role_prompts: Mapping[str, str],
    batch_size: int = 64,
    precision: Precision = "float32",
    tokens: TokenStore | None = None,
) -> Encode:
    """A function that encodes with the weights `model` has at the time of the call, each distinct text once.

    Works on the device the model is on; vectors are float32 in every `precision`. No text gives an array of shape
    (0, d). With `tokens`, the store of this very model, no text is tokenised again, and a batch holds about as many
    tokens as the next; without it a batch has `batch_size` texts.
    """

    def encode(texts: Sequence[str], role: str) -> Floats:
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return np.zeros((0, _dimensions(model)), dtype=np.float32)
        prompt = prompt_of(role_prompts, role)
        with evaluating(model), applied(model, precision), kept_casts(precision, model.device):
            if tokens is not None and model.device.type in TOKENS:
                found = _by_tokens(model, tokens, distinct, prompt)
            else:
                # An empty prompt is given as such: None would let the host apply the model's default.
                vectors = model.encode(distinct, prompt=prompt, batch_size=batch_size, show_progress_bar=False)
                found = np.asarray(vectors, dtype=np.float32)
        if len(distinct) == len(texts):
            return found
        place = {text: index for index, text in enumerate(distinct)}
        return found[[place[text] for text in texts]]

    return encode


@torch.inference_mode()
def _by_tokens(model: SentenceTransformer, tokens: TokenStore, texts: Sequence[str], prompt: str) -> Floats:
    """What `model.encode` gives: float32 (n, d)."""
    stored = tokens.find(texts, prompt)
    vectors = np.empty((len(texts), _dimensions(model)), dtype=np.float32)
    for places in batches(stored.lengths, TOKENS[model.device.type]):
        features = batch_to_device(tokens.padded(stored[places], prompt), model.device)
        found = model(features)["sentence_embedding"]
        if model.truncate_dim is not None:
            found = truncate_embeddings(found, model.truncate_dim)
        vectors[places] = found.float().cpu().numpy()
    return vectors


def batches(lengths: Counts, most: int) -> Iterator[Counts]:
    """The places of texts in batches of at most `most` tokens when padded, and at least one text; longest first."""
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        size = max(1, most // max(1, int(lengths[order[first]])))
        yield order[first : first + size]
        first += size


def _dimensions(model: SentenceTransformer) -> int:
    return int(model.truncate_dim or model.get_embedding_dimension() or 0)


def count_tokens(
    model: SentenceTransformer, texts: Sequence[str], prompt: str = "", tokens: TokenStore | None = None
) -> Counts:
    """How many tokens each text has, with its prompt and the special tokens and before anything is cut off; (n,)."""
    if not texts:
        return np.zeros(0, dtype=np.int64)
    if tokens is not None:
        return tokens.counts(texts, prompt)
    whole = [prompt + text for text in texts]
    tokenizer = model.tokenizer
    if hasattr(tokenizer, "encode_batch"):  # a bare `tokenizers.Tokenizer`, as static embeddings have
        lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(whole, add_special_tokens=False)]
    else:
        # verbose=False: no warning about texts longer than the model; here that is what we want to know.
        encoded = tokenizer(whole, add_special_tokens=True, truncation=False, padding=False, verbose=False)
        lengths = [len(ids) for ids in encoded["input_ids"]]
    return np.asarray(lengths, dtype=np.int64)
