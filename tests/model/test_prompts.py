"""Prompts go by role: the model's own, those given, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from embertune.errors import ModelError
from embertune.model.build import build
from embertune.model.prompts import ROLES, prompt_of


@pytest.mark.parametrize("nothing", [None, "none"])
def test_no_prompts_means_none_even_if_the_model_has_some(tiny_model_path: Path, tmp_path: Path, nothing: Any) -> None:
    folder = with_prompts(tiny_model_path, tmp_path, {"query": "query: ", "x": "x: "}, "x")
    built = build(str(folder), prompts=nothing)
    assert built.role_prompts == {}
    assert built.model.default_prompt_name is None
    assert not any(built.model.prompts.values())


def test_the_models_own_query_and_passage_prompts_become_roles(tiny_model_path: Path, tmp_path: Path) -> None:
    folder = with_prompts(tiny_model_path, tmp_path, {"query": "query: ", "passage": "passage: "}, None)
    built = build(str(folder))
    assert built.role_prompts == {"anchor": "query: ", "positive": "passage: ", "negative": "passage: "}


def test_the_models_default_prompt_goes_to_every_role(tiny_model_path: Path, tmp_path: Path) -> None:
    folder = with_prompts(tiny_model_path, tmp_path, {"all": "text: "}, "all")
    built = build(str(folder))
    assert built.role_prompts == dict.fromkeys(ROLES, "text: ")
    assert built.model.default_prompt_name == "all"


def test_a_positives_prompt_is_the_negatives_unless_it_has_one(tiny_model_path: Path) -> None:
    given = build(str(tiny_model_path), prompts={"anchor": "q ", "positive": "p "}).role_prompts
    assert (prompt_of(given, "negative"), prompt_of(given, "negative_2"), prompt_of(given, "text")) == ("p ", "p ", "")
    own = build(str(tiny_model_path), prompts={"positive": "p ", "negative": ""}).role_prompts
    assert prompt_of(own, "negative_2") == ""


@pytest.mark.parametrize("role", ["query", "id", "negative_2"])
def test_a_prompt_that_no_text_would_get_is_refused(tiny_model_path: Path, role: str) -> None:
    with pytest.raises(ModelError, match=rf"model\.prompts.*'{role}'"):
        build(str(tiny_model_path), prompts={role: "x: "})


def with_prompts(model: Path, tmp_path: Path, prompts: dict[str, str], default: str | None) -> Path:
    """Save a copy of the tiny model that comes with prompts of its own."""
    loaded = SentenceTransformer(str(model), device="cpu", prompts=prompts, default_prompt_name=default)
    loaded.save(str(tmp_path / "prompted"), create_model_card=False)
    return tmp_path / "prompted"
