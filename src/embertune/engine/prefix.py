"""The prefix of a backbone: embeddings and the lowest blocks, frozen, whose states for a text are computed once.

States are kept by what is read: the key of a text is a hash of its token ids. While a prefix is entered, the forward
passes of its blocks are replaced on the instances: the first gives the stored states of the flat tokens of a pass, the
others hand them on. A text that is not stored runs through the real blocks, without a graph, and its states are
rounded as the store would round them; so what a pass gives does not hang on what happens to be stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embertune.engine.flat import Features, FlatForward
from embertune.engine.layout import Layout, lay_out, some
from embertune.engine.precision import Precision, context, in_use
from embertune.engine.prefixstore import States, StateStore, keys_of_tokens
from embertune.errors import ModelError

#: The fewest tokens of a pass whose products do not hang on its size: with fewer, libraries take other ways to add up
#: (docs/lab.md). Smaller passes are done with copies of their texts.
FEWEST = 64


class Prefix:
    """The lowest `depth` of the `blocks` of the module that `forward` stands in for, and the embeddings.

    Holds for passes in `precision`; others, and whatever is not flat tokens of plain texts, run as if it were not
    there. All its parameters must be frozen while it is entered.
    """

    def __init__(
        self, forward: FlatForward, blocks: Sequence[nn.Module], depth: int, store: StateStore, precision: Precision
    ) -> None:
        self.forward, self.depth, self.store, self.precision = forward, depth, store, precision
        self.doing: _Doing | None = None
        self.tuples = False
        self._blocks = [_Block(block, place, self) for place, block in enumerate(blocks)]
        self._dtype = torch.float32

    def over(self, store: StateStore) -> Prefix:
        """The same over another store, with what was learnt about the blocks."""
        other = Prefix(self.forward, [block.module for block in self._blocks], self.depth, store, self.precision)
        other.tuples, other._dtype = self.tuples, self._dtype
        return other

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, passes of the module read the store."""
        if self.forward.prefix is not None:
            raise ValueError("another prefix is entered")
        for block in self._blocks:
            vars(block.module)["forward"] = block
        self.forward.prefix = self
        try:
            yield
        finally:
            self.forward.prefix = None
            for block in self._blocks:
                if block.before is None:
                    del vars(block.module)["forward"]
                else:
                    vars(block.module)["forward"] = block.before

    def __call__(self, flat: Features, layout: Layout, kwargs: Mapping[str, Any]) -> Features:
        """The backbone on flat features (1, T), from the states of the prefix on."""
        if kwargs or not self._is_plain(flat, layout):
            return self.forward.backbone(flat, layout, kwargs)
        with self._as(_Doing(self._states(flat, layout))):
            return self.forward.backbone(flat, layout, kwargs)

    def compute(self, features: Features) -> States:
        """States of texts (rows of a column's features, sorted by length), end to end, as they are stored."""
        return self._stored(self.exact(features))

    def exact(self, features: Features) -> Tensor:
        """The same before they are rounded, (T, d)."""
        layout = lay_out([features["attention_mask"]])
        assert layout is not None
        here = nullcontext() if self.forward.prefix is self else self.entered()
        with here, context(self.precision, layout.index.device):
            return self._compute(self.forward.flat([features], layout), layout)

    def _is_plain(self, flat: Features, layout: Layout) -> bool:
        """Whether the states of these texts hang on their tokens alone, and are computed as the stored ones were."""
        config = self.forward.module.model.config
        ends = np.cumsum(layout.lengths)
        starts = flat["position_ids"][0, torch.from_numpy(ends - layout.lengths).to(layout.index.device)]
        types = flat.get("token_type_ids")
        return (
            in_use(layout.index.device) == self.precision
            and not config.output_hidden_states
            and flat.get("task") is None
            and bool((starts == self.forward.first_position).all())
            and (types is None or not bool(types.any()))
        )

    def _states(self, flat: Features, layout: Layout) -> Tensor:
        """Of all texts of a pass, (1, T, d): stored ones, and the others' as they would be stored."""
        lengths = layout.lengths
        found = self.store.find(*keys_of_tokens(flat["input_ids"][0].cpu().numpy(), lengths))
        there = found.row >= 0
        if there.all():
            rows, _ = found.ids()
        elif not there.any():
            rows = self._stored(self._compute(flat, layout))
        else:
            part, index = some(layout, np.flatnonzero(~there))
            rows = np.empty((layout.tokens, self.store.width), self.store.storage)
            kept = np.repeat(there, lengths)
            rows[kept], _ = found[np.flatnonzero(there)].ids()
            rows[~kept] = self._stored(self._compute(_at(flat, index), part))
        return torch.from_numpy(rows).to(layout.index.device, self._dtype).unsqueeze(0)

    def _stored(self, states: Tensor) -> States:
        """States (T, d) as the store keeps them."""
        stored: States = states.to(getattr(torch, self.store.storage)).cpu().numpy()
        if not np.isfinite(stored).all() and bool(states.isfinite().all()):
            found = f"{self.store.storage} does not hold the states behind {self.depth} blocks, which are as large as "
            raise ModelError(
                "train.prefix_cache", f"{found}{states.abs().max():.0f}", "write train.prefix_cache: float32"
            )
        return stored

    def _compute(self, flat: Features, layout: Layout) -> Tensor:
        """States (T, d) of the texts of a pass, through the real blocks."""
        copies = -(-FEWEST // layout.tokens)
        if copies > 1:
            whole, index = some(layout, np.repeat(np.arange(len(layout.lengths)), copies))
            first = np.repeat(np.arange(len(whole.lengths)) % copies == 0, whole.lengths)
            return self._compute(_at(flat, index), whole)[torch.from_numpy(first).to(index.device)]
        doing = _Doing()
        with torch.no_grad(), still(self.forward.module), self._as(doing):
            self.forward.backbone(dict(flat), layout, {})
        torch.clear_autocast_cache()  # weights cast without a graph would take no gradient
        assert doing.states is not None
        self._dtype = doing.states.dtype
        return doing.states[0]

    @contextmanager
    def _as(self, doing: _Doing) -> Iterator[None]:
        self.doing = doing
        try:
            yield
        finally:
            self.doing = None


@dataclass
class _Doing:
    """What a pass is for: handing on `states` (1, T, d), or finding them out, where there are none yet."""

    states: Tensor | None = None
    given: bool = False

    def __post_init__(self) -> None:
        self.given = self.states is not None


class _Block:
    """Stands in for `forward` on one block."""

    def __init__(self, module: nn.Module, place: int, prefix: Prefix) -> None:
        self.module, self.place, self.prefix = module, place, prefix
        self.before = vars(module).get("forward")
        self.own = module.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """(1, T, d), or a tuple of that, as the block itself gives it."""
        doing, inside = self.prefix.doing, self.place < self.prefix.depth
        if doing is None or doing.given != inside:
            made = self.own(*args, **kwargs)
            if doing is not None and self.place == self.prefix.depth - 1:
                self.prefix.tuples = isinstance(made, tuple)
                doing.states = made[0] if self.prefix.tuples else made
            return made
        hidden = args[0] if args else kwargs["hidden_states"]
        states = doing.states if doing.given and self.place == 0 else hidden
        return (states,) if self.prefix.tuples else states


def _at(flat: Features, index: Tensor) -> Features:
    """The features (1, T) of some of the tokens."""
    return {
        name: value.index_select(1, index) if isinstance(value, Tensor) and value.ndim == 2 else value
        for name, value in flat.items()
    }


@contextmanager
def still(module: nn.Module) -> Iterator[None]:
    """Without dropout; every part's own mode comes back."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
