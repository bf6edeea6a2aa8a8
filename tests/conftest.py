"""What every test may ask for. torch is imported by fixtures only, so that tests of rows and recipes stay quick."""

from __future__ import annotations

import os

# Read by the libraries when they are imported, so set before any of them is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for matrices this small, a second thread only costs

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import tiny

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


#: How busy the machine is decides over no test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def _a_cache_of_the_tests_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from the user's cache, and nothing is left there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBERTUNE_CACHE", str(tmp_path_factory.mktemp("cache") / "embertune"))
        patch.delenv("EMBERTUNE_CACHE_SIZE", raising=False)
        yield


@pytest.fixture(scope="session")
def tiny_encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare transformers checkpoint: random two-layer BERT, 32 dimensions, 64 positions. Read only."""
    return tiny.make_encoder(tmp_path_factory.mktemp("encoder") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_mpnet_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare transformers checkpoint: random two-layer MPNet, 32 dimensions. Read only."""
    return tiny.make_mpnet(tmp_path_factory.mktemp("mpnet") / "tiny-mpnet")


@pytest.fixture(scope="session")
def tiny_model_path(tiny_encoder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain Sentence Transformer: the backbone of `tiny_encoder_path` and mean pooling. Read only."""
    return tiny.make_model(tiny_encoder_path, tmp_path_factory.mktemp("model") / "tiny-model")


@pytest.fixture
def tiny_model(tiny_model_path: Path) -> Callable[[], SentenceTransformer]:
    """Loads a fresh copy of `tiny_model_path` at every call; equal weights every time."""
    from sentence_transformers import SentenceTransformer

    return lambda: SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
