"""Measures, before the first step, what a step keeps in memory; on a GPU it also runs the worst batch once.

What is kept for the way back is counted, not sampled from the process: the sizes of all tensors that autograd saves in
a forward pass of the longest text and of its first half (and of the loss on a few made-up vectors), which is the same
on every machine and in every run. What follows from it for the worst batch is arithmetic (`training/memory`).

A GPU then really runs the worst batch, forward and backward, and says so if it is too large. A processor does not:
Linux promises memory that it does not have, so a batch that is too large ends in a kill and not in an error that could
be told, and one that is not would cost a whole step and tell nothing new. There the count decides.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.merged_forward import column_merging_disabled
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from embertune.data.prepared import TARGET_COLUMN, Prepared
from embertune.data.store import batches
from embertune.engine.flat import merge, merges
from embertune.engine.precision import applied
from embertune.recipe import Recipe
from embertune.recipe.check import loss_options
from embertune.recipe.losses import LOSSES, LossRow
from embertune.recipe.optimizers import OPTIMIZERS
from embertune.training.chunked import VECTOR, ChunkedLoss, answering, chance_kept
from embertune.training.losses import build_loss, nested
from embertune.training.masked import Masking
from embertune.training.memory import Cost, IntArray, Memory, through
from embertune.training.texts import are_rows

#: Real tokens of texts as the model reads them, by text and prompt: special tokens counted, the end cut off; (n,).
Lengths = Callable[[Sequence[str], str], IntArray]

#: A longer text is measured by its first tokens: the cost is a square of the length, which two points give.
_MOST_TOKENS = 512
#: Rows of the batch of vectors on which the loss is measured.
_FEWEST_ROWS, _MOST_ROWS = 8, 256
#: How much more a text with as much padding again may keep before padding counts as tokens do.
_FREE_PADDING = 1.3


def weigh(
    model: SentenceTransformer, train: Prepared, recipe: Recipe, prompts: Mapping[str, str], lengths: Lengths
) -> Memory:
    """What training on `train` by `recipe` (loss, batch size and precision decided) needs; nothing is left behind.

    `prompts` goes from column to prompt. Weights, gradients, modes and the random state are as they were.
    """
    names = train.text_columns
    counted = np.stack([counts_of(train, name, prompts.get(name, ""), lengths) for name in names], axis=1)
    place, column = np.unravel_index(int(counted.argmax()), counted.shape)
    name = names[int(column)]
    texts = _texts(model, train.rows[int(place)][name], prompts.get(name), recipe)
    rows = _worst(counted, train, recipe, texts.padded)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    best = sum(t.numel() * t.element_size() for t in model.state_dict().values()) if recipe.guard.metric else 0
    dimensions = int(model.truncate_dim or model.get_embedding_dimension() or 1)
    return Memory(
        lengths=counted[rows, np.arange(rows.shape[1]) % len(names)],
        text=texts.cost,
        call=texts.call,
        loss=_cost_of_loss(model, train, recipe, dimensions),
        fixed=_copies(recipe) * trained + best + _learned(recipe) * (best + (_copies(recipe) - 1) * trained),
        dimensions=dimensions,
        padded=texts.padded,
        chunks=texts.chunks,
        rows=rows,
    )


def _copies(recipe: Recipe) -> int:
    """How often what is trained lies in memory besides: gradients, what the optimizer keeps, the average."""
    return 1 + OPTIMIZERS[recipe.train.optimizer].kept + (recipe.train.average is not None)


def _learned(recipe: Recipe) -> bool:
    """Whether all that was learnt until the best look is kept as well, for remedies."""
    return recipe.guard.on_overfit == "regularise"


def counts_of(train: Prepared, name: str, prompt: str, lengths: Lengths) -> IntArray:
    """The tokens of a column's texts, (rows,), a piece of them in memory at a time."""
    return np.concatenate([lengths(piece.to_pylist(), prompt) for piece in batches(train.rows, name)])


def _in_pairs(train: Prepared, recipe: Recipe) -> bool:
    """Whether two rows of a class make one of the batch, so that one column of the data stands twice in it."""
    return _row(recipe).samplers[train.shape] == "class_pairs"


def _row(recipe: Recipe) -> LossRow:
    """What the table says of the loss."""
    assert recipe.train.loss != "auto"
    return LOSSES[recipe.train.loss]


def _worst(counted: IntArray, train: Prepared, recipe: Recipe, padded: bool) -> IntArray:
    """The rows (batch, columns) of the longest batch there could be, longest first, from tokens (rows, columns).

    Where padding counts, the longest text of every column stands in it.
    """
    size = recipe.train.batch_size
    assert isinstance(size, int)
    across = 2 if _in_pairs(train, recipe) else 1
    order = np.argsort(-counted.sum(axis=1), kind="stable")[: size * across]
    order = order[: len(order) // across * across].reshape(-1, across)
    rows = order if across > 1 else np.repeat(order, counted.shape[1], axis=1)
    if padded:
        rows[0] = np.resize(counted.argmax(axis=0), rows.shape[1])
    return rows


@dataclass(frozen=True)
class _Texts:
    """What a text of n tokens keeps, what a call of the model keeps besides, and whether padding keeps as much.

    `chunks` tells whether batches can be cut into chunks.
    """

    cost: Cost
    call: float = 0.0
    padded: bool = False
    chunks: bool = True


def _texts(model: SentenceTransformer, text: str, prompt: str | None, recipe: Recipe) -> _Texts:
    """Measured on the first tokens of `text`, once alone and once twice, and on half as many."""
    features = batch_to_device(model.preprocess([text], prompt=prompt), model.device)
    with _as_trained(model, recipe):
        if not are_rows(features):
            return _Texts(Cost(_kept(model, features) / max(1, len(features["input_ids"]))), chunks=False)
        whole = _first(features, _MOST_TOKENS)
        length = whole["input_ids"].shape[1]
        half = max(1, length // 2)
        once = _kept(model, whole)
        each = _kept(model, {n: torch.cat([v, v]) if _is_row(v) else v for n, v in whole.items()}) - once
        call = max(0, once - each)
        kept = _kept(model, _first(features, half)) - call
        shut = slice(half, None) if model.tokenizer.padding_side == "right" else slice(None, length - half)
        whole["attention_mask"][:, shut] = 0
        padded = length > half and _kept(model, whole) - call > _FREE_PADDING * kept
        return _Texts(through((length, each), (half, kept)), call, padded)


def _is_row(value: Any) -> bool:
    """Whether a feature of one text has a value for each of its tokens."""
    return isinstance(value, Tensor) and value.ndim == 2


def _first(features: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """The features of a text's first tokens."""
    return {name: value[:, :tokens].clone() if _is_row(value) else value for name, value in features.items()}


def _cost_of_loss(model: SentenceTransformer, train: Prepared, recipe: Recipe, dimensions: int) -> Cost:
    """What the loss keeps of a batch of so many rows; more where it takes more for a moment than it keeps."""
    size = recipe.train.batch_size
    assert isinstance(size, int)
    loss = _loss(model, recipe)
    columns = 2 if _in_pairs(train, recipe) else len(train.text_columns)
    present = max(2, len(train.classes))
    together = max(2, size // min(present, max(2, size // 4)))
    rows = min(max(size, _FEWEST_ROWS), _MOST_ROWS)

    def measured(together: int) -> Cost:
        shape = columns, dimensions, together
        high, low = (_kept_of_loss(loss, model, count, shape) for count in (rows, rows // 2))
        return through((rows, high), (rows // 2, low))

    with _as_trained(model, recipe):
        if _row(recipe).samplers[train.shape] == "class_groups" and together > rows // 2:
            some, few = rows // 2, rows // 4
            cost = _grown(measured(few), measured(some), (together - few) / (some - few))
        else:
            cost = measured(together)
    times = (1 + _row(recipe).passing) / 2  # `Memory` takes it for granted that as much passes as is kept
    return Cost(times * cost.linear, times * cost.square)


def _grown(first: Cost, second: Cost, steps: float) -> Cost:
    """The cost so many steps beyond `first`, where one step leads to `second`: both terms grow evenly."""
    linear, square = second.linear - first.linear, second.square - first.square
    return Cost(max(0.0, first.linear + steps * linear), max(0.0, first.square + steps * square))


def _loss(model: SentenceTransformer, recipe: Recipe) -> nn.Module:
    """The loss as it will be, with a mask that marks nothing, where there will be one: what it keeps is the same."""
    assert recipe.train.loss != "auto"
    masking = Masking(None) if recipe.train.known_positives == "mask" else None
    loss = build_loss(recipe.train.loss, model, loss_options(recipe.train), recipe.training_seed, masking)
    return nested(loss, model, recipe.train.matryoshka).to(model.device)


def _kept_of_loss(loss: nn.Module, model: SentenceTransformer, rows: int, shape: tuple[int, int, int]) -> int:
    """Bytes that the loss keeps of made-up vectors; `shape` is columns, dimensions, rows of a class together."""
    columns, dimensions, together = shape
    features = [{"input_ids": torch.zeros(rows, 1, dtype=torch.int64)} for _ in range(columns)]
    leaves = [torch.randn(rows, dimensions, device=model.device).requires_grad_() for _ in features]
    answers = {id(column["input_ids"]): leaf for column, leaf in zip(features, leaves, strict=True)}
    labels = (torch.arange(rows, device=model.device) // together) % (2 if columns > 1 else rows)

    def value() -> Tensor:
        with answering(model, answers, type(loss).__name__):
            found: Tensor = loss(features, labels)
        return found

    return kept_bytes(value, [*loss.parameters(), *leaves])


def _kept(model: SentenceTransformer, features: Mapping[str, Any]) -> int:
    return kept_bytes(lambda: model(dict(features))[VECTOR], list(model.parameters()))


def kept_bytes(run: Callable[[], Tensor], but: Sequence[Tensor] = ()) -> int:
    """Bytes of all that the graph of what `run` gives keeps for the way back, shared memory once, without `but`."""
    noted: list[weakref.ref[_Held]] = []

    def note(tensor: Tensor) -> _Held:
        held = _Held(tensor.detach())  # the tensor itself would be held in a circle
        noted.append(weakref.ref(held))
        return held

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda held: held.tensor):
        result = run()
    storages = [held.tensor.untyped_storage() for held in (reference() for reference in noted) if held is not None]
    there = {tensor.untyped_storage().data_ptr() for tensor in but}
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    del result  # until here, so that the graph is there
    return sum(size for place, size in sizes.items() if place not in there)


@dataclass(frozen=True, eq=False)
class _Held:
    """A tensor as the graph holds it: gone when the graph lets go of it."""

    tensor: Tensor


@contextmanager
def _as_trained(model: SentenceTransformer, recipe: Recipe) -> Iterator[None]:
    """Inside, the model computes as in training; afterwards modes and chance are as before."""
    still = [module for module in model.modules() if not module.training]
    assert recipe.train.precision != "auto"
    with ExitStack() as stack:
        stack.enter_context(chance_kept(model.device))
        stack.enter_context(applied(model, recipe.train.precision))
        model.train()
        try:
            yield
        finally:
            for module in still:
                module.training = False


#: What running out of memory raises: on a device, and on a processor whose memory is really limited.
_TOO_MUCH = ("out of memory", "DefaultCPUAllocator", "can't allocate memory")


def make_trial(
    model: SentenceTransformer, train: Prepared, recipe: Recipe, prompts: Mapping[str, str], memory: Memory
) -> Callable[[int | None], bool]:
    """A function that runs the worst batch, forward and backward, in chunks of so many tokens (None: uncut).

    It says whether memory sufficed, with room for what training adds to it. Gradients that were there are gone
    afterwards; weights, modes and the random state are as before.
    """

    def trial(chunk: int | None) -> bool:
        loss = _loss(model, recipe)
        way = loss if chunk is None else ChunkedLoss(loss, model, chunk)
        try:
            with _as_trained(model, recipe), torch.enable_grad():
                _run(way, model, (train, prompts, memory))
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not any(words in str(error) for words in _TOO_MUCH):
                raise
            return False
        finally:
            loss.zero_grad(set_to_none=True)
            model.zero_grad(set_to_none=True)
        return True

    return trial


def _run(loss: nn.Module, model: SentenceTransformer, batch: tuple[Prepared, Mapping[str, str], Memory]) -> None:
    train, prompts, memory = batch
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    room = torch.empty(max(0, int(memory.fixed) - trained), dtype=torch.uint8, device=model.device)
    features = []
    for place, rows in enumerate(memory.rows.T):
        name = train.text_columns[place % len(train.text_columns)]
        texts = list(train.rows.select(rows.tolist())[name])
        features.append(batch_to_device(model.preprocess(texts, prompt=prompts.get(name)), model.device))
    target = TARGET_COLUMN.get(train.shape)
    chosen = train.rows.select(memory.rows[:, 0].tolist())
    labels = torch.tensor(list(chosen[target]) if target else [0] * len(chosen), device=model.device)
    merge(features)
    with column_merging_disabled() if merges(model) else nullcontext():
        loss(features, labels).backward()
    del room
