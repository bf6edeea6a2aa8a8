"""Shorter vectors: a linear layer after pooling that begins as principal components of the vectors of some texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import nn

from embertune.errors import ModelError
from embertune.recipe.smaller import DIMENSIONS

#: How the layer is called among the modules of a model; a second one has a number.
NAME = "head"

#: Vectors whose products are added up at a time.
_BLOCK = 4096


@dataclass(frozen=True)
class Head:
    """A layer that can be put into a model and taken out of it, in place. It stands last, but before a `Normalize`."""

    model: SentenceTransformer
    name: str
    layer: Dense

    def put_in(self) -> None:
        """The model's vectors are those of the layer."""
        modules = list(self.model._modules.items())
        end = len(modules) - isinstance(modules[-1][1], Normalize)
        modules.insert(end, (self.name, self.layer.to(self.model.device)))
        self._arrange(modules)

    def take_out(self) -> None:
        """The model's vectors are those without the layer."""
        self._arrange([(name, module) for name, module in self.model._modules.items() if name != self.name])

    def _arrange(self, modules: list[tuple[str, nn.Module | None]]) -> None:
        self.model._modules.clear()
        self.model._modules.update(modules)

    def begin_as(self, components: npt.NDArray[np.float32]) -> None:
        """Set the layer's weights to `components` (dimensions, d)."""
        with torch.no_grad():
            self.layer.linear.weight.copy_(torch.from_numpy(components))


def make_head(model: SentenceTransformer, dimensions: int) -> Head:
    """A layer to so many dimensions; not in the model yet, and its weights still say nothing.

    Raises ModelError where the model's vectors are not longer than that.
    """
    if model.truncate_dim is not None:
        found = f"the model cuts its vectors off after {model.truncate_dim} numbers"
        raise ModelError(DIMENSIONS, found, "set its truncate_dim to None, or leave this out")
    there = int(model.get_embedding_dimension() or 0)
    if dimensions >= there:
        raise ModelError(DIMENSIONS, f"found {dimensions}, and the model has {there}", f"write at most {there - 1}")
    names = (NAME, *(f"{NAME}{number}" for number in range(2, len(model) + 3)))
    free = next(name for name in names if name not in model._modules)
    with torch.random.fork_rng(devices=[]):
        layer = Dense(there, dimensions, bias=False, activation_function=nn.Identity())
    return Head(model, free, layer.train(model.training))


def components(vectors: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """The first principal components (dimensions, d) of vectors (n, d), each brought to length 1, as orthonormal rows.

    Of second moments about zero, not about the mean: what is lost of a dot product is then least on average, and a
    linear layer without bias can do no more. The largest number of every component is positive.
    """
    moments = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), _BLOCK):
        part = vectors[start : start + _BLOCK].astype(np.float64)
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
        moments += part.T @ part
    _, found = np.linalg.eigh(moments)  # ascending
    rows = found.T[::-1][:dimensions]
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
    return np.ascontiguousarray(rows * signs[:, None], dtype=np.float32)
