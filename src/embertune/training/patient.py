"""A run as a treatment sees it: what it bears, and what is done to it. All of this changes the session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from embertune.errors import DataError
from embertune.training.guard import Look
from embertune.training.masked import masked_part, masking_of
from embertune.training.regime import Regime, enter
from embertune.training.remedies import Means
from embertune.training.snapshot import Snapshot

if TYPE_CHECKING:
    from embertune.training.session import Session


class Patient:
    """The session, as far as a treatment changes it."""

    def __init__(self, run: Session) -> None:
        self.run = run
        self.no_rows = ""

    def means(self) -> Means:
        """What the run bears at the moment."""
        recipe, layers = self.run.recipe, self.run.layers
        mined = recipe.data.negatives is not None and recipe.data.negatives.every is not None
        passes = "data.negatives.every needs passes of a known length" if mined else ""
        thawing = "train.unfreeze gives layers back" if recipe.train.unfreeze is not None else ""
        return Means(len(layers.table.blocks), layers.frozen.blocks, thawing, self._why_no_rows() or passes, passes)

    def _why_no_rows(self) -> str:
        recipe = self.run.recipe
        if self.run.around.augment is None:
            return "nothing makes copies of rows here"
        if recipe.data.augment is not None:
            return "data.augment made copies already"
        if recipe.train.guide is not None:
            return "train.guide knows the texts of the first pass only"
        return self.no_rows

    def enter(self, before: Regime, after: Regime) -> None:
        """Put a regime into force; where its rows cannot be made nothing is changed, DataError, and not borne again."""
        run = self.run
        if after.augmented != before.augmented:
            self._enlarge(after.augmented)
        enter(run.model, run.optimizer, before, after)
        run.layers.deeper = after.frozen_blocks

    def _enlarge(self, share: float) -> None:
        """Copies of the rows join them."""
        run = self.run
        assert run.around.augment is not None
        try:
            run.train = run.around.augment(run.train, share)
        except DataError as error:
            self.no_rows = str(error)
            raise
        if (part := masked_part(run.loss)) is not None and part.masking is not None:
            part.masking = masking_of(run.train, run.recipe)

    def back(self) -> Look | None:
        """Become again as it was at its best look, which is given back; None, and as it is, where there was none.

        Where the optimizer of that moment was not kept, it begins anew.
        """
        run = self.run
        if run.keeper.learned is not None:
            run.put_back(run.keeper.learned)
        elif run.keeper.best is not None:
            run.keeper.give(run.model)
            run.learning["optimizer"].restore(Snapshot())
            if run.layers.average is not None:
                run.layers.average.weights.clear()
        best = run.looking.stopping.best
        if best is not None:
            run.looking.anew(run.course.epoch(run.done))
        return best

    def tell(self, note: str, record: Mapping[str, Any] | None = None) -> None:
        """Say something, and write it into the history of the step that was just done."""
        run = self.run
        run.around.watch.note(note)
        if record is not None:
            run.write({"step": run.done, "epoch": run.course.epoch(run.done), **record})
