"""Gradient caching gives what the plain loss gives, for every loss, however the batch is cut."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from torch import Tensor, nn

from embertune.engine.pack import pack
from embertune.engine.precision import applied
from embertune.errors import TrainingError
from embertune.recipe.losses import LOSSES, LossName
from embertune.training.chunked import ChunkedLoss, _chunks, answering
from embertune.training.losses import build_loss
from embertune.training.texts import cut, gather
from tests.tiny import COMMON, answer, question

Loader = Callable[[], SentenceTransformer]
Batch = tuple[list[dict[str, Tensor]], Tensor]

RANKING: LossName = "multiple_negatives_ranking"
LABELS = {
    "scored": lambda rows: torch.linspace(0, 1, rows),
    "labelled": lambda rows: torch.arange(rows) % 2,
    "classes": lambda rows: torch.arange(rows) % 4,
    "nli": lambda rows: torch.arange(rows) % 3,
}
COLUMNS = {"triplets": 3, "classes": 1}
CASES: list[tuple[LossName, str]] = [(name, shape) for name, row in LOSSES.items() for shape in row.shapes]
#: One text in a chunk, a few, and all of them.
CHUNKS = (1, 40, 100_000)
ROWS = 12


def texts(column: int, rows: int) -> list[str]:
    """Texts of every length up to the limit of the tiny model, some of them equally long; other ones per column."""
    made = [(question if column % 2 else answer)(column * 40 + i) for i in range(rows)]
    made[1] = " ".join(COMMON[column * 20 : column * 20 + 90])
    made[2] = COMMON[column]
    made[3] = " ".join(COMMON[30 : 30 + 15 * (column + 1)])
    return made


def batch(model: SentenceTransformer, shape: str, rows: int = ROWS, prompts: tuple[str | None, ...] = ()) -> Batch:
    columns = 2 if shape == "classes pairs" else COLUMNS.get(shape, 2)
    prompts = prompts or (None,) * columns
    features = [model.preprocess(texts(i, rows), prompt=prompts[i]) for i in range(columns)]
    return features, LABELS.get(shape, torch.zeros)(rows)


def copied(made: Batch) -> Batch:
    """The host's models write into the features they are given."""
    return [dict(column) for column in made[0]], made[1]


def step(loss: nn.Module, made: Batch, scale: float = 1.0) -> tuple[float, dict[str, Tensor]]:
    """Value and gradients of one backward pass."""
    loss.zero_grad()
    value = loss(*copied(made))
    (value * scale).backward()
    found = {n.removeprefix("loss."): p.grad.clone() for n, p in loss.named_parameters() if p.grad is not None}
    return float(value.detach()), {n: g for n, g in found.items() if not n.startswith("model.")} | {
        n: g for n, g in found.items() if n.startswith("model.")
    }


def same(chunked: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> None:
    """DESIGN section 8: per tensor, within 1e-4 of its norm and 1e-7 of the norm of all gradients."""
    everything = torch.stack([gradient.norm() for gradient in plain.values()]).norm()
    assert everything > 0
    for name, gradient in plain.items():
        error = (chunked[name] - gradient).norm()
        assert error <= 1e-4 * gradient.norm() + 1e-7 * everything, (name, float(error), float(gradient.norm()))


def defaults(name: LossName) -> dict[str, Any]:
    return {option: row.default for option, row in LOSSES[name].options.items()}


def dropping(model: SentenceTransformer, share: float) -> SentenceTransformer:
    """In training mode, with this dropout everywhere."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = share
    return model.train()


@pytest.fixture(scope="module")
def model(tiny_model_path: Any) -> SentenceTransformer:
    """In training mode without dropout; its weights are read only."""
    return dropping(SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True), 0.0)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_loss_and_gradients_of_every_loss_are_those_without_chunks(
    model: SentenceTransformer, name: LossName, shape: str, chunk: int
) -> None:
    if name == "multiple_negatives_ranking" and shape == "classes":
        shape = "pairs"  # rows of classes stand side by side as pairs
    loss = build_loss(name, model, defaults(name), 0)
    made = batch(model, shape)
    plain, gradients = step(loss, made)
    value, found = step(ChunkedLoss(loss, model, chunk), made)
    assert value == pytest.approx(plain, rel=1e-5)
    assert set(found) == set(gradients)
    same(found, gradients)


@pytest.mark.parametrize("options", [{"symmetric": True}, {"margin": 0.2}])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_so_are_those_of_ranking_with_its_options(model: SentenceTransformer, options: Any, chunk: int) -> None:
    loss = build_loss("multiple_negatives_ranking", model, defaults("multiple_negatives_ranking") | options, 0)
    made = batch(model, "triplets")
    plain, gradients = step(loss, made)
    value, found = step(ChunkedLoss(loss, model, chunk), made)
    assert value == pytest.approx(plain, rel=1e-5)
    same(found, gradients)


def test_the_head_of_a_loss_gets_its_gradients_scaled_as_those_of_the_model(model: SentenceTransformer) -> None:
    loss = build_loss("softmax", model, {}, 0)
    made = batch(model, "nli")
    _, plain = step(loss, made, scale=0.25)
    _, found = step(ChunkedLoss(loss, model, 40), made, scale=0.25)
    assert plain["classifier.weight"].norm() > 0
    same(found, plain)


def test_gradients_of_several_batches_add_up(model: SentenceTransformer) -> None:
    loss = build_loss("multiple_negatives_ranking", model, defaults("multiple_negatives_ranking"), 0)
    first, second = batch(model, "pairs", 12), batch(model, "pairs", 5)
    sums = []
    for way in (loss, ChunkedLoss(loss, model, 40)):
        model.zero_grad()
        for made in (first, second):
            (way(*copied(made)) / 2).backward()
        sums.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    same(sums[1], sums[0])


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("rows", [4, 5])
def test_small_batches_and_texts_of_one_length_are_no_exception(
    model: SentenceTransformer, rows: int, chunk: int
) -> None:
    loss = build_loss("triplet", model, defaults("triplet"), 0)
    columns = [[f"{COMMON[i + 7 * c]} {COMMON[i + 50]}" for i in range(rows)] for c in range(3)]
    made = [model.preprocess(column) for column in columns], torch.zeros(rows)
    plain, gradients = step(loss, made)
    value, found = step(ChunkedLoss(loss, model, chunk), made)
    assert value == pytest.approx(plain, rel=1e-5)
    same(found, gradients)


def test_a_batch_of_one_row_is_no_exception(model: SentenceTransformer) -> None:
    loss = build_loss("cosine_similarity", model, {}, 0)
    made = [model.preprocess([text]) for text in ("a dog", "how can i mend the car")], torch.tensor([0.3])
    plain, gradients = step(loss, made)
    for chunk in CHUNKS:
        value, found = step(ChunkedLoss(loss, model, chunk), made)
        assert value == pytest.approx(plain, rel=1e-5)
        same(found, gradients)


# Dropout


def with_all_graphs(loss: nn.Module, model: SentenceTransformer, made: Batch, chunk: int) -> Tensor:
    """The loss over the same chunks in the same order, every graph kept: what gradient caching saves the memory of."""
    columns = made[0]
    chunks = _chunks(gather(columns), chunk)
    vectors = torch.cat([part.embed(model) for part in chunks])
    ordered = vectors[torch.argsort(torch.cat([part.places for part in chunks]))]
    parts = torch.split(ordered, [len(column["input_ids"]) for column in columns])
    answers = {id(column["input_ids"]): part for column, part in zip(columns, parts, strict=True)}
    with answering(model, answers, "loss"):
        value: Tensor = loss(columns, made[1])
    return value


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(("name", "shape"), [("multiple_negatives_ranking", "triplets"), ("softmax", "nli")])
def test_both_passes_over_a_text_drop_the_same_and_chance_goes_on_as_after_one(
    tiny_model: Loader, name: LossName, shape: str, chunk: int
) -> None:
    model = dropping(tiny_model(), 0.3)
    loss = build_loss(name, model, defaults(name), 0)
    made = batch(model, shape)
    found, states = [], []
    for way in (lambda *b: with_all_graphs(loss, model, b, chunk), ChunkedLoss(loss, model, chunk)):
        loss.zero_grad()
        torch.manual_seed(5)
        value = way(*copied(made))
        value.backward()
        states.append(torch.get_rng_state())
        found.append(
            (float(value.detach()), {n: p.grad.clone() for n, p in loss.named_parameters() if p.grad is not None})
        )
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    same(found[1][1], found[0][1])
    assert torch.equal(*states)


def test_other_seeds_drop_otherwise(tiny_model: Loader) -> None:
    model = dropping(tiny_model(), 0.3)
    loss = ChunkedLoss(
        build_loss("multiple_negatives_ranking", model, defaults("multiple_negatives_ranking"), 0), model, 40
    )
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(step(loss, batch(model, "pairs"))[0])
    assert values[0] == values[1] != values[2]


# Prompts, padding and parts that are not trained


@pytest.mark.parametrize("include", [True, False])
def test_prompts_of_other_lengths_that_pooling_leaves_out_stay_apart(tiny_model: Loader, include: bool) -> None:
    model = dropping(tiny_model(), 0.0)
    model[1].include_prompt = include
    made = batch(model, "triplets", prompts=("query the old book: ", "passage: ", None))
    loss = build_loss("multiple_negatives_ranking", model, defaults("multiple_negatives_ranking"), 0)
    plain, gradients = step(loss, made)
    for chunk in CHUNKS:
        value, found = step(ChunkedLoss(loss, model, chunk), made)
        assert value == pytest.approx(plain, rel=1e-5)
        same(found, gradients)
    assert len(gather(made[0])) == 3


def test_texts_padded_on_the_left_keep_their_positions(tiny_model: Loader) -> None:
    model = dropping(tiny_model(), 0.0)
    model.tokenizer.padding_side = "left"
    loss = build_loss("multiple_negatives_ranking", model, defaults("multiple_negatives_ranking"), 0)
    made = batch(model, "triplets")
    assert bool((made[0][0]["attention_mask"][:, 0] == 0).any())
    plain, gradients = step(loss, made)
    value, found = step(ChunkedLoss(loss, model, 40), made)
    assert value == pytest.approx(plain, rel=1e-5)
    same(found, gradients)


def test_frozen_layers_get_no_gradient_and_a_frozen_model_trains_the_head_alone(tiny_model: Loader) -> None:
    model = dropping(tiny_model(), 0.0)
    loss = build_loss("softmax", model, {}, 0)
    made = batch(model, "nli")
    parameters = list(model.parameters())
    for frozen in (parameters[:5], parameters):
        for parameter in frozen:
            parameter.requires_grad = False
        plain, gradients = step(loss, made)
        value, found = step(ChunkedLoss(loss, model, 40), made)
        assert value == pytest.approx(plain, rel=1e-5)
        assert set(found) == set(gradients)
        same(found, gradients)
    assert set(gradients) == {"classifier.weight", "classifier.bias"}


def test_without_gradients_only_the_value_comes_back(model: SentenceTransformer) -> None:
    loss = build_loss("cosent", model, defaults("cosent"), 0)
    made = batch(model, "scored")
    with torch.no_grad():
        value = ChunkedLoss(loss, model, 40)(*copied(made))
        assert float(value) == pytest.approx(float(loss(*copied(made))), rel=1e-5)
    assert not value.requires_grad


def test_under_autocast_the_way_back_has_the_precision_of_the_way_there(model: SentenceTransformer) -> None:
    loss = build_loss("multiple_negatives_ranking", model, defaults("multiple_negatives_ranking"), 0)
    made = batch(model, "pairs")
    found = []
    for way in (loss, ChunkedLoss(loss, model, 40), ChunkedLoss(loss, model, 100_000)):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            value = way(*copied(made))
        value.backward()
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    for chunked in found[1:]:
        assert set(chunked) == set(found[0])
        everything = torch.stack([g.norm() for g in found[0].values()]).norm()
        apart = torch.stack([(chunked[n] - g).norm() for n, g in found[0].items()]).norm()
        assert apart < 0.03 * everything


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_on_a_packed_model_chunks_give_what_the_whole_batch_gives_on_the_plain_one(
    tiny_model: Loader, pooling: str, precision: Any
) -> None:
    plain, packed = dropping(tiny_model(), 0.0), dropping(tiny_model(), 0.0)
    for model in (plain, packed):
        model[1].pooling_mode = pooling
    pack(packed)
    made = batch(plain, "triplets", prompts=("query: ", None, None))
    with applied(plain, precision):
        whole, gradients = step(build_loss(RANKING, plain, defaults(RANKING), 0), made)
    everything = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    for chunk in CHUNKS:
        with applied(packed, precision):
            value, found = step(ChunkedLoss(build_loss(RANKING, packed, defaults(RANKING), 0), packed, chunk), made)
        if precision == "float32":
            assert value == pytest.approx(whole, rel=1e-5)
            same(found, gradients)
        else:
            assert value == pytest.approx(whole, rel=2e-2)
            assert torch.stack([(found[n] - g).norm() for n, g in gradients.items()]).norm() < 0.1 * everything


# What is held, what is left behind, what is refused


def counting(model: SentenceTransformer) -> Iterator[list[tuple[int, bool]]]:
    """Tokens of every call of the backbone, and whether it makes a graph."""
    calls: list[tuple[int, bool]] = []

    def hook(_module: nn.Module, args: Any) -> None:
        calls.append((int(args[0]["attention_mask"].sum()), torch.is_grad_enabled()))

    handle = model[0].register_forward_pre_hook(hook)
    yield calls
    handle.remove()


counted = pytest.fixture(counting)


def test_no_call_has_more_tokens_than_a_chunk_except_for_a_single_longer_text(
    counted: Any, model: SentenceTransformer
) -> None:
    made = batch(model, "triplets")
    longest = max(int(column["attention_mask"].sum(1).max()) for column in made[0])
    for chunk in (20, 70):
        counted.clear()
        ChunkedLoss(build_loss("triplet", model, defaults("triplet"), 0), model, chunk)(*copied(made)).backward()
        assert max(tokens for tokens, _ in counted) <= max(chunk, longest)
        assert sum(tokens for tokens, graph in counted if graph) == sum(
            int(column["attention_mask"].sum()) for column in made[0]
        )


def test_a_batch_that_fits_in_one_chunk_is_embedded_once(counted: Any, model: SentenceTransformer) -> None:
    loss = ChunkedLoss(build_loss("triplet", model, defaults("triplet"), 0), model, 100_000)
    loss(*copied(batch(model, "triplets"))).backward()
    assert [graph for _, graph in counted] == [True]


def test_the_features_of_the_batch_and_the_model_are_left_as_they_were(model: SentenceTransformer) -> None:
    made = batch(model, "triplets")
    before = copy.deepcopy(made[0])
    state = dict(vars(model))
    loss = ChunkedLoss(build_loss("triplet", model, defaults("triplet"), 0), model, 40)
    loss(*made).backward()
    assert vars(model) == state
    for column, old in zip(made[0], before, strict=True):
        assert set(column) == set(old)
        assert all(torch.equal(column[name], old[name]) for name in old if isinstance(old[name], Tensor))


def test_a_forward_that_stands_on_the_instance_is_called_and_put_back(tiny_model: Loader) -> None:
    model = dropping(tiny_model(), 0.0)
    calls = []

    def forward(features: Any) -> Any:
        calls.append(len(features["input_ids"]))
        return type(model).forward(model, features)

    model.forward = forward
    loss = ChunkedLoss(build_loss("triplet", model, defaults("triplet"), 0), model, 40)
    loss(*batch(model, "triplets")).backward()
    assert model.forward is forward
    assert sum(calls) > 3 * ROWS


class Curious(nn.Module):
    """Asks the model for a text that is in no column."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Any, labels: Any) -> Tensor:
        found: Tensor = self.model(self.model.preprocess(["a dog"]))["sentence_embedding"].sum()
        return found


def test_a_loss_that_embeds_other_texts_is_refused_by_name_and_leaves_the_model_whole(
    model: SentenceTransformer,
) -> None:
    state = dict(vars(model))
    with pytest.raises(TrainingError) as caught:
        ChunkedLoss(Curious(model), model, 40)(*batch(model, "pairs"))
    assert str(caught.value) == (
        "train.chunk: Curious asks the model for more than the columns of its batch, which cannot be done in chunks; "
        "write train.chunk: null, and a smaller train.batch_size"
    )
    assert vars(model) == state


def test_features_that_are_no_rows_of_tokens_are_refused(model: SentenceTransformer) -> None:
    loss = ChunkedLoss(losses.CosineSimilarityLoss(model), model, 40)
    flat = {"input_ids": torch.arange(9), "offsets": torch.tensor([0, 4])}
    with pytest.raises(TrainingError, match=r"train\.chunk: this model does not read texts as padded rows of tokens"):
        loss([flat, dict(flat)], torch.zeros(2))


# Cutting


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 200))
def test_chunks_hold_every_text_once_and_as_many_as_fit(lengths: list[int], most: int) -> None:
    sizes = cut(lengths, most)
    assert sum(sizes) == len(lengths)
    assert min(sizes) >= 1
    first = 0
    for size in sizes:
        tokens = sum(lengths[first : first + size])
        assert tokens <= most or size == 1
        after = lengths[first + size : first + size + 1]
        assert not after or tokens + after[0] > most
        first += size
