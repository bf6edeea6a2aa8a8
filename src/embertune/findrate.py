"""Proposing a learning rate for a planned run: the range test with its losses, batches, packing and precision."""

from __future__ import annotations

import os
from pathlib import Path

from embertune.model.prompts import column_prompts
from embertune.plan import Plan
from embertune.training.ranging import Found, proposed, range_test
from embertune.training.session import Surroundings
from embertune.watch import Watcher


def find_rate(planned: Plan, watch: Watcher) -> Found:
    """What a range test proposes, whatever `train.learning_rate` says; the run itself is not begun."""
    side, recipe = planned.data.sides.train, planned.resolved.recipe
    watch.stage("rate", "range test: the rate grows, the loss tells")
    planned.smaller.begin(side, planned.encode, recipe.seed)
    around = Surroundings(
        score=None,
        history=Path(os.devnull),
        watch=watch,
        prompts=column_prompts(planned.built.role_prompts, side.text_columns),
        tokens=planned.tokens,
        encode=planned.smaller.as_whole(planned.encode),
    )
    return proposed(range_test(planned.built.model, side, recipe, around))
