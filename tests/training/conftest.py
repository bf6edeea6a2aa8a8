"""What the tests of training share."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from sentence_transformers import SentenceTransformer

from tests import tiny
from tests.engine import families


@pytest.fixture(scope="session", autouse=True)
def nothing_old_is_collected() -> None:
    """The host collects garbage after every run; among all that is imported that takes longer than a tiny run."""
    import sentence_transformers  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], SentenceTransformer]:
    """Loads a BERT of four layers."""
    folder = tmp_path_factory.mktemp("deep")
    encoder = families.write(families.family("BERT"), folder / "bert", num_hidden_layers=4, hidden_dropout_prob=0.1)
    model = tiny.make_model(encoder, folder / "model")
    return lambda: SentenceTransformer(str(model), device="cpu", local_files_only=True)
