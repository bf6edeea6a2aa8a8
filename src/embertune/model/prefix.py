"""The prefix of a model: its lowest blocks by the table of layers, and the store of their states in the cache."""

from __future__ import annotations

import hashlib
import json
import weakref
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import WeightedLayerPooling

from embertune import caches
from embertune.engine.flat import FlatForward
from embertune.engine.paths import path_of
from embertune.engine.precision import Precision
from embertune.engine.prefix import Prefix
from embertune.engine.prefixstore import StateStore, Storage
from embertune.engine.tokens import TokenStore
from embertune.model.layers import find_layers
from embertune.model.precision import width_of

#: Part of every key: raise it when what is stored changes its meaning.
VERSION = 1
#: What a configuration says of where it came from.
ORIGIN = ("_name_or_path", "transformers_version", "_commit_hash", "architectures")


def why_not(model: SentenceTransformer, tokens: TokenStore | None) -> str:
    """Why states of the lower blocks of `model` cannot stand in for them; '' where they may."""
    forward, table = vars(model[0]).get("forward"), find_layers(model)
    if not isinstance(forward, FlatForward):
        path = path_of(model)
        return f"the model runs {'in ' if path else 'with '}{path.name if path else 'padding'}, not packed"
    if any(block.repeated > 1 for block in table.blocks):
        return "its blocks share their weights, so that none of them is the lowest"
    reads_all = any(isinstance(module, WeightedLayerPooling) for module in model)
    if reads_all or getattr(model[0].model.config, "output_hidden_states", False):
        return "its pooling reads several layers"
    if tokens is None:
        return "its texts cannot be kept as tokens"
    if tokens.read.side == "left" and forward.first_position == 0:
        return "it pads on the left, so that positions hang on the other texts of a batch"
    return ""


def make_prefix(model: SentenceTransformer, depth: int, store: StateStore, precision: Precision) -> Prefix:
    """The lowest `depth` blocks of a packed model over `store`."""
    blocks = [model.get_submodule(block.path) for block in find_layers(model).blocks]
    forward: FlatForward = vars(model[0])["forward"]
    return Prefix(forward, blocks, depth, store, precision)


def open_states(
    model: SentenceTransformer, depth: int, storage: Storage, precision: Precision, only_for: str = ""
) -> StateStore:
    """The store in the cache for states behind `depth` blocks; the cache keeps it while the store is alive.

    `only_for` stands for the texts where others must not share it. Where the cache cannot be used nothing is kept, and
    `trouble` says why.
    """
    width, budget = width_of(model), caches.limit()
    assert width is not None
    about = f"{storage} states behind {depth} blocks of {type(model[0].model).__name__}, products in {precision}"
    try:
        held = caches.take("prefix", _key(model, depth, (storage, precision, only_for)), about)
    except OSError as error:
        return StateStore(None, width, storage, budget, str(error))
    store = StateStore(held.path, width, storage, budget)
    weakref.finalize(store, held.release)
    return store


def _key(model: SentenceTransformer, depth: int, settings: tuple[str, ...]) -> str:
    """A hash of all that decides over the states: weights, configuration, and how this machine computes."""
    table = find_layers(model)
    rows = [row for row in table.layers if row.kind == "embeddings"] + list(table.blocks[:depth])
    parameters, backbone = dict(model.named_parameters()), model[0].model
    weights = {name: parameters[name] for row in rows for name in row.parameters}
    config = {name: value for name, value in backbone.config.to_dict().items() if name not in ORIGIN}
    machine = (torch.__version__, torch.get_num_threads(), model.device.type, torch.backends.cpu.get_cpu_capability())
    told: Any = [VERSION, depth, settings, type(backbone).__name__, config, machine]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
    for name, tensor in [*sorted(weights.items()), *sorted(backbone.named_buffers())]:
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
