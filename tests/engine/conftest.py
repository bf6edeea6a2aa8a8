"""Models of the families, made once and copied for every test."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers.utils import logging

from tests.engine import families

Build = Callable[..., SentenceTransformer]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Gives a fresh model of a family, by name; equal weights every time. Modules given replace mean pooling."""
    root = tmp_path_factory.mktemp("families")
    made: dict[str, SentenceTransformer] = {}
    logging.disable_progress_bar()

    def build(name: str, *after: nn.Module) -> SentenceTransformer:
        if name not in made:
            made[name] = families.build(name, root)
        model = copy.deepcopy(made[name])
        return SentenceTransformer(modules=[model[0], *after], device="cpu") if after else model

    yield build
    logging.enable_progress_bar()
