"""Classes of unequal size: even batches, weighted losses that equal the host's at weights of one, and whole runs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from embertune.data.prepared import Prepared
from embertune.errors import RecipeError
from embertune.recipe.losses import LOSSES, LossName
from embertune.training.balanced import evenly
from embertune.training.batches import apart, class_groups, class_pairs, pairs_in_turn
from embertune.training.chunked import ChunkedLoss
from embertune.training.losses import WEIGHTED, build_loss
from tests import tiny
from tests.training.made import distance, planned, prepared, trained, weights

few = settings(max_examples=25, deadline=None)
labels = st.lists(st.integers(0, 5), min_size=1, max_size=60)
SAMPLERS: Any = st.sampled_from(["class_pairs", "class_groups"])


def classes(values: list[int], texts: list[str] | None = None) -> Prepared:
    texts = texts or [f"row {i}" for i in range(len(values))]
    return prepared("classes", {"text": texts, "label": values}, tuple("abcdef"))


def labelled(values: list[int]) -> Prepared:
    texts = [f"row {i}" for i in range(len(values))]
    return prepared("labelled", {"sentence1": texts, "sentence2": texts, "label": values})


def drawn(batch: list[int], values: list[int], step: int) -> Counter[int]:
    return Counter(values[row] for row in batch[::step])


@few
@given(labels, st.integers(2, 9), st.integers(0, 3))
def test_an_even_batch_of_pairs_has_one_pair_of_each_of_its_classes_and_classes_come_round_in_turn(
    values: list[int], size: int, epoch: int
) -> None:
    batches = evenly(classes(values), "class_pairs", size)(0, epoch)
    there = {value for value, count in Counter(values).items() if count > 1}
    if len(there) < 2:
        assert batches == []
        return
    slots = min(size, len(there))
    for batch in batches:
        pairs = list(zip(batch[::2], batch[1::2], strict=True))
        assert len(pairs) == slots
        assert all(values[one] == values[other] and one != other for one, other in pairs)
        assert set(drawn(batch, values, 2).values()) == {1}
    total = sum((drawn(batch, values, 2) for batch in batches), Counter())
    assert max(total.values()) - min(total[value] for value in there) <= 1
    assert len(batches) == -(-sum(values.count(value) for value in there) // slots)


@few
@given(st.lists(st.integers(0, 1), min_size=2, max_size=60), st.integers(2, 20))
def test_an_even_batch_of_labels_has_as_many_of_each_and_a_pass_its_usual_length(values: list[int], size: int) -> None:
    batches = evenly(labelled(values), "shuffled", size)(3, 1)
    if len(set(values)) < 2:
        assert batches == []
        return
    assert len(batches) == -(-len(values) // min(size, len(values)))
    for batch in batches:
        counts = drawn(batch, values, 1)
        assert abs(counts[0] - counts[1]) <= 1


@few
@given(labels, st.integers(4, 24))
def test_an_even_batch_of_groups_has_two_classes_or_more_with_two_rows_or_more(values: list[int], size: int) -> None:
    for batch in evenly(classes(values), "class_groups", size)(0, 0):
        counts = drawn(batch, values, 1)
        assert len(counts) >= 2
        assert min(counts.values()) >= 2
        assert len(batch) <= size


def test_every_row_of_a_large_class_comes_round_within_some_passes_and_of_a_small_one_often() -> None:
    values = [0] * 40 + [1] * 4
    plan = evenly(labelled(values), "shuffled", 8)
    times = Counter(row for epoch in range(6) for batch in plan(0, epoch) for row in batch)
    assert set(times) == set(range(44))
    assert min(times[row] for row in range(40, 44)) > 4 * max(times[row] for row in range(40))


@few
@given(SAMPLERS, labels, st.integers(4, 9), st.integers(0, 99))
def test_the_same_seed_and_pass_give_the_same_even_batches(
    sampler: Any, values: list[int], size: int, seed: int
) -> None:
    train = classes(values)
    assert evenly(train, sampler, size)(seed, 1) == evenly(train, sampler, size)(seed, 1)


def test_another_seed_and_another_pass_give_other_even_batches() -> None:
    plan = evenly(classes([0] * 20 + [1] * 9 + [2] * 5), "class_pairs", 2)
    assert plan(0, 0) != plan(0, 1)
    assert plan(0, 0) != plan(1, 0)


@few
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=2, max_size=60), st.integers(2, 5))
def test_copies_of_a_text_are_never_its_partner(rows: list[tuple[int, int]], size: int) -> None:
    values, texts = [value for value, _ in rows], [f"text {value} {text}" for value, text in rows]
    train = classes(values, texts)
    for sampler in (class_pairs(train, size), evenly(train, "class_pairs", size)):
        for batch in sampler(0, 0):
            assert all(texts[one] != texts[other] for one, other in zip(batch[::2], batch[1::2], strict=True))


def test_evenly_repeated_texts_all_find_partners() -> None:
    codes = np.repeat(np.arange(4), 25)
    for seed in range(20):
        order = apart(np.random.default_rng(seed).permutation(100), codes)
        assert sorted(order.tolist()) == list(range(100))
        assert len(pairs_in_turn(order, codes)) >= 98


def test_groups_of_a_class_do_not_hold_a_text_twice_where_others_are_there() -> None:
    texts = [f"text {i % 10}" for i in range(100)]
    train = classes([i % 2 for i in range(100)], texts)
    for batch in class_groups(train, 8)(0, 0):
        assert max(Counter(texts[row] for row in batch).values()) <= 2
    repeated = [len(batch) - len({texts[row] for row in batch}) for batch in class_groups(train, 8)(0, 0)]
    assert np.mean(repeated) < 1


@pytest.fixture(scope="module")
def model(tiny_model_path: Any) -> SentenceTransformer:
    """Without dropout."""
    found = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
    for module in found.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return found


ROWS = 9
CLASSES: dict[str, int] = {"softmax": 3, "contrastive": 2, "multiple_negatives_ranking": 4}


def options(name: LossName) -> dict[str, Any]:
    return {option: row.default for option, row in LOSSES[name].options.items()}


def stepped(loss: nn.Module, model: SentenceTransformer, labels: Tensor) -> tuple[float, dict[str, Tensor]]:
    """Value and gradients on a few texts."""
    columns = [[make(column * 40 + i) for i in range(ROWS)] for column, make in enumerate((tiny.question, tiny.answer))]
    loss.zero_grad()
    value = loss([model.preprocess(texts) for texts in columns], labels)
    value.backward()
    return float(value.detach()), {
        name.removeprefix("loss."): p.grad.clone() for name, p in loss.named_parameters() if p.grad is not None
    }


def of_name(name: LossName) -> Tensor:
    return torch.arange(ROWS) % CLASSES[name]


def same(mine: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]) -> None:
    """DESIGN section 8: loss within 1e-5, gradients within 1e-4 of their norm and 1e-7 of the norm of all."""
    assert mine[0] == pytest.approx(other[0], rel=1e-5)
    assert set(mine[1]) == set(other[1])
    everything = torch.stack([gradient.norm() for gradient in other[1].values()]).norm()
    for name, gradient in other[1].items():
        assert (mine[1][name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7 * everything, name


def test_the_losses_that_can_be_weighed_are_those_the_table_says() -> None:
    assert set(WEIGHTED) == {name for name, row in LOSSES.items() if row.weighted} == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_weights_of_one_give_the_loss_and_gradients_of_the_host(model: SentenceTransformer, name: Any) -> None:
    ones = torch.ones(CLASSES[name])
    mine, host = (build_loss(name, model, options(name), 0, weights=each) for each in (ones, None))
    same(stepped(mine, model, of_name(name)), stepped(host, model, of_name(name)))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_weight_multiplies_what_its_class_adds_to_the_loss(model: SentenceTransformer, name: Any) -> None:
    """So the loss is linear in the weights, and that of a class with weight 0 does not count."""
    count, labels = CLASSES[name], of_name(name)

    def value(given: Tensor) -> float:
        return stepped(build_loss(name, model, options(name), 0, weights=given), model, labels)[0]

    parts = [value(row) for row in torch.eye(count)]
    given = torch.linspace(0.5, 2.0, count)
    assert value(given) == pytest.approx(float(np.dot(given.numpy(), parts)), rel=1e-4)
    assert all(part > 0 for part in parts)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_weighted_loss_is_the_same_in_chunks(model: SentenceTransformer, name: Any) -> None:
    loss = build_loss(name, model, options(name), 0, weights=torch.linspace(0.5, 2.0, CLASSES[name]))
    same(stepped(ChunkedLoss(loss, model, 30), model, of_name(name)), stepped(loss, model, of_name(name)))


def tailed(rows: list[dict[str, Any]], column: str, of_rare: int) -> list[dict[str, Any]]:
    """The rows, but only the first few of the class that comes first."""
    rare = rows[0][column]
    mine = [row for row in rows if row[column] == rare][:of_rare]
    return [*mine, *(row for row in rows if row[column] != rare)]


UNEVEN: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "classes": (tailed(tiny.toy_classes(60), "label", 3), {"train__loss": "multiple_negatives_ranking"}),
    "labelled": (tailed(tiny.toy_labelled(60), "label", 6), {"train__loss": "contrastive"}),
    "nli": (tailed(tiny.toy_nli(60), "label", 4), {"train__loss": "softmax"}),
}


def ended(path: Any, kind: str, how: str | None) -> tuple[dict[str, Tensor], list[str]]:
    """The weights after two steps over uneven rows, and what was told of the balance."""
    rows, leaves = UNEVEN[kind]
    model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
    more = {"train__batch_size": 6, "train__max_steps": 2, "train__learning_rate": 1e-3, "data__balance": how}
    made = planned(model, rows, **leaves, **more)
    assert trained(made)[0].steps == 2
    return weights(model), [note.text for note in made.data.notes if note.stage == "data.balance"]


def test_each_way_of_balancing_ends_elsewhere_and_says_what_it_did(tiny_model_path: Any) -> None:
    ways = (None, "oversample", "undersample", "batches", "weights")
    ends = {how: ended(tiny_model_path, "classes", how) for how in ways}
    for one, other in itertools.combinations(ways, 2):
        assert distance(ends[one][0], ends[other][0]) > 0, (one, other)
    assert [how for how in ways if ends[how][1]] == ["oversample", "undersample", "batches"]


@pytest.mark.parametrize("kind", ["labelled", "nli"])
def test_a_weighted_run_ends_elsewhere_than_a_plain_one_and_twice_in_the_same_place(
    tiny_model_path: Any, kind: str
) -> None:
    plain, one, again = (ended(tiny_model_path, kind, how)[0] for how in (None, "weights", "weights"))
    assert distance(one, again) == 0
    assert distance(one, plain) > 0


def test_a_loss_that_cannot_weigh_its_rows_gets_even_batches_and_this_is_told(
    tiny_model: Callable[[], SentenceTransformer],
) -> None:
    rows = tailed(tiny.toy_labelled(60), "label", 6)
    made = planned(tiny_model(), rows, train__loss="cosent", train__batch_size=8, data__balance="weights")
    (note,) = (note for note in made.data.notes if note.stage == "data.balance")
    assert note.text.startswith("cosent cannot weigh its rows, so every batch draws the labels evenly: the first pass")


def test_the_course_counts_even_batches_before_the_first_step(tiny_model: Callable[[], SentenceTransformer]) -> None:
    rows = tailed(tiny.toy_labelled(60), "label", 6)
    made = planned(tiny_model(), rows, train__batch_size=8, train__epochs=2.0, data__balance="batches")
    assert made.course.batches_of_epochs == (-(-len(rows) // 8),) * 2
    assert trained(made)[0].steps == made.course.steps


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (tiny.toy_pairs(20), "found weights, and pairs rows have no classes to balance; leave it out"),
        (tiny.toy_scored(20), "found weights, and scored rows have no classes to balance; leave it out"),
        (
            tiny.toy_nli(60),
            "found weights, and NLI rows that become triplets have no labels to balance; "
            "leave it out, or write train.loss: softmax, which keeps the labels",
        ),
    ],
    ids=["pairs", "scored", "nli"],
)
def test_rows_without_classes_are_refused(
    tiny_model: Callable[[], SentenceTransformer], rows: list[dict[str, Any]], found: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(tiny_model(), rows, data__balance="weights")
    assert str(caught.value.problems[0]) == f"data.balance: {found}"
