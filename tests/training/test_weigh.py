"""The measurement before the first step: exact, without a trace, and told in the first seconds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

import embertune.plan
import embertune.training.room
from embertune.engine.pack import unpack
from embertune.errors import RecipeError, TrainingError
from embertune.plan import Plan, with_own_loss
from embertune.recipe.check import loss_options
from embertune.recipe.losses import LOSSES
from embertune.training.losses import build_loss
from embertune.training.memory import Memory
from embertune.training.room import Room, lengths_of
from embertune.training.weigh import kept_bytes, make_trial, weigh
from tests import tiny
from tests.training.made import ROWS, distance, planned, trained, weights

Loader = Callable[[], SentenceTransformer]
MB = 2**20


def memory_of(made: Plan) -> Memory:
    assert made.memory is not None
    return made.memory


def with_free(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """As if so many bytes were free."""
    monkeypatch.setattr(embertune.training.room, "free_bytes", lambda device: int(free))


# What is counted


def test_what_a_graph_keeps_is_counted_once_and_without_what_was_there() -> None:
    there, given = torch.randn(50, 20, requires_grad=True), torch.randn(10, 50)

    def run() -> torch.Tensor:
        product = given @ there  # keeps `given`, and `there` with its own memory
        return (product.exp() + product.view(20, 10).t().exp().t().reshape(10, 20)).sum()

    assert kept_bytes(run, [there]) == 4 * (10 * 50 + 2 * 10 * 20)


def test_what_is_never_trained_keeps_nothing_and_an_average_is_one_copy_more(tiny_model: Loader) -> None:
    def weighed(**leaves: Any) -> Memory:
        return memory_of(planned(tiny_model(), tiny.toy_pairs(40), train__batch_size=4, train__epochs=2, **leaves))

    whole, averaged = weighed(), weighed(train__average=0.9)
    frozen, thawed = weighed(train__freeze=1), weighed(train__freeze=1, train__unfreeze="0.5 epoch")
    parameters = sum(p.numel() for p in tiny_model().parameters())
    assert averaged.fixed - whole.fixed == 4 * parameters
    assert frozen.fixed < thawed.fixed < whole.fixed
    assert frozen.text.linear < thawed.text.linear < whole.text.linear
    stops, goes_back = (weighed(data__dev=0.2, guard__on_overfit=way) for way in ("stop", "regularise"))
    assert goes_back.fixed - stops.fixed == 3 * 4 * parameters  # weights, and two states of the optimizer


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("chunk", [None, 60])
def test_the_count_is_what_a_whole_step_keeps(tiny_model: Loader, packed: bool, chunk: int | None) -> None:
    """Without padding by the tokens, with padding by the width; texts of one length, so that nothing is rounded up."""
    rows = [{"anchor": f"{a} the car", "positive": f"{a} my old book"} for a in tiny.COMMON[100:124]]
    made = planned(tiny_model(), rows, train__batch_size=24)
    model, train = made.built.model, made.data.sides.train
    if not packed:
        unpack(model)
    memory = weigh(model, train, made.resolved.recipe, {}, lengths_of(model, made.tokens))
    assert memory.padded == (not packed)
    model.train()
    columns = [model.preprocess(list(train.rows[name])) for name in train.text_columns]
    kept = sum(
        kept_bytes(lambda c=column: model(dict(c))["sentence_embedding"], list(model.parameters()))
        for column in columns
    )
    counted = memory.text.of(memory.lengths)
    assert counted == pytest.approx(kept, rel=0.1)
    assert memory.need(chunk) <= memory.need(None)


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name, row in LOSSES.items() for shape in row.shapes])
def test_every_loss_and_shape_is_weighed(tiny_model: Loader, name: str, shape: str) -> None:
    if shape == "retrieval":
        pytest.skip("rows of retrieval are pairs by now")
    rows = ROWS[shape](40, **({"classes": 8} if shape == "classes" else {}))
    memory = memory_of(planned(tiny_model(), rows, train__loss=name, train__batch_size=8))
    columns = {"triplets": 3, "classes": 2 if name == "multiple_negatives_ranking" else 1}.get(shape, 2)
    assert memory.lengths.shape == memory.rows.shape == (8, columns)
    assert memory.text.linear > 0
    assert memory.loss.of(np.array([8])) > 0
    assert memory.chunks


def test_the_loss_of_a_large_batch_grows_with_its_square(tiny_model: Loader) -> None:
    made = planned(tiny_model(), tiny.toy_triplets(240), train__batch_size=4096)
    matrix = 4 * 4096 * 8192  # every anchor by every positive and negative, in float32
    assert matrix <= memory_of(made).loss.of(np.array([4096])) <= 8 * matrix


@pytest.mark.parametrize("name", ["batch_all_triplet", "batch_hard_triplet"])
def test_a_loss_on_large_classes_is_counted_as_it_is(tiny_model: Loader, name: Any) -> None:
    """All triplets: each anchor with each other text of its class and with every text, more than any square."""
    made = planned(tiny_model(), tiny.toy_classes(400, classes=2), train__loss=name, train__batch_size=360)
    loss = build_loss(name, made.built.model, loss_options(made.resolved.recipe.train), 0)
    vectors = torch.randn(360, 32, requires_grad=True)
    kept = kept_bytes(lambda: loss.compute_loss_from_embeddings([vectors], torch.arange(360) // 180), [vectors])
    counted = memory_of(made).loss.of(np.array([360])) * 2 / (1 + LOSSES[name].passing)
    assert counted == pytest.approx(kept, rel=0.05)
    if name == "batch_all_triplet":
        assert kept > 5 * 360 * 179 * 360


def test_the_worst_batch_is_that_of_the_longest_texts(tiny_model: Loader) -> None:
    rows = tiny.toy_pairs(40)
    rows[17]["positive"] = " ".join(tiny.COMMON[:30])
    rows[5]["anchor"] = " ".join(tiny.COMMON[40:60])
    rows[29]["anchor"] = " ".join(tiny.COMMON[:90])  # longer than the model reads
    memory = memory_of(planned(tiny_model(), rows, train__batch_size=4))
    assert memory.rows[:3, 0].tolist() == [29, 17, 5]
    assert memory.lengths[0, 0] == 64
    assert memory.lengths[1, 1] == 32


def test_prompts_count(tiny_model: Loader) -> None:
    plain, prompted = (
        memory_of(planned(tiny_model(), tiny.toy_pairs(20), **leaves))
        for leaves in ({}, {"model__prompts": {"anchor": "query the old book: "}})
    )
    assert prompted.tokens == plain.tokens + 5 * plain.batch


def test_a_model_with_padding_pays_for_the_longest_text_of_every_column(tiny_model: Loader) -> None:
    rows = tiny.toy_pairs(40)
    rows[17]["positive"] = " ".join(tiny.COMMON[:30])
    made = planned(tiny_model(), rows, train__batch_size=4)
    model, train = made.built.model, made.data.sides.train
    unpack(model)
    memory = weigh(model, train, made.resolved.recipe, {}, lengths_of(model, made.tokens))
    assert memory.padded
    assert memory.lengths.max(axis=0).tolist() == [10, 32]


def test_weighing_leaves_no_trace(tiny_model: Loader) -> None:
    made = planned(tiny_model(), tiny.toy_triplets(40))
    model, train, recipe = made.built.model, made.data.sides.train, made.resolved.recipe
    model.train()
    model[1].eval()
    before, state, parts = weights(model), torch.get_rng_state(), dict(vars(model))
    modes = [module.training for module in model.modules()]
    memory = weigh(model, train, recipe, {}, lengths_of(model, made.tokens))
    again = weigh(model, train, recipe, {}, lengths_of(model, made.tokens))
    assert np.array_equal(memory.lengths, again.lengths)
    assert (memory.text, memory.loss, memory.call) == (again.text, again.loss, again.call)
    for chunk in (None, 30):
        assert make_trial(model, train, recipe, {}, memory)(chunk)
    assert distance(weights(model), before) == 0.0
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert vars(model) == parts


def test_a_run_learns_the_same_bit_for_bit_with_and_without_the_check(tiny_model: Loader, monkeypatch: Any) -> None:
    ends = []
    for checked in (True, False):
        if not checked:
            monkeypatch.setattr(embertune.plan, "find_room", lambda _, __, resolved, *___: Room(resolved, None, None))
        made = planned(
            tiny_model(), tiny.toy_triplets(40), train__chunk=None, train__max_steps=4, train__learning_rate=1e-3
        )
        assert (made.memory is not None) == checked
        trained(made)
        ends.append(weights(made.built.model))
    assert distance(*ends) == 0.0


# What it decides


def test_auto_leaves_a_batch_whole_that_fits_and_says_why(tiny_model: Loader) -> None:
    made = planned(tiny_model(), tiny.toy_triplets(40))
    assert made.resolved.recipe.train.chunk is None
    assert made.resolved.reasons["train.chunk"].startswith("the longest batch (10 rows, ")
    measured = made.resolved.measured["train.chunk"]
    assert measured.figures["longest_batch_tokens"] == memory_of(made).tokens
    assert measured.machine


def test_auto_cuts_a_batch_that_does_not_fit_into_the_largest_chunks_that_do(
    tiny_model: Loader, monkeypatch: Any
) -> None:
    whole = memory_of(planned(tiny_model(), tiny.toy_triplets(200), train__batch_size=200))
    with_free(monkeypatch, whole.need(None) * 0.9)
    made = planned(tiny_model(), tiny.toy_triplets(200), train__batch_size=200, train__max_steps=2)
    chunk = made.resolved.recipe.train.chunk
    assert isinstance(chunk, int)
    assert chunk == whole.largest_chunk(0.8 * 0.9 * whole.need(None))
    assert len(trained(made)[1]) == 2
    again = planned(tiny_model(), tiny.toy_triplets(200), train__batch_size=200, train__chunk=chunk)
    assert again.resolved.recipe.train.chunk == chunk
    assert "train.chunk" not in again.resolved.reasons


def test_a_batch_that_is_asked_for_whole_and_does_not_fit_is_refused_with_the_chunk_that_does(
    tiny_model: Loader, monkeypatch: Any
) -> None:
    with_free(monkeypatch, 6 * MB)
    with pytest.raises(TrainingError) as caught:
        planned(tiny_model(), tiny.toy_triplets(200), train__batch_size=200, train__chunk=None)
    assert str(caught.value).startswith("train.chunk: the longest batch (200 rows, ")
    named = int(str(caught.value).rsplit("write train.chunk: ", 1)[1])
    made = planned(tiny_model(), tiny.toy_triplets(200), train__batch_size=200, train__chunk=named, train__max_steps=1)
    assert len(trained(made)[1]) == 1


def test_with_activations_computed_anew_nothing_is_counted(tiny_model: Loader, monkeypatch: Any) -> None:
    with_free(monkeypatch, 1000)
    made = planned(tiny_model(), tiny.toy_pairs(20), train__extra={"activation_checkpointing": True})
    assert made.resolved.recipe.train.chunk is None
    assert "cannot be told" in made.resolved.reasons["train.chunk"]


# A loss of one's own


def test_a_loss_of_ones_own_takes_the_batch_as_it_is(tiny_model: Loader) -> None:
    own = with_own_loss(planned(tiny_model(), tiny.toy_pairs(20)), MultipleNegativesRankingLoss)
    assert own.resolved.recipe.train.chunk is None


def test_a_loss_of_ones_own_next_to_a_chunk_is_one_error(tiny_model: Loader) -> None:
    with pytest.raises(RecipeError) as caught:
        with_own_loss(planned(tiny_model(), tiny.toy_pairs(20), train__chunk=64), MultipleNegativesRankingLoss)
    assert str(caught.value) == (
        "recipe: train.chunk: found 64, and a loss is handed over, which may not bear it; write train.chunk: null"
    )


def test_a_loss_of_ones_own_whose_batch_does_not_fit_is_told_the_batch_that_does(
    tiny_model: Loader, monkeypatch: Any
) -> None:
    with_free(monkeypatch, 2 * MB)
    made = planned(tiny_model(), tiny.toy_triplets(200), train__batch_size=200)
    assert made.resolved.recipe.train.chunk is not None
    with pytest.raises(TrainingError, match=r"write train\.batch_size: \d+$"):
        with_own_loss(made, MultipleNegativesRankingLoss)


# Training in chunks


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("multiple_negatives_ranking", "triplets"), ("softmax", "nli"), ("batch_all_triplet", "classes")],
)
def test_training_in_chunks_ends_where_training_whole_does(
    tiny_model: Loader, name: str, shape: str, accumulate: int
) -> None:
    ends = []
    for chunk in (None, 50):
        model = tiny_model()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout_prob"):
                module.dropout_prob = 0.0
        made = planned(
            model, ROWS[shape](48), train__loss=name, train__batch_size=16, train__accumulate=accumulate,
            train__max_steps=4, train__learning_rate=1e-3, train__chunk=chunk,
        )  # fmt: skip
        history = trained(made)[1]
        ends.append((weights(model), [line["loss"] for line in history], [line["gradient_norm"] for line in history]))
    (whole, losses, norms), (cut_up, losses_cut, norms_cut) = ends
    assert losses_cut == pytest.approx(losses, rel=1e-3)
    assert norms_cut == pytest.approx(norms, rel=1e-3)
    without = [{n: w for n, w in end.items() if not n.endswith("key.bias")} for end in (whole, cut_up)]
    assert distance(*without) < 2e-4  # Adam magnifies the last bits of small gradients


def test_the_same_plan_in_chunks_twice_gives_the_same_weights_bit_for_bit(tiny_model: Loader) -> None:
    ends = []
    for _ in range(2):
        made = planned(tiny_model(), tiny.toy_triplets(40), train__chunk=40, train__max_steps=4)
        trained(made)
        ends.append(weights(made.built.model))
    assert distance(*ends) == 0.0


def test_a_batch_of_4096_rows_runs_in_chunks(tiny_model: Loader) -> None:
    words = tiny.COMMON
    rows = [
        {"anchor": f"{words[i % 64]} {words[64 + i // 64]}", "positive": f"{words[i // 64]} the {words[64 + i % 64]}"}
        for i in range(4096)
    ]
    made = planned(tiny_model(), rows, train__batch_size=4096, train__chunk=2048, train__max_steps=1)
    assert made.course.batches_of_epochs == (1,)
    (line,) = trained(made)[1]
    assert line["loss"] == pytest.approx(np.log(4096), rel=0.5)


# A process that has little memory


LITTLE = """
import resource, sys
from sentence_transformers import SentenceTransformer
from embertune.training.weigh import make_trial
from tests import tiny
from tests.training.made import planned

def allow(megabytes):
    used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, resource.RLIM_INFINITY))

model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
rows = tiny.toy_triplets(240)
long = [{name: f"{text} " + " ".join(tiny.COMMON[:50]) for name, text in row.items()} for row in rows]
made = planned(model, long, train__batch_size=240)
trial = make_trial(model, made.data.sides.train, made.resolved.recipe, {}, made.memory)
for megabytes, chunk in ((14, None), (14, "auto"), (4000, "auto")):
    allow(megabytes)
    try:
        print("chunk", planned(model, rows, train__batch_size=240, train__chunk=chunk).resolved.recipe.train.chunk)
    except Exception as error:
        print(type(error).__name__, error)
allow(30)
print(trial(None), trial(256), model[0].model.embeddings.word_embeddings.weight.grad)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit and the size are Linux's")
def test_a_process_with_little_memory_is_told_what_fits_in_it(tiny_model_path: Path) -> None:
    command = [sys.executable, "-c", LITTLE, str(tiny_model_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    refused, cut_up, whole, tried = done.stdout.splitlines()
    assert re.fullmatch(
        r"TrainingError train\.chunk: the longest batch \(240 rows, .*; write train\.chunk: \d+", refused
    )
    assert re.fullmatch(r"chunk \d+", cut_up)
    assert whole == "chunk None"
    assert tried == "False True None"
