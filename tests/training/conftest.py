"""What the tests of training share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="session", autouse=True)
def nothing_old_is_collected() -> None:
    """The host collects garbage after every run; among all that is imported that takes longer than a tiny run."""
    import sentence_transformers  # noqa: F401

    gc.collect()
    gc.freeze()
