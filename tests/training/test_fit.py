"""A run in training: its course, its history, what each option changes, the best state, and numbers that go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace as vary
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer

from embertune.data.prepare import Given
from embertune.errors import RecipeError, TrainingError
from embertune.plan import plan
from embertune.recipe import load_recipe
from embertune.recipe.losses import LOSSES
from embertune.training import looking
from embertune.training.course import plan_course
from embertune.training.fit import fit
from embertune.training.session import Surroundings, host_arguments
from embertune.watch import Progress, Silent
from tests import tiny
from tests.training.made import ROWS, Rows, distance, planned, trained, weights

Loader = Callable[[], SentenceTransformer]


def steps(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in history if "loss" in line]


def looks(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in history if "dev" in line]


# The course


@pytest.mark.parametrize(
    ("leaves", "batches", "total", "passes"),
    [
        ({"train.epochs": 2}, 10, 10, (5, 5)),
        ({"train.epochs": 0.5}, 2, 2, (5,)),
        ({"train.epochs": 1.5}, 7, 7, (5, 5)),
        ({"train.epochs": 0.001}, 1, 1, (5,)),
        ({"train.epochs": 1, "train.accumulate": 2}, 5, 3, (5,)),
        ({"train.max_steps": 7}, 7, 7, (5, 5)),
        ({"train.max_steps": 3, "train.accumulate": 4}, 12, 3, (5, 5, 5)),
    ],
)
def test_a_course_counts_batches_steps_and_passes(
    tiny_model: Loader, leaves: dict[str, Any], batches: int, total: int, passes: tuple[int, ...]
) -> None:
    course = planned(tiny_model(), tiny.toy_pairs(40), train__batch_size=8, **leaves).course
    assert (course.batches, course.steps, course.batches_of_epochs) == (batches, total, passes)
    assert [(phase.first, phase.last) for phase in course.phases] == [(0, total)]
    assert course.epoch(0) == 0.0
    assert course.epoch(total) == pytest.approx(batches / 5)


def test_the_history_tells_step_epoch_loss_and_the_rate_that_the_step_had(tiny_model: Loader) -> None:
    made = planned(
        tiny_model(), tiny.toy_pairs(40), train__epochs=2, train__batch_size=8, train__learning_rate=1e-4,
        train__warmup=0.2,
    )  # fmt: skip
    _, history = trained(made)
    assert [line["step"] for line in history] == list(range(1, 11))
    assert [line["epoch"] for line in history] == pytest.approx([i / 5 for i in range(1, 11)])
    rates = [0.0, 0.5, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    assert [line["rates"]["block 0"] for line in history] == pytest.approx([1e-4 * r for r in rates])
    assert all(line["loss"] > 0 and line["gradient_norm"] > 0 for line in history)


def test_rows_that_cannot_stand_in_a_batch_are_an_error_before_training(tiny_model: Loader) -> None:
    rows = [{"anchor": "how can i mend the car", "positive": text} for text in ("a", "b", "c")]
    with pytest.raises(TrainingError, match="no batch of two rows can be made; give more rows"):
        planned(tiny_model(), rows)


def test_rows_that_stay_out_of_a_pass_reach_the_notes_of_the_run(tiny_model: Loader) -> None:
    rows = tiny.toy_pairs(12) + [
        {"anchor": "how can i mend the car", "positive": f"the {word}"} for word in tiny.COMMON[:30]
    ]
    said: list[str] = []

    class Listens(Silent):
        def note(self, text: str) -> None:
            said.append(text)

    recipe = load_recipe(set={"data.dev": "none", "data.test": "none", "train.batch_size": 4})
    made = plan(recipe, Given(rows), tiny_model(), Listens())
    (note,) = [note for note in made.data.notes if note.stage == "batches"]
    assert note.text.startswith(f"{note.count} of 42 training rows stay out of the first pass: ")
    assert note.count >= 20
    assert note.examples
    assert note.text in said


# What each option changes


def outcome(
    tiny_model: Loader, rows: Rows | None = None, **leaves: Any
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    settings = {"train__max_steps": 5, "train__batch_size": 8, "train__learning_rate": 1e-3} | leaves
    made = planned(tiny_model(), rows or tiny.toy_pairs(40), **settings)
    _, history = trained(made)
    return weights(made.built.model), history


def test_the_same_plan_twice_gives_the_same_weights_bit_for_bit(tiny_model: Loader) -> None:
    (one, first), (other, second) = outcome(tiny_model), outcome(tiny_model)
    assert distance(one, other) == 0.0
    assert first == second


@pytest.mark.parametrize(
    "leaves",
    [
        {"train__batch_size": 4},
        {"train__learning_rate": 5e-4},
        {"train__weight_decay": 0.5},
        {"train__schedule": "constant"},
        {"train__schedule": "cosine"},
        {"train__warmup": 0.9},
        {"train__gradient_clip": 1e-9},
        {"train__accumulate": 2},
        {"train__max_steps": 6},
        {"train__loss": "multiple_negatives_ranking", "train__loss_options": {"scale": 5.0}},
        {"train__precision": "bfloat16"},
        {"seed": 1},
        {"data__limit": 20},
        {"model__prompts": {"anchor": "query: "}},
    ],
    ids=str,
)
def test_each_option_of_training_changes_the_weights(tiny_model: Loader, leaves: dict[str, Any]) -> None:
    if not hasattr(test_each_option_of_training_changes_the_weights, "usual"):
        test_each_option_of_training_changes_the_weights.usual = outcome(tiny_model)[0]
    usual = test_each_option_of_training_changes_the_weights.usual
    assert distance(outcome(tiny_model, **leaves)[0], usual) > 1e-7


def test_a_batch_is_as_large_as_asked_and_accumulation_makes_fewer_steps(tiny_model: Loader) -> None:
    lengths = {
        (size, accumulate): len(outcome(
            tiny_model, train__max_steps=None, train__epochs=1, train__batch_size=size, train__accumulate=accumulate
        )[1])
        for size, accumulate in [(20, 1), (10, 1), (10, 2), (10, 3)]
    }  # fmt: skip
    assert lengths == {(20, 1): 2, (10, 1): 4, (10, 2): 2, (10, 3): 2}


@pytest.mark.parametrize(
    ("shape", "prompts", "glued"),
    [
        ("pairs", {"anchor": "query: ", "positive": "passage: "}, {"anchor": "query: ", "positive": "passage: "}),
        ("triplets", {"positive": "passage: "}, {"positive": "passage: ", "negative": "passage: "}),
        ("scored", {"sentence2": "text: "}, {"sentence2": "text: "}),
        ("classes", {"text": "title: "}, {"text": "title: "}),
    ],
)
def test_a_prompt_in_training_is_as_good_as_one_written_before_every_text(
    tiny_model: Loader, shape: str, prompts: dict[str, str], glued: dict[str, str]
) -> None:
    rows = ROWS[shape](40, **({"classes": 12} if shape == "classes" else {}))
    leaves: dict[str, Any] = {"train__batch_size": 4} if shape != "classes" else {
        "train__loss": "multiple_negatives_ranking", "train__batch_size": 4,
    }  # fmt: skip
    asked, _ = outcome(tiny_model, rows, model__prompts=prompts, **leaves)
    made = planned(tiny_model(), rows, train__max_steps=5, train__learning_rate=1e-3, model__prompts="none", **leaves)
    train = made.data.sides.train
    written = train.rows.map(lambda row: {c: p + row[c] for c, p in glued.items()}, load_from_cache_file=False)
    sides = vary(made.data.sides, train=train.take(written))
    trained(vary(made, data=vary(made.data, sides=sides)))
    assert distance(asked, weights(made.built.model)) < 1e-6


def test_an_argument_for_the_trainer_that_it_refuses_is_an_error_before_anything_is_written(tiny_model: Loader) -> None:
    with pytest.raises(RecipeError, match=r"train\.extra: the trainer refuses it"):
        planned(tiny_model(), tiny.toy_pairs(20), train__extra={"debug": "everything"})


def test_no_part_of_the_hosts_own_saving_logging_and_evaluating_is_on(tiny_model: Loader, tmp_path: Path) -> None:
    made = planned(tiny_model(), tiny.toy_pairs(20))
    arguments = host_arguments(made.resolved.recipe, str(tmp_path))
    assert (arguments.save_strategy, arguments.eval_strategy, arguments.logging_strategy) == ("no", "no", "no")
    assert arguments.report_to == []
    assert arguments.logging_nan_inf_filter is False
    assert arguments.n_gpu <= 1


# Every loss learns


@pytest.mark.parametrize("shape_of_loss", [(name, shape) for name, row in LOSSES.items() for shape in row.shapes[:1]])
def test_every_loss_lowers_itself_on_toy_rows(tiny_model: Loader, shape_of_loss: tuple[str, str]) -> None:
    name, shape = shape_of_loss
    made = planned(
        tiny_model(), ROWS[shape](32), train__loss=name, train__max_steps=24, train__schedule="constant",
        train__batch_size=8 if shape == "classes" else 16, train__learning_rate=2e-3,
    )  # fmt: skip
    losses = [line["loss"] for line in steps(trained(made)[1])]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4]), losses


# The best state on dev


class Dev:
    """A dev set whose value follows a script; it remembers the weights at every look."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.seen = values, list[dict[str, torch.Tensor]]()
        self.model: SentenceTransformer | None = None

    def __call__(self) -> Mapping[str, float]:
        assert self.model is not None
        self.seen.append(weights(self.model))
        return {"cosine_accuracy": self.values[len(self.seen)]}


def steered(tiny_model: Loader, values: list[float], **leaves: Any) -> tuple[Any, Any, Dev, list[dict[str, Any]]]:
    """A run whose dev values are `values`, the first for the model as it comes; and the plan."""
    settings = {
        "guard__eval_every": "2 steps", "guard__metric": "cosine_accuracy", "train__batch_size": 8,
        "train__max_steps": 10, "train__learning_rate": 1e-3, "data__dev": 0.2,
    } | leaves  # fmt: skip
    made = planned(tiny_model(), tiny.toy_triplets(60), **settings)
    dev = Dev(values)
    dev.model = made.built.model
    fitted, history = trained(made, dev, {"cosine_accuracy": values[0]})
    return made, fitted, dev, history


def test_the_model_is_left_in_its_best_state_and_not_in_its_last(tiny_model: Loader) -> None:
    made, fitted, dev, history = steered(tiny_model, [0.1, 0.3, 0.9, 0.2, 0.4, 0.5])
    assert (fitted.best_step, fitted.steps, fitted.stopped) == (4, 10, "")
    assert distance(weights(made.built.model), dev.seen[1]) == 0.0
    assert distance(dev.seen[1], dev.seen[4]) > 0
    assert [(line["step"], line["best"]) for line in looks(history)] == [
        (0, True), (2, True), (4, True), (6, False), (8, False), (10, False),
    ]  # fmt: skip
    assert not any(module.training for module in made.built.model.modules())


def test_where_nothing_beats_the_model_as_it_came_it_comes_back_bit_for_bit(tiny_model: Loader) -> None:
    made, fitted, _, _ = steered(tiny_model, [0.9, 0.3, 0.9, 0.2, 0.4, 0.5], guard__patience=None)
    assert fitted.best_step == 0
    assert fitted.steps == 10
    assert distance(weights(made.built.model), weights(tiny_model())) == 0.0


def test_training_stops_when_patience_runs_out_and_says_why(tiny_model: Loader) -> None:
    _, fitted, dev, history = steered(tiny_model, [0.1, 0.5, 0.4, 0.3, 0.9, 0.9], guard__patience="2 evaluations")
    assert fitted.steps == 6
    assert fitted.stopped == "no improvement on dev for 2 evaluations; best at step 2"
    assert len(dev.seen) == 3
    assert looks(history)[-1]["stop"] == fitted.stopped
    assert steps(history)[-1]["step"] == 6


def test_patience_in_epochs_counts_passes_over_the_rows(tiny_model: Loader) -> None:
    made, fitted, _, _ = steered(tiny_model, [0.1, 0.5] + [0.4] * 19, guard__patience="2 epochs", train__max_steps=40)
    per_epoch = made.course.batches_of_epochs[0]
    assert fitted.steps == 2 * math.ceil((2 + 2 * per_epoch) / 2)


@pytest.mark.parametrize(
    ("every", "at"),
    [
        ("1 step", list(range(11))),
        ("4 steps", [0, 4, 8, 10]),
        ("0.5 epoch", [0, 3, 6, 9, 10]),
        ("99 steps", [0, 10]),
    ],
)
def test_dev_is_looked_at_as_often_as_asked_and_at_the_end(tiny_model: Loader, every: str, at: list[int]) -> None:
    made, _, _, history = steered(tiny_model, [0.1] * 20, guard__eval_every=every, guard__patience=None)
    assert made.course.batches_of_epochs[0] in (6, 7)
    assert [line["step"] for line in looks(history)] == at


def test_a_share_of_an_epoch_is_one_of_a_whole_epoch_also_in_a_shorter_run(tiny_model: Loader) -> None:
    made, _, _, history = steered(
        tiny_model,
        [0.1] * 20,
        guard__eval_every="0.5 epoch",
        train__max_steps=None,
        train__epochs=0.7,
        guard__patience=None,
    )
    assert [line["step"] for line in looks(history)] == [0, 3, made.course.steps]
    assert looks(history)[1]["epoch"] == pytest.approx(0.5, abs=0.1)


def test_a_dev_value_that_is_no_number_is_written_as_null(tiny_model: Loader) -> None:
    _, fitted, _, history = steered(tiny_model, [math.nan, math.nan, 0.2, math.nan, 0.1, 0.1], guard__patience=None)
    assert fitted.best_step == 4
    assert looks(history)[0]["dev"] == {"cosine_accuracy": None}


def test_looking_at_dev_does_not_change_what_is_learned(tiny_model: Loader) -> None:
    ends = []
    for every in ("1 step", "99 steps"):
        values = [i / 100 for i in range(20)]
        made, _, _, _ = steered(tiny_model, values, guard__eval_every=every, guard__patience=None)
        ends.append(weights(made.built.model))
    assert distance(*ends) == 0.0


# Numbers that go wrong


def test_a_model_with_a_weight_that_is_no_number_is_refused_before_training(tiny_model: Loader, tmp_path: Path) -> None:
    made = planned(tiny_model(), tiny.toy_pairs(20))
    with torch.no_grad():
        next(made.built.model.parameters())[:] = math.nan
    around = Surroundings(None, tmp_path / "history.jsonl", Silent(), {})
    with pytest.raises(TrainingError) as caught:
        fit(made.built.model, made.data.sides.train, made.resolved.recipe, around)
    assert str(caught.value) == (
        "the model: 15,744 of 15,744 numbers of 0.model.embeddings.word_embeddings.weight are not finite before "
        "training; start from another model"
    )
    assert not (tmp_path / "history.jsonl").read_text(encoding="utf-8")


def test_progress_tells_step_loss_best_value_speed_and_time_left(tiny_model: Loader, tmp_path: Path) -> None:
    told: list[Progress] = []

    class Watches(Silent):
        def step(self, progress: Progress) -> None:
            told.append(progress)

    made = planned(tiny_model(), tiny.toy_triplets(40), data__dev=0.2, train__max_steps=4, guard__eval_every="2 steps")
    dev = Dev([0.5, 0.7, 0.6])
    dev.model = made.built.model
    base = looking.Dev({"cosine_accuracy": 0.5})
    around = Surroundings(lambda: looking.Dev(dev()), tmp_path / "history.jsonl", Watches(), {}, base)
    fit(made.built.model, made.data.sides.train, made.resolved.recipe, around)
    assert [(p.step, p.steps, p.best, p.latest) for p in told] == [
        (1, 4, 0.5, 0.5), (2, 4, 0.7, 0.7), (3, 4, 0.7, 0.7), (4, 4, 0.7, 0.6),
    ]  # fmt: skip
    assert all(p.loss > 0 and p.texts_per_second > 0 and p.metric == "cosine_accuracy" for p in told)
    assert told[-1].seconds_left == 0.0


def test_the_course_of_a_plan_is_the_one_training_would_make(tiny_model: Loader) -> None:
    made = planned(tiny_model(), tiny.toy_pairs(40))
    assert plan_course(made.data.sides.train, made.resolved.recipe) == made.course
