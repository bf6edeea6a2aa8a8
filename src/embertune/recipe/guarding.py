"""The section `guard`: when training is looked at, what counts as better, and what is done where it goes wrong."""

from __future__ import annotations

from embertune.recipe.section import Section, leaf
from embertune.recipe.units import EveryText, PatienceText


class GuardSection(Section):
    """When training is looked at, and when it stops."""

    eval_every: EveryText | None = leaf(
        "auto",
        "how often dev is measured; null where there is no dev",
        "auto, or steps or a share of an epoch: '500 steps', '0.25 epoch'",
    )
    patience: PatienceText | None = leaf(
        "3 evaluations", "how long dev may fail to improve before training stops", "null, '3 evaluations' or '3 epochs'"
    )
    metric: str | None = leaf(
        "auto",
        "the dev metric that chooses the best state; null where there is no dev",
        "auto or a metric such as cosine_accuracy",
    )
