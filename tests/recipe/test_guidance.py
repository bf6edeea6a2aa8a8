"""The rules: which fires for which facts, that nothing said by the user is overridden, and what is refused or noted."""

from __future__ import annotations

import math
from dataclasses import replace as vary
from typing import Any, get_args

import pytest

from embertune.errors import RecipeError
from embertune.recipe import Recipe, load_recipe
from embertune.recipe.budget import Cost
from embertune.recipe.distance import Distance
from embertune.recipe.guidance import Resolved, decide
from embertune.recipe.guidance import decided as by_rule
from embertune.recipe.load import get
from embertune.recipe.losses import LOSSES, losses_for
from embertune.recipe.measured import MEASURED
from embertune.recipe.rules import RANGES, RULES, Facts
from embertune.recipe.sections import LossOptions, Shape

TEXTS = {
    "pairs": ("anchor", "positive"),
    "retrieval": ("anchor", "positive"),
    "triplets": ("anchor", "positive", "negative"),
    "scored": ("sentence1", "sentence2"),
    "labelled": ("sentence1", "sentence2"),
    "nli": ("premise", "hypothesis"),
    "classes": ("text",),
}


def facts(shape: str = "pairs", rows: int = 500, *, dev: bool = True, test: bool = True, **more: Any) -> Facts:
    made = Facts(shape, shape, rows, TEXTS[shape], texts_per_row=max(2, len(TEXTS[shape])))
    if shape == "classes":
        made = vary(made, classes=20)
    if dev:
        made = vary(made, looking=Cost(2, 2, 50), dev_metric="cosine_x", dev_metrics=("cosine_x", "dot_x"))
    if test:
        made = vary(made, test_metric="a-test_cosine_x", test_metrics=("a-test_cosine_x", "b-test_cosine_x"))
    return vary(made, **more)


def decided(made: Facts, **leaves: Any) -> Resolved:
    return decide(load_recipe(set={path.replace("__", "."): value for path, value in leaves.items()}), made)


def problems(made: Facts, **leaves: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        decided(made, **leaves)
    return [str(problem) for problem in caught.value.problems]


#: Six looks and two take 18,000 tokens, less than is free; six and four take more.
DEAR = vary(facts(), looking=Cost(2, 7.5, 300))
NEAR, FAR = Distance(1.1, 0.0, 0.9), Distance(3.0, 0.02)
RANKING = "multiple_negatives_ranking"
#: For each rule, in the order of the table: facts and leaves for which it decides, its value, a part of its reason.
FIRED: list[tuple[Facts, dict[str, Any], str, Any, str]] = [
    (facts("pairs"), {}, "train.loss", RANKING, "pairs: every other text"),
    (facts("classes", classes=16), {}, "train.loss", RANKING, "16 classes: pairs of one class"),
    (facts("classes", classes=15), {}, "train.loss", "batch_all_triplet", "15 classes are too few"),
    (facts("scored"), {}, "train.loss", "cosent", "what Spearman measures"),
    (facts("labelled"), {}, "train.loss", "online_contrastive", "hard ones of each batch"),
    (facts(), {}, "train.known_positives", "apart", "stands twice in a batch"),
    (facts("classes", rows=5000, classes=20), {}, "train.batch_size", 20, "at most one pair of each of the 20"),
    (facts(rows=256), {}, "train.batch_size", 64, "every row of a batch is a negative"),
    (facts(rows=255), {}, "train.batch_size", 63, "a quarter of them"),
    (facts("scored", rows=2_000), {}, "train.batch_size", 64, "64 fits everywhere"),
    (facts("scored", rows=1_999), {}, "train.batch_size", 16, "1999 rows: small batches"),
    (facts(), {"train.max_steps": 7}, "train.epochs", None, "train.max_steps decides"),
    (facts(rows=20_000), {}, "train.epochs", 1, "20000 rows: one pass"),
    (facts(rows=2_000), {}, "train.epochs", 3, "2000 rows: a few passes"),
    (facts(rows=1_999), {}, "train.epochs", 5, "1999 rows: several passes"),
    (facts(rows=1_999), {}, "train.learning_rate", 5e-5, "1999 rows make few steps"),
    (facts(rows=2_000), {}, "train.learning_rate", 2e-5, "the published rate"),
    (facts("classes", rows=300, distance=NEAR, blocks=6), {}, "train.freeze", None, "classes: with half of the layers"),
    (facts(rows=999, distance=NEAR, blocks=6), {}, "train.freeze", 3, "999 rows of texts that the model knows (1.10 "),
    (facts(rows=1_000, distance=NEAR, blocks=6), {}, "train.freeze", None, "1.10 pieces a word"),
    (facts(distance=FAR, blocks=6), {}, "train.layer_decay", 0.891, "3.00 pieces a word, 2.0% of them unknown: far"),
    (facts(distance=NEAR, blocks=6), {}, "train.layer_decay", None, "one rate for all layers"),
    (facts("scored", rows=40_000), {"train.epochs": 2}, "train.save_every", "125 steps", "10 times in a run"),
    (facts(), {}, "train.keep_general", (0.25, 0.5, 0.75), "tried on dev after training"),
    (DEAR, {}, "train.keep_general", (0.5,), "room for looks at two more states after training"),
    (facts(), {"model.layers": 3}, "train.keep_general", None, "no look at dev to spare, or nothing to mix with"),
    (facts(rows=640), {"train.epochs": 1}, "guard.eval_every", "2 steps", "100 tokens a look at all 50 items"),
    (facts(), {}, "guard.min_change", "1 standard error", "a gain that chance may make"),
    (facts(), {"guard.patience": None}, "guard.min_change", None, "no patience"),
    (facts("scored"), {}, "guard.metric", "cosine_x", "the headline of scored"),
    (facts(), {}, "evaluate.retention", "bundled", "whether training cost the model what it could do before"),
    (facts(), {}, "evaluate.primary", "a-test_cosine_x", "the headline of the first test set"),
]


@pytest.mark.parametrize("place", range(len(RULES)))
def test_each_rule_fires_for_its_facts_and_gives_value_and_reason(place: int) -> None:
    assert len(FIRED) == len(RULES)
    made, leaves, setting, value, reason = FIRED[place]
    rule = RULES[place]
    assert rule.setting == setting
    if setting in MEASURED:
        found, why = by_rule(setting, load_recipe(set=leaves), made)
    else:
        resolved = decided(made, **leaves)
        found, why = get(resolved.recipe, setting), resolved.reasons[setting]
    assert found == value
    assert reason in why
    assert rule.source in why


def test_every_rule_that_is_not_plain_arithmetic_names_its_source() -> None:
    without = [rule.setting for rule in RULES if not rule.source]
    assert without == [
        "train.epochs", "train.save_every", "train.keep_general", "guard.min_change", "guard.metric", "evaluate.primary"
    ]  # fmt: skip


def test_of_two_rules_that_hold_the_first_decides() -> None:
    both = [rule for rule in RULES if rule.setting == "train.epochs" and rule.when.holds(facts(rows=50_000), Recipe())]
    assert len(both) > 1
    assert decided(facts(rows=50_000)).recipe.train.epochs == both[0].value.of(facts(), Recipe()) == 1


def test_what_the_user_said_is_never_decided_otherwise() -> None:
    said = {
        "train.loss": "triplet", "train.batch_size": 24, "train.epochs": 2.5, "train.learning_rate": 4e-5,
        "guard.eval_every": "7 steps", "guard.metric": "dot_x", "evaluate.primary": "b-test_cosine_x",
        "guard.patience": "2 epochs", "guard.min_change": 0.002, "train.save_every": "7 steps",
        "evaluate.retention": None, "train.keep_general": 0.3,
    }  # fmt: skip
    resolved = decided(facts("triplets", 30_000), **said)
    assert {path: get(resolved.recipe, path) for path in said} == said
    assert resolved.reasons == {}


@pytest.mark.parametrize("dev", [True, False])
@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("shape", get_args(Shape))
def test_nothing_stays_auto_and_deciding_again_changes_nothing(shape: str, dev: bool, test: bool) -> None:
    made = facts(shape, dev=dev, test=test)
    leaves: dict[str, Any] = {"train.loss": "softmax"} if shape == "nli" else {}
    leaves |= ({} if dev else {"data.dev": "none"}) | ({} if test else {"data.test": "none"})
    first = decided(made, **leaves)
    for name in ("train", "guard", "evaluate"):
        auto = {f"{name}.{leaf}" for leaf, value in getattr(first.recipe, name).model_dump().items() if value == "auto"}
        assert auto <= set(MEASURED)
    assert (first.recipe.guard.eval_every is None) == (not dev)
    assert (first.recipe.guard.patience is None) == (not dev)
    assert (first.recipe.evaluate.primary is None) == (not test)
    again = decide(first.recipe, made)
    assert again.recipe == first.recipe
    assert again.reasons == {}
    assert again.notes == first.notes == ()


@pytest.mark.parametrize(("rows", "items"), [(20, 1), (20, 10_000), (2_000, 500), (10**6, 10), (10**6, 10**7)])
def test_evaluations_are_at_least_two_and_at_most_twenty(rows: int, items: int) -> None:
    resolved = decided(facts(rows=rows, looking=Cost(2, 2, items)), train__epochs=1)
    size = resolved.recipe.train.batch_size
    assert isinstance(size, int)
    every = int(str(resolved.recipe.guard.eval_every).split()[0])
    steps = math.ceil(rows / size)
    assert min(2, steps) <= math.ceil(steps / every) <= 20


INSIDE_AND_OUTSIDE = {
    "train.learning_rate": (1e-4, 1.1e-4),
    "train.warmup": (0.3, 0.31),
    "train.weight_decay": (0.1, 0.11),
    "train.gradient_clip": (0.1, 0.09),
    "train.epochs": (40, 41),
    "train.batch_size": (8, 7),
}


@pytest.mark.parametrize("limits", RANGES, ids=lambda limits: limits.setting)
def test_a_value_outside_its_published_range_gets_one_note_with_the_source(limits: Any) -> None:
    inside, outside = INSIDE_AND_OUTSIDE[limits.setting]
    leaf = limits.setting.replace(".", "__")
    assert decided(facts(), **{leaf: inside}).notes == ()
    (note,) = decided(facts(), **{leaf: outside}).notes
    assert note.startswith(
        f"{limits.setting}: {get(load_recipe(set={limits.setting: outside}), limits.setting)} is unusual; "
    )
    assert limits.source in note


@pytest.mark.parametrize("name", [name for name, row in LOSSES.items() if row.options])
def test_an_option_of_a_loss_outside_its_published_range_gets_one_note(name: Any) -> None:
    shape = LOSSES[name].shapes[0]
    for option, row in LOSSES[name].options.items():
        if row.usual is None:
            continue
        leaf = f"train.loss_options.{option}".replace(".", "__")
        for value, notes in ((row.usual[0], 0), (row.usual[1], 0), (row.usual[1] * 1.01, 1)):
            found = decided(facts(shape), train__loss=name, **{leaf: value}).notes
            assert len(found) == notes
            assert all(note.startswith(f"train.loss_options.{option}: ") and row.usual for note in found)


@pytest.mark.parametrize("shape", get_args(Shape))
@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_that_does_not_fit_the_rows_is_refused_with_those_that_do(name: Any, shape: str) -> None:
    made = facts(shape)
    if shape in LOSSES[name].shapes:
        assert decided(made, train__loss=name).recipe.train.loss == name
        return
    takes = ", ".join(LOSSES[name].shapes)
    assert problems(made, train__loss=name) == [
        f"train.loss: {name} takes {takes}, and the data is {shape}; write one of {', '.join(losses_for(shape))}"
    ]


def test_a_batch_of_more_pairs_than_classes_is_refused() -> None:
    assert problems(facts("classes", classes=20), train__batch_size=21) == [
        "train.batch_size: found 21, and a batch holds one pair of each of 20 classes; "
        "write 20 or less, or a batch triplet loss"
    ]


def test_a_batch_too_small_for_two_rows_of_two_classes_is_refused() -> None:
    assert problems(facts("classes", classes=3), train__batch_size=3) == [
        "train.batch_size: found 3, and batch_all_triplet needs two rows of two classes in a batch; write 4 or more"
    ]


def test_the_triplet_loss_refuses_rows_with_several_negatives() -> None:
    made = facts("triplets", texts_per_row=5)
    assert decided(made).recipe.train.loss == RANKING
    assert problems(made, train__loss="triplet") == [
        "train.loss: triplet takes 3 texts a row, and the data has 5; "
        "leave columns out in data.columns, or write multiple_negatives_ranking"
    ]


def test_a_metric_that_is_not_measured_is_refused_with_the_nearest_that_is() -> None:
    assert problems(facts(), guard__metric="cosin_x", evaluate__primary="a-tset_cosine_x") == [
        "guard.metric: found 'cosin_x', which is not measured; did you mean 'cosine_x'?",
        "evaluate.primary: found 'a-tset_cosine_x', which is not measured; "
        "did you mean 'a-test_cosine_x' or 'b-test_cosine_x'?",
    ]
    assert problems(facts(), guard__metric="zzz") == [
        "guard.metric: found 'zzz', which is not measured; known: cosine_x, dot_x"
    ]


def test_a_prompt_for_a_role_that_the_rows_do_not_have_is_refused() -> None:
    assert problems(facts("scored"), model__prompts={"anchor": "query: ", "sentence1": "a: "}) == [
        "model.prompts.anchor: scored rows have no such role; roles here: sentence1, sentence2"
    ]


def test_what_is_done_about_overfitting_is_refused_where_there_is_no_dev_to_tell_it() -> None:
    assert problems(facts(dev=False), guard__on_overfit="warn") == [
        "guard.on_overfit: found warn, and there are no dev rows; leave it out, or give data.dev"
    ]


def test_settings_of_nli_rows_are_refused_for_others() -> None:
    message = "data.nli: has no effect on {} rows that are not made from NLI rows; leave it out"
    assert problems(facts("pairs"), data__nli={"neutral": True}) == [message.format("pairs")]
    assert problems(facts("nli"), data__nli={}, train__loss="softmax") == [message.format("nli")]
    assert decided(facts("triplets", origin="nli"), data__nli={"neutral": True}).recipe.data.nli is not None


def test_every_option_of_the_recipe_belongs_to_a_loss() -> None:
    assert {option for row in LOSSES.values() for option in row.options} == set(LossOptions.model_fields)


def test_every_shape_has_a_loss() -> None:
    assert all(losses_for(shape) for shape in get_args(Shape))
    assert losses_for("nli") == ("multiple_negatives_ranking", "triplet", "softmax")
