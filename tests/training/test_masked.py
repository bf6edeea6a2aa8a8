"""What is known to be no negative has no part in the loss, and without it the loss is the host's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from torch import Tensor, nn

from embertune.data.known import known_of
from embertune.errors import RecipeError
from embertune.plan import with_own_loss
from embertune.recipe.losses import LOSSES
from embertune.training.chunked import ChunkedLoss
from embertune.training.losses import build_loss, with_margin
from embertune.training.masked import Guide, MaskedRanking, Masking, Numbered, guide_of, masked_note
from tests import tiny
from tests.training.made import distance, planned, prepared, trained, weights

SCALE = 20.0
OPTIONS: tuple[dict[str, Any], ...] = (
    {"scale": SCALE, "margin": 0.0, "symmetric": False},
    {"scale": SCALE, "margin": 0.2, "symmetric": False},
    {"scale": SCALE, "margin": 0.0, "symmetric": True},
    {"scale": 35.0, "margin": 0.1, "symmetric": True},
)


@pytest.fixture
def model(tiny_model_path: Any) -> SentenceTransformer:
    """Without dropout."""
    return SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True).eval()


def columns_of(rows: int, columns: int) -> dict[str, list[str]]:
    """Distinct texts: anchors, positives, negatives."""
    made = {"anchor": [tiny.question(i) for i in range(rows)], "positive": [tiny.answer(i) for i in range(rows)]}
    for place in range(columns - 2):
        name = "negative" if place == 0 else f"negative_{place + 1}"
        made[name] = [tiny.answer(i + rows * (place + 1)) for i in range(rows)]
    return made | {"group": list(range(rows))}


def features_of(model: SentenceTransformer, columns: dict[str, list[Any]], rows: Sequence[int]) -> list[dict[str, Any]]:
    return [
        model.preprocess([texts[row] for row in rows]) for name, texts in columns.items() if name not in ("group", "d")
    ]


def masking_for(columns: dict[str, list[Any]]) -> Masking:
    return Masking(known_of(prepared("triplets" if "negative" in columns else "pairs", columns)))


def value_and_gradients(loss: nn.Module, model: nn.Module, features: Any, labels: Tensor) -> tuple[float, list[Tensor]]:
    model.zero_grad()
    value = loss([dict(column) for column in features], labels)
    value.backward()
    return float(value.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def host(model: SentenceTransformer, options: dict[str, Any]) -> nn.Module:
    return build_loss("multiple_negatives_ranking", model, options, 0)


def assert_same(left: tuple[float, list[Tensor]], right: tuple[float, list[Tensor]], within: float = 1e-6) -> None:
    assert left[0] == pytest.approx(right[0], rel=within)
    assert len(left[1]) == len(right[1]) > 0
    whole = torch.sqrt(sum((g * g).sum() for g in right[1]))
    for found, wanted in zip(left[1], right[1], strict=True):
        assert (found - wanted).norm() <= 1e-4 * wanted.norm() + 1e-6 * whole


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("chunk", [None, 30])
def test_where_nothing_is_masked_loss_and_gradients_are_the_hosts(
    model: SentenceTransformer, options: dict[str, Any], columns: int, chunk: int | None
) -> None:
    made = columns_of(12, columns)
    rows = [7, 2, 9, 4, 0, 11]
    features = features_of(model, made, rows)
    ours: nn.Module = build_loss("multiple_negatives_ranking", model, options, 0, masking_for(made))
    assert isinstance(ours, MaskedRanking)
    found = value_and_gradients(
        ours if chunk is None else ChunkedLoss(ours, model, chunk), model, features, torch.tensor(rows)
    )
    assert ours.counted() == (0, 6 * (6 * (columns - 1) - 1) + (30 if options["symmetric"] else 0))
    assert_same(found, value_and_gradients(host(model, options), model, features, torch.zeros(6)))


def test_the_loss_built_without_a_mask_is_the_hosts_own(model: SentenceTransformer) -> None:
    assert isinstance(host(model, OPTIONS[0]), losses.MultipleNegativesRankingLoss)


def repeated() -> dict[str, list[Any]]:
    """Rows of which many share texts: an anchor twice, positives twice, a positive that is an anchor, and negatives."""
    anchors = [tiny.question(i) for i in (0, 1, 2, 0, 3, 4, 5)] + [tiny.answer(2)]
    positives = [tiny.answer(i) for i in (0, 1, 2, 10, 1, 3, 12, 11)]
    negatives = [tiny.answer(i) for i in (20, 0, 21, 22, 0, 2, 23, 10)]
    return {"anchor": anchors, "positive": positives, "negative": negatives, "group": [0, 1, 2, 0, 4, 5, 6, 6]}


def naive_loss(
    vectors: list[Tensor], marks: Any, options: dict[str, Any], weights: Sequence[float] | None = None
) -> Tensor:
    """One row and one candidate at a time, in float64; `marks` says what is no negative."""
    anchors, *others = (nn.functional.normalize(v.double(), dim=1) for v in vectors)
    candidates = torch.cat(others)
    count, total = len(anchors), torch.zeros((), dtype=torch.float64)
    for row in range(count):
        score = (anchors[row] @ candidates.T - options["margin"] * (torch.arange(len(candidates)) == row)) * options[
            "scale"
        ]
        terms = [score[j].exp() for j in range(len(candidates)) if j == row or not marks[row][j]]
        parts = [-(score[row] - torch.stack(terms).sum().log())]
        if options["symmetric"]:
            back = (anchors @ candidates[row] - options["margin"] * (torch.arange(count) == row)) * options["scale"]
            terms = [back[j].exp() for j in range(count) if j == row or not marks[j][row]]
            parts.append(-(back[row] - torch.stack(terms).sum().log()))
        total = total + torch.stack(parts).mean() * (1.0 if weights is None else weights[row])
    return total / count


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_masked_loss_is_that_of_one_row_and_one_candidate_at_a_time(
    model: SentenceTransformer, options: dict[str, Any], weighted: bool
) -> None:
    made = repeated()
    rows = [3, 0, 1, 4, 7, 2, 5, 6]
    masking = masking_for(made)
    each = torch.linspace(0.25, 1.75, 8) if weighted else None
    features = features_of(model, made, rows)
    with torch.no_grad():
        vectors = [model(dict(column))["sentence_embedding"] for column in features]
        assert masking.known is not None
        marks = masking.known.mask(np.array(rows))
        loss = MaskedRanking(model, options, masking, each)
        value = float(loss([dict(column) for column in features], torch.tensor(rows)))
        wanted = naive_loss(vectors, marks, options, None if each is None else each[rows].tolist())
    assert value == pytest.approx(float(wanted), rel=1e-5)
    assert loss.counted()[0] == int(marks.sum()) + (int(marks[:, :8].sum()) if options["symmetric"] else 0) > 0
    assert loss.counted() == (0, 0)


def test_weights_of_one_change_nothing(model: SentenceTransformer) -> None:
    made = repeated()
    features, labels = features_of(model, made, range(8)), torch.arange(8)
    plain, weighted = (MaskedRanking(model, OPTIONS[0], masking_for(made), w) for w in (None, torch.ones(8)))
    one = value_and_gradients(plain, model, features, labels)
    other = value_and_gradients(weighted, model, features, labels)
    assert one[0] == other[0]
    assert all(torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True))


def test_a_row_none_of_whose_negatives_is_left_has_no_loss_and_no_gradient(model: SentenceTransformer) -> None:
    made = columns_of(4, 2) | {"group": [5, 5, 5, 5]}
    features = features_of(model, made, range(4))
    loss = MaskedRanking(model, {"scale": SCALE, "margin": 0.0, "symmetric": True}, masking_for(made))
    value, gradients = value_and_gradients(loss, model, features, torch.arange(4))
    assert value == 0.0
    assert all(torch.count_nonzero(gradient) == 0 for gradient in gradients)


@pytest.mark.parametrize("symmetric", [False, True])
def test_in_chunks_a_masked_loss_has_the_same_gradients(model: SentenceTransformer, symmetric: bool) -> None:
    made = repeated()
    options = {"scale": SCALE, "margin": 0.1, "symmetric": symmetric}
    features, labels = features_of(model, made, range(8)), torch.arange(8)
    loss = MaskedRanking(model, options, masking_for(made))
    whole = value_and_gradients(loss, model, features, labels)
    masked = loss.counted()
    assert_same(value_and_gradients(ChunkedLoss(loss, model, 25), model, features, labels), whole, 1e-5)
    assert loss.counted() == masked


def guided(cosines: Any) -> Guide:
    """A guide whose anchors and positives have these cosines, (rows, rows), in half precision."""
    size = len(cosines)
    wide = np.concatenate([cosines, np.zeros((size, 1))], axis=1)
    return Guide(
        (wide.astype(np.float16), np.eye(size, size + 1, dtype=np.float16)), np.stack([np.arange(size)] * 2, 1)
    )


def test_a_guide_masks_what_it_finds_nearer_than_the_positive_less_the_margin() -> None:
    cosines = np.array([[0.5, 0.6, 0.4], [0.2, 0.75, 0.7], [0.1, 0.3, 0.25]])
    rows = torch.arange(3)
    forth, back = Masking(None, guided(cosines)).masks(rows, 1)
    assert forth.tolist() == [[False, True, False], [False, False, False], [False, True, False]]
    assert back.tolist() == [[False, False, False], [False, False, False], [True, True, False]]
    forth, _ = Masking(None, guided(cosines), 0.125).masks(rows, 1)
    assert forth.tolist() == [[False, True, True], [False, False, True], [False, True, False]]


def test_a_guide_and_what_is_known_are_masked_together() -> None:
    known = known_of(prepared("pairs", {"anchor": ["a", "b", "a"], "positive": ["x", "y", "z"], "group": [0, 1, 2]}))
    cosines = np.array([[0.5, 0.75, 0.25], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]])
    forth, _ = Masking(known, guided(cosines)).masks(torch.arange(3), 1)
    assert forth.tolist() == [[False, True, True], [False, False, False], [True, False, False]]


def test_a_guide_has_a_vector_of_length_one_for_every_text_as_its_column_encodes_it() -> None:
    train = prepared("pairs", {"anchor": ["a", "b", "a"], "positive": ["b", "c", "b"], "group": [0, 1, 2]})
    asked = []

    def encode(texts: Sequence[str], role: str) -> Any:
        asked.append((sorted(texts), role))
        return np.array([[ord(t), 97.0 if role == "anchor" else -97.0] for t in texts], dtype=np.float32)

    guide = guide_of(train, encode)
    assert asked == [(["a", "b"], "anchor"), (["b", "c"], "positive")]
    found = guide.similarities(np.array([2, 1]), torch.device("cpu"))
    a, b, to_b, to_c = ([97.0, 97.0], [98.0, 97.0], [98.0, -97.0], [99.0, -97.0])
    wanted = (
        nn.functional.normalize(torch.tensor([a, b]), dim=1)
        @ nn.functional.normalize(torch.tensor([to_b, to_c]), dim=1).T
    )
    assert torch.allclose(found, wanted, atol=2e-3)


def test_numbered_rows_are_the_same_rows_with_their_numbers() -> None:
    rows = prepared("pairs", {"anchor": ["a", "b", "c"], "positive": ["x", "y", "z"]}).rows.select([2, 0])
    assert Numbered(rows).__getitems__([1, 0]) == [
        {"anchor": "a", "positive": "x", "label": 1}, {"anchor": "c", "positive": "z", "label": 0},
    ]  # fmt: skip
    assert Numbered(rows).column_names == ["anchor", "positive"]


def shared(rows: int = 60) -> list[dict[str, Any]]:
    """Pairs of which five share each positive."""
    return [{"anchor": tiny.question(i), "positive": tiny.answer(i // 5)} for i in range(rows)]


SETTINGS: dict[str, Any] = {
    "train__loss": "multiple_negatives_ranking", "train__batch_size": 8, "train__epochs": 2.0,
    "train__precision": "float32", "train__learning_rate": 1e-3,
}  # fmt: skip


def test_with_a_mask_every_row_is_in_every_pass_and_each_step_tells_what_was_masked(model: SentenceTransformer) -> None:
    plan = planned(model, shared(), train__known_positives="mask", **SETTINGS)
    assert plan.course.batches_of_epochs == (8, 8)
    assert plan.course.notes == ()
    fitted, history = trained(plan)
    assert fitted.steps == 16
    sizes = [56, 56, 56, 56, 56, 56, 56, 12] * 2  # seven batches of eight rows and one of four, a diagonal each
    assert [record["negatives"] for record in history] == sizes
    masked = [record["masked"] for record in history]
    assert all(0 <= found <= of for found, of in zip(masked, sizes, strict=True))
    assert sum(masked) > 40
    (note,) = fitted.notes
    assert note.count == sum(masked)
    assert f"{sum(masked):,} of {sum(sizes):,} in-batch negatives" in note.text


@pytest.mark.parametrize("more", [{"train__chunk": 20}, {"train__accumulate": 3}, {"train__guide": "base"}], ids=str)
def test_masked_training_ends_the_same_when_it_is_done_twice(tiny_model_path: Any, more: dict[str, Any]) -> None:
    ends = []
    for _ in range(2):
        made = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
        trained(planned(made, shared(20), train__known_positives="mask", **SETTINGS | more))
        ends.append(weights(made))
    assert distance(*ends) == 0.0


def test_near_duplicates_of_a_positive_are_masked_as_the_recipe_counts_them(model: SentenceTransformer) -> None:
    twins = [tiny.answer(i) + " " + " ".join(tiny.COMMON[9 * i : 9 * i + 9]) for i in range(3)]
    rows = [{"anchor": tiny.question(i), "positive": twins[i % 3] + (" today" if i > 2 else "")} for i in range(6)]
    found = {}
    for threshold in (0.8, None):
        plan = planned(
            model,
            rows,
            train__known_positives="mask",
            data__near_duplicates=threshold,
            **SETTINGS | {"train__epochs": 1.0},
        )
        found[threshold] = [record["masked"] for record in trained(plan)[1]]
    assert found == {0.8: [6], None: [0]}


def test_ignoring_known_positives_is_the_hosts_loss_on_shuffled_batches(model: SentenceTransformer) -> None:
    plan = planned(model, shared(), train__known_positives="ignore", **SETTINGS)
    assert plan.course.batches_of_epochs == (8, 8)
    fitted, history = trained(plan)
    assert fitted.notes == ()
    assert not any("masked" in record for record in history)


def test_kept_apart_is_what_auto_does_and_leaves_rows_out(model: SentenceTransformer) -> None:
    plan = planned(model, shared(), **SETTINGS)
    assert plan.resolved.recipe.train.known_positives == "apart"
    assert [note.stage for note in plan.course.notes] in ([], ["batches"])


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"train__guide": "base"}, "train.guide: has no effect unless known positives are masked"),
        ({"train__known_positives": "apart", "train__guide": "base"}, "write train.known_positives: mask"),
        (
            {"train__known_positives": "mask", "train__guide_margin": 0.1},
            "train.guide_margin: has no effect without a guide; write train.guide: base",
        ),
        ({"train__known_positives": None}, "found null with multiple_negatives_ranking; write auto, apart, mask"),
    ],
)
def test_what_cannot_take_effect_is_refused(model: SentenceTransformer, leaves: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        planned(model, shared(10), **leaves)


def test_a_loss_handed_over_is_not_masked_and_says_so(model: SentenceTransformer) -> None:
    plan = planned(model, shared(10), train__known_positives="mask")
    with pytest.raises(RecipeError, match=r"found mask, and a loss is handed over.* write apart or ignore"):
        with_own_loss(plan, losses.MultipleNegativesRankingLoss)


@pytest.mark.parametrize(("rows", "loss"), [(tiny.toy_triplets, "triplet"), (tiny.toy_scored, "cosent")])
@pytest.mark.parametrize("value", ["apart", "mask", "ignore"])
def test_a_loss_without_negatives_from_the_batch_refuses_it(
    model: SentenceTransformer, rows: Any, loss: str, value: str
) -> None:
    with pytest.raises(RecipeError, match=f"has no effect: {loss} takes no negatives from the batch; leave it out"):
        planned(model, rows(12), train__loss=loss, train__known_positives=value)


def test_pairs_of_classes_refuse_it_and_resolve_to_null(model: SentenceTransformer) -> None:
    with pytest.raises(RecipeError, match="keeps classes apart in its batches"):
        planned(model, tiny.toy_classes(24), train__loss="multiple_negatives_ranking", train__known_positives="mask")
    plan = planned(model, tiny.toy_classes(24), train__loss="multiple_negatives_ranking", train__batch_size=4)
    assert plan.resolved.recipe.train.known_positives is None


def test_only_losses_whose_batches_are_kept_distinct_can_be_masked() -> None:
    assert {name for name, row in LOSSES.items() if "distinct" in row.samplers.values()} == {
        "multiple_negatives_ranking"
    }


def test_a_run_without_negatives_has_no_note() -> None:
    assert masked_note(0, 0) == ()
    assert "0 of 10 in-batch negatives" in masked_note(0, 10)[0].text


def test_the_margin_of_the_masked_loss_is_that_of_the_plain_one() -> None:
    left, right = torch.eye(3), torch.eye(3)
    assert torch.equal(with_margin(0.25)(left, right).diagonal(), torch.full((3,), 0.75))
