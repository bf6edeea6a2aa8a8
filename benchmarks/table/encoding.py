"""Rows about encoding: `model.encode` as it comes against embertune's, on a packed model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from embertune.engine.pack import pack
from embertune.model.encode import make_encode
from embertune.model.tokens import open_tokens
from table.machine import precisions
from table.models import minilm
from table.row import Options
from table.sides import workplace
from table.timing import Side, Steps, ratios, turns

SHORT, LONG = 20_000, 2_000

Vectors = np.ndarray[Any, np.dtype[np.float32]]


def short(options: Options) -> dict[str, Any]:
    """Sentences."""
    return encoding(options, options.texts.short(options.at_most(SHORT)))


def long(options: Options) -> dict[str, Any]:
    """Paragraphs."""
    return encoding(options, options.texts.long(options.at_most(LONG)))


def encoding(options: Options, texts: list[str]) -> dict[str, Any]:
    """Seconds of a first call, which tokenises, and of a second one; how far the vectors are from the plain ones."""
    found: dict[str, Vectors] = {}
    host, packed = minilm(), pack(minilm())

    def kept(name: str, work: Callable[[], Vectors]) -> Side:
        def one(_watch: Steps) -> None:
            found[name] = work()

        return one

    with workplace():
        tokens = open_tokens(packed)
        warm = {precision: make_encode(packed, {}, precision=precision, tokens=tokens) for precision in precisions()}
        sides = {"host": kept("host", partial(_host, host, texts)), "cold": kept("cold", partial(_cold, packed, texts))}
        for precision, encode in warm.items():
            sides[f"warm, {precision}"] = kept(f"warm, {precision}", partial(encode, texts, "text"))
        warm["float32"](texts, "text")
        took = turns(sides, options.rounds)
    seconds = {name: [round(one.whole, 3) for one in runs] for name, runs in took.items()}
    ours = [name for name in sides if name != "host"]
    return {
        "settings": {"texts": len(texts)},
        "seconds": seconds,
        "median": {name: median(values) for name, values in seconds.items()},
        "against the host": {name: ratios(seconds, "host", name) for name in ours},
        "lowest cosine with the host's": {name: _lowest_cosine(found["host"], found[name]) for name in ours},
    }


def _cold(model: SentenceTransformer, texts: list[str]) -> Vectors:
    with workplace():
        return make_encode(model, {}, tokens=open_tokens(model))(texts, "text")


def _lowest_cosine(left: Vectors, right: Vectors) -> float:
    sizes = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return round(float(((left * right).sum(1) / sizes).min()), 7)


def _host(model: SentenceTransformer, texts: list[str]) -> Vectors:
    return np.asarray(model.encode(texts, show_progress_bar=False))
