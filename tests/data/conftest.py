"""Tests of rows write real files, and keep the host's cache out of the user's home."""

from __future__ import annotations

from collections.abc import Iterator

import datasets
import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "EXTRACTED_DATASETS_PATH"):
            patch.setattr(datasets.config, name, str(folder / name.lower()))
        yield
