"""The proof on planted defects, small and on rows made here: every kind is found, and nothing else."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

PROOF = Path(__file__).parents[2] / "prove" / "defects.py"


@pytest.fixture(scope="module")
def proof() -> ModuleType:
    spec = importlib.util.spec_from_file_location("defects", PROOF)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_planted_defects_of_every_kind_are_found_and_nothing_else(proof: ModuleType) -> None:
    chance = random.Random(0)
    words = ["".join(chance.choices("abdeilmnorstu", k=chance.randint(2, 8))) for _ in range(400)]
    rows = [
        {
            "premise": " ".join(chance.choices(words, k=chance.randint(12, 40))).capitalize() + ".",
            "hypothesis": " ".join(chance.choices(words, k=chance.randint(4, 12))),
            "label": chance.choice(proof.LABELS),
        }
        for _ in range(600)
    ]
    record = proof.measure(rows, 500, 30)
    assert proof.short_of(record) == []
    assert all(of["planted"] >= 30 for of in record["equal"].values())
    assert all(of["planted"] == 30 for of in record["near"])
