"""What a dry run expects of frozen layers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from embertune.dryrun import estimate, passes
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.run import run
from embertune.watch import Silent
from tests.tiny import toy_pairs, write_jsonl

LONG = {"train.epochs": 40, "train.batch_size": 8, "data.dev": "none", "data.test": "none"}


def test_frozen_layers_cost_less_and_their_states_take_room_in_the_cache(
    tmp_path: Path, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBERTUNE_CACHE", str(tmp_path / "cache"))
    rows = write_jsonl(tmp_path / "faq.jsonl", toy_pairs(60))
    settings = {"model.name": str(tiny_model_path), "data.train": str(rows), **LONG}
    costs, states = [], []
    for more in ({}, {"train.freeze": 1, "train.prefix_cache": None}, {"train.freeze": 1}):
        planned = plan(load_recipe(set={**settings, **more}), None, None, Silent())
        costs.append(passes(planned))
        states.append(estimate(planned).states)
    assert costs == [3.0, 2.0, 1.5]
    assert states[:2] == [0.0, 0.0]
    assert states[2] > 0


def test_the_share_of_looking_at_dev_is_told(tmp_path: Path, tiny_model_path: Path) -> None:
    rows = write_jsonl(tmp_path / "faq.jsonl", toy_pairs(200))
    settings = {"model.name": str(tiny_model_path), "data.train": str(rows), **LONG}
    without = estimate(plan(load_recipe(set=settings), None, None, Silent()))
    found = estimate(plan(load_recipe(set={**settings, "data.dev": 0.2}), None, None, Silent()))
    assert without.looks == ""
    assert "dev" not in dict(without.lines())
    looks, dev = r"\d+ looks in training and 4 to choose", "at all 31 dev items"
    assert re.fullmatch(looks + f" {dev} encode " + r"\d+\.\d% of the tokens that are trained", found.looks)
    assert dict(found.lines())["dev"] == found.looks


def test_what_checkpoints_take_at_most_is_told_and_is_not_far_off(tmp_path: Path, tiny_model_path: Path) -> None:
    rows = write_jsonl(tmp_path / "faq.jsonl", toy_pairs(60))
    settings = {"model.name": str(tiny_model_path), "data.train": str(rows), "train.max_steps": 4, "data.dev": 0.2}
    told = {}
    for name, more in {"two": {}, "none": {"train.save_every": None}, "frozen": {"train.freeze": 1}}.items():
        planned = plan(load_recipe(set={**settings, **more}), None, None, Silent())
        told[name] = estimate(planned)
    assert told["none"].checkpoints == 0.0 < told["frozen"].checkpoints < told["two"].checkpoints
    assert "MiB of checkpoints until it is finished" in dict(told["two"].lines())["disk"]
    assert "checkpoints" not in dict(told["none"].lines())["disk"]
    sizes = []

    class Weighs(Silent):
        def stage(self, name: str, detail: str = "") -> None:
            if name == "measure":
                sizes.append(sum(f.stat().st_size for f in (tmp_path / "out" / "checkpoints").rglob("*")))

    run(load_recipe(set=settings), tmp_path / "out", watch=Weighs())
    assert sizes[0] == pytest.approx(told["two"].checkpoints / 3, rel=0.2)
    assert not (tmp_path / "out" / "checkpoints").exists()
