"""Large batches in bounded memory: gradient caching for any loss that asks the model for sentence vectors.

Gao et al. 2021, arXiv:2101.06983, section 3. All texts of a batch are embedded without a graph, chunk by chunk; the
loss is computed on the vectors; on the way back each chunk is embedded once more and takes the gradients of its
vectors. The result is that of the plain loss, at the cost of one forward pass more. Two things are our own: chunks run
over all columns together, longest texts first, so that they hold little padding; and the graph of the last chunk is
kept, so that a batch that fits in one chunk is not embedded twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.merged_forward import column_merging_disabled
from torch import Tensor, nn

from embertune.errors import TrainingError
from embertune.training.texts import Texts, cut, gather

#: The key under which the host's models leave a text's vector.
VECTOR = "sentence_embedding"


class ChunkedLoss(nn.Module):
    """`loss` with the activations of at most `chunk` real tokens in memory; a longer text is a chunk of its own.

    Loss and gradients are those of `loss` up to rounding; dropout is the same in both passes over a text. The scalar
    that comes back has no graph: `backward` on it, once, embeds again and leaves gradients in the parameters of the
    model and of the loss, scaled by what comes in (accumulation, a gradient scaler). Raises `TrainingError` where a
    model's features are not padded rows of tokens, or where the loss asks for more than the columns of its batch.
    """

    def __init__(self, loss: nn.Module, model: SentenceTransformer, chunk: int) -> None:
        super().__init__()
        self.loss, self.model, self.chunk = loss, model, chunk

    def forward(self, sentence_features: Iterable[Mapping[str, Any]], labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, a scalar; columns of features as the host's collator makes them, each (rows, width)."""
        if not isinstance(self.model, SentenceTransformer):
            found = f"found {self.chunk} for a model that is wrapped in {type(self.model).__name__}"
            raise TrainingError("train.chunk", found, "write train.chunk: null, or train without the wrapper")
        columns = list(sentence_features)
        chunks = _chunks(gather(columns, _padding(self.model)), self.chunk)
        vectors, states, kept = _embed(self.model, chunks)
        leaves = [part.detach().requires_grad_(kept is not None) for part in torch.split(vectors, _rows(columns))]
        loss = self._of_vectors(columns, leaves, labels)
        if not (torch.is_grad_enabled() and loss.requires_grad):
            return loss
        heads = _heads(self.loss, self.model)
        wanted = [*(leaves if kept is not None else []), *heads]
        found_gradients = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        back = _Back(
            self.model,
            chunks,
            states,
            kept,
            torch.cat(found_gradients[: len(leaves)]) if kept is not None else None,
            list(zip(heads, found_gradients[len(wanted) - len(heads) :], strict=True)),
            _autocast(vectors.device.type),
        )
        value = loss.detach().requires_grad_()
        value.register_hook(back)  # type: ignore[no-untyped-call]  # torch does not type it
        return value

    def _of_vectors(self, columns: Sequence[Mapping[str, Any]], leaves: Sequence[Tensor], labels: Any) -> Tensor:
        """The loss on vectors that are there already, one leaf (rows, d) for each column."""
        answers = {id(column["input_ids"]): leaf for column, leaf in zip(columns, leaves, strict=True)}
        with answering(self.model, answers, type(self.loss).__name__):
            loss: Tensor = self.loss([dict(column) for column in columns], labels)
        return loss


@contextmanager
def answering(model: SentenceTransformer, answers: Mapping[int, Tensor], loss: str) -> Iterator[None]:
    """Inside, `model(features)` answers with known vectors: `answers` goes from the id of `input_ids` to (rows, d).

    Only the instance is changed, and only inside. A call with other features is a `TrainingError` that names `loss`.
    """

    def answer(features: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        known = answers.get(id(features.get("input_ids")))
        if known is None:
            found = f"{loss} asks the model for more than the columns of its batch, which cannot be done in chunks"
            raise TrainingError("train.chunk", found, "write train.chunk: null, and a smaller train.batch_size")
        return {**features, VECTOR: known}

    before = vars(model).get("forward")
    vars(model)["forward"] = answer
    try:
        with column_merging_disabled():
            yield
    finally:
        if before is None:
            del vars(model)["forward"]
        else:
            vars(model)["forward"] = before


@dataclass(frozen=True)
class _Chunk:
    """Texts to embed in one call: `rows` (n,) of `texts`, longest first."""

    texts: Texts
    rows: Tensor

    @property
    def places(self) -> Tensor:
        """Where these texts stand in the batch, (n,): columns one after the other."""
        return self.texts.places[self.rows]

    def embed(self, model: SentenceTransformer) -> Tensor:
        """Their vectors, (n, d); nothing else of what the model makes is held."""
        vectors: Tensor = model(self.texts.features(self.rows))[VECTOR]
        return vectors


def _chunks(groups: Sequence[Texts], most: int) -> list[_Chunk]:
    """All texts in chunks of at most `most` tokens, the fullest one last."""
    made = []
    for texts in groups:
        order = torch.argsort(texts.lengths, descending=True, stable=True)
        sizes = cut(texts.lengths[order].tolist(), most)
        made += [_Chunk(texts, rows) for rows in torch.split(order, sizes)]
    return sorted(made, key=lambda chunk: int(chunk.texts.lengths[chunk.rows].sum()))


def _embed(model: SentenceTransformer, chunks: Sequence[_Chunk]) -> tuple[Tensor, list[list[Tensor]], Tensor | None]:
    """All vectors (texts, d) in the order of the batch, the random states before each chunk, the last chunk's graph.

    The graph is that of its vectors (n, d); None where no gradient is wanted or nothing in the model is trained.
    """
    *others, last = chunks
    states, parts = [], []
    with torch.no_grad():
        for chunk in others:
            states.append(_chance(chunk.rows.device))
            parts.append(chunk.embed(model))
    kept = last.embed(model)
    parts.append(kept.detach())
    places = torch.cat([chunk.places for chunk in chunks])
    vectors = torch.cat(parts)
    ordered = torch.empty_like(vectors).index_copy_(0, places, vectors)
    return ordered, states, kept if kept.requires_grad else None


@dataclass(frozen=True)
class _Back:
    """The way back: called with the gradient of the loss, a scalar, it leaves gradients in all parameters."""

    model: SentenceTransformer
    chunks: Sequence[_Chunk]
    states: Sequence[Sequence[Tensor]]
    kept: Tensor | None
    gradients: Tensor | None
    heads: Sequence[tuple[nn.Parameter, Tensor]]
    autocast: Any

    def __call__(self, scale: Tensor) -> None:
        """`gradients` (texts, d) are those of the vectors, `heads` those of the loss's own parameters."""
        for parameter, gradient in self.heads:
            torch.autograd.backward([parameter], [gradient * scale])
        if self.gradients is None or self.kept is None:
            return
        gradients = self.gradients * scale
        *others, last = self.chunks
        torch.autograd.backward([self.kept], [gradients[last.places]])
        torch.clear_autocast_cache()  # weights cast without a graph would take no gradient
        with torch.enable_grad(), self.autocast(), chance_kept(last.rows.device):
            for chunk, state in zip(others, self.states, strict=True):
                _set_chance(state, chunk.rows.device)
                torch.autograd.backward([chunk.embed(self.model)], [gradients[chunk.places]])


def _heads(loss: nn.Module, model: nn.Module) -> list[nn.Parameter]:
    """Parameters of the loss that are not the model's."""
    of_model = {id(parameter) for parameter in model.parameters()}
    return [p for p in loss.parameters() if p.requires_grad and id(p) not in of_model]


def _rows(columns: Sequence[Mapping[str, Any]]) -> list[int]:
    return [len(column["input_ids"]) for column in columns]


def _padding(model: SentenceTransformer) -> int:
    """The id of the padding token: the RoBERTa family counts positions by it."""
    return int(getattr(model.tokenizer, "pad_token_id", None) or 0)


def _autocast(device: str) -> Any:
    """Makes the autocast that is on now, to be entered later: the way back runs outside of it."""
    on, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return partial(torch.autocast, device, dtype=dtype, enabled=on)


def _chance(device: torch.device) -> list[Tensor]:
    """The state of the generators that decide over dropout: the processor's and the device's."""
    states = [torch.get_rng_state()]
    return states if device.type == "cpu" else [*states, torch.get_device_module(device).get_rng_state()]


def _set_chance(states: Sequence[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1])


@contextmanager
def chance_kept(device: torch.device) -> Iterator[None]:
    """Afterwards chance stands where it stood before."""
    with ExitStack() as stack:
        stack.callback(_set_chance, _chance(device), device)
        yield
