"""The leaves guard.on_overfit and guard.remedies: what may stand there, and what they become."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embertune.errors import RecipeError
from embertune.recipe import load_recipe
from embertune.recipe.explain import to_yaml
from embertune.recipe.remedying import RUNGS, Rung, ladder_of, parse_rung

REGULARISE = {"guard.on_overfit": "regularise"}


@given(st.sampled_from(sorted(RUNGS)), st.data())
def test_a_rung_reads_as_it_is_written(name: str, data: st.DataObject) -> None:
    row = RUNGS[name]
    limit = float(f"{data.draw(st.floats(row.least, row.most)):.4g}")
    limit = float(int(limit)) if name == "batch_size" else min(max(limit, row.least), row.most)
    assert parse_rung(str(Rung(name, limit))) == Rung(name, limit)


def test_without_a_list_all_remedies_are_taken_in_the_order_of_the_table_and_written_with_their_limits() -> None:
    recipe = load_recipe(set=REGULARISE)
    assert recipe.guard.remedies == (
        "rate 0.125", "dropout 0.3", "weight_decay 0.1", "freeze 0.5", "augment 0.1", "batch_size 8",
    )  # fmt: skip
    assert [rung.name for rung in ladder_of(recipe.guard.remedies)] == list(RUNGS)
    assert load_recipe().guard.remedies is None
    assert ladder_of(None) == ()


def test_the_order_is_that_of_the_recipe_and_a_bare_name_has_the_limit_of_the_table(tmp_path: Path) -> None:
    recipe = load_recipe(set=REGULARISE | {"guard.remedies": ["batch_size 16", "rate"]})
    assert recipe.guard.remedies == ("batch_size 16", "rate 0.125")
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe, {}), encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert recipe != load_recipe(set=REGULARISE | {"guard.remedies": ["rate", "batch_size 16"]})


@pytest.mark.parametrize(
    ("leaves", "told"),
    [
        ({"guard.remedies": ["dropuot"]}, "names the remedy 'dropuot'; did you mean 'dropout'?"),
        ({"guard.remedies": ["dropout 2"]}, "gives dropout the limit 2; it is from 0.05 to 0.9"),
        ({"guard.remedies": ["dropout lots"]}, "gives dropout the limit 'lots', which is no number"),
        ({"guard.remedies": ["batch_size 4.5"]}, "rows come in whole numbers"),
        ({"guard.remedies": ["rate", "rate 0.25"]}, "names rate twice"),
        ({"guard.remedies": []}, "guard.remedies: found []"),
        ({"guard.on_overfit": "warn", "guard.remedies": ["rate"]}, "has no effect with on_overfit: warn"),
        ({"data.dev": "none"}, "guard.on_overfit: has no effect without dev rows"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(leaves: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(set=REGULARISE | leaves)
    assert told in str(caught.value)
