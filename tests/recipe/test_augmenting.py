"""`data.augment` in a recipe: what is refused before any row is read."""

from __future__ import annotations

from typing import Any

import pytest

from embertune.errors import RecipeError
from embertune.recipe import load_recipe


@pytest.mark.parametrize("rate", [0, 1.5, -0.1, "often"])
@pytest.mark.parametrize("method", ["delete", "swap", "synonyms"])
def test_a_rate_is_above_0_and_at_most_1(method: str, rate: Any) -> None:
    with pytest.raises(RecipeError, match=rf"data\.augment\.{method}: found .*; write null, or a rate above 0 and at"):
        load_recipe(set={f"data.augment.{method}": rate})


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({}, "data.augment: names no way to change a text; write one of delete, swap, synonyms, translate, or null"),
        ({"copies": 2}, "data.augment: names no way to change a text"),
        (
            {"synonyms": 0.1},
            "data.augment.thesaurus: found null with synonyms; name a file of synonyms, or write wordn",
        ),
        ({"swap": 0.1, "thesaurus": "x.csv"}, "data.augment.thesaurus: has no effect without synonyms; leave it out"),
        ({"translate": {"there": "a/b"}}, "data.augment.translate.back: names no model; write a local folder or a Hub"),
        ({"swap": 0.1, "keep": [0.9, 0.8]}, "which needs two numbers from -1 to 1, the lower one first; write null or"),
        ({"swap": 0.1, "copies": 0}, "data.augment.copies: found 0; write a whole number of at least 1"),
        ({"swap": 0.1, "columns": []}, "data.augment.columns: found []; write auto or a list of roles"),
        ({"swp": 0.1}, "data.augment.swp: unknown key; did you mean 'swap'?"),
    ],
)
def test_a_section_that_cannot_work_is_refused(augment: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(set={"data.augment": augment})
    assert message in str(caught.value)
