"""New negatives between passes: where a phase ends for them, and batches that stay as many as they were planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from embertune.data.prepared import Prepared
from embertune.errors import Problem, RecipeError
from embertune.recipe.negatives import WHERE
from embertune.training.batches import Batches
from embertune.training.masked import masked_part, masking_of
from embertune.training.snapshot import Snapshot

if TYPE_CHECKING:
    from embertune.training.session import Session


def boundaries(every: int, lengths: Sequence[int], batches: int, accumulate: int) -> tuple[int, ...]:
    """The steps before which negatives are mined anew: after every `every` passes, but not at the end.

    `lengths` are the batches of every pass, `batches` how many are trained on. A pass that ends between two steps,
    because gradients are accumulated, ends with the later one. Raises RecipeError where there is no such step.
    """
    passed, found, steps = 0, [], -(-batches // accumulate)
    for number, length in enumerate(lengths, 1):
        passed += length
        step = -(-passed // accumulate)
        if number % every == 0 and step < steps:
            found.append(step)
    if not found:
        raise _too_late(every, len(lengths))
    return tuple(found)


def check_every(every: int, passes: int) -> None:
    """Raise RecipeError where training ends before negatives could be mined anew, as far as passes tell."""
    if every >= passes:
        raise _too_late(every, passes)


def _too_late(every: int, passes: int) -> RecipeError:
    found = f"found {every}, and training ends after {passes} passes"
    return RecipeError(Problem(f"{WHERE}.every", found, "write a smaller number, leave it out, or train longer"))


def as_planned(plan: Callable[[int, int], Batches], lengths: Sequence[int]) -> Callable[[int, int], Batches]:
    """The batches of `plan`, as many in each pass as `lengths` says.

    Which rows may stand together hangs on their negatives, so that new ones may make a batch more or less. Where there
    are too few, the longest is halved; where there are too many, the shortest is left out.
    """

    def exact(seed: int, epoch: int) -> Batches:
        made = plan(seed, epoch)
        if epoch >= len(lengths):
            return made
        while len(made) > lengths[epoch]:
            made.remove(min(made, key=len))
        while len(made) < lengths[epoch]:
            place = max(range(len(made)), key=lambda n: len(made[n]))
            middle = len(made[place]) // 2
            made[place : place + 1] = [made[place][:middle], made[place][middle:]]
        return made

    return exact


class Renewal:
    """The mined negatives of a session, which change while it goes on; `times` says how often they did."""

    def __init__(self, run: Session) -> None:
        self.run, self.times = run, 0

    def renew(self) -> None:
        """New ones for the same rows, with the weights that would be saved at this moment."""
        run = self.run
        assert run.around.renew is not None
        with run.layers.averaged():
            self._take(run.around.renew(run.train))
        self.times += 1
        run.write({"step": run.done, "epoch": run.course.epoch(run.done), "negatives": "mined anew"})
        run.pace.restart()

    def state(self) -> Snapshot:
        """The texts of the last mining; none where there was none but the first."""
        section = self.run.recipe.data.negatives
        if section is None or not self.times:
            return Snapshot(facts={"times": self.times})
        train = self.run.train
        return Snapshot(texts_of(train.rows, train.text_columns[-section.num_negatives :]), {"times": self.times})

    def restore(self, snapshot: Snapshot) -> None:
        """The rows have the negatives that they had then."""
        self.times = snapshot.facts["times"]
        if self.times:
            self._take(replace(self.run.train, rows=with_texts(self.run.train.rows, snapshot.tensors)))

    def _take(self, train: Prepared) -> None:
        run = self.run
        run.train = train
        if (part := masked_part(run.loss)) is not None and part.masking is not None:
            part.masking = masking_of(train, run.recipe, run.around.encode)


def texts_of(rows: Dataset, columns: Sequence[str]) -> dict[str, Tensor]:
    """Columns of texts as tensors: their bytes (n,) end to end, and where each text ends (rows,)."""
    tensors = dict[str, Tensor]()
    for column in columns:
        texts = [text.encode() for text in rows[column]]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        whole = np.frombuffer(bytearray(b"".join(texts)), dtype=np.uint8)
        tensors |= {f"{column}/bytes": torch.from_numpy(whole), f"{column}/ends": torch.from_numpy(ends)}
    return tensors


def with_texts(rows: Dataset, tensors: Mapping[str, Tensor]) -> Dataset:
    """The same rows with the columns that `texts_of` took."""
    for column in dict.fromkeys(name.rpartition("/")[0] for name in tensors):
        whole, ends = tensors[f"{column}/bytes"].numpy().tobytes(), tensors[f"{column}/ends"].tolist()
        texts = [whole[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
        rows = rows.remove_columns([column] if column in rows.column_names else []).add_column(column, texts)
    return rows
