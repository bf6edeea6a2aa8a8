"""The section `guard`: when training is looked at, what counts as better, and what is done where it goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from embertune.errors import Problem
from embertune.recipe.remedying import OnOverfit, Remedies, with_remedies
from embertune.recipe.section import Section, leaf
from embertune.recipe.units import ErrorsText, EveryText, PatienceText


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
    min_change: Annotated[float, Field(ge=0)] | ErrorsText | None = leaf(
        "auto",
        "by how much dev must be better than when it last was, for patience to begin anew; standard errors are those "
        "of the difference on the same items; null where there is no patience",
        "auto, a difference such as 0.002, or '1 standard error'",
    )
    metric: str | None = leaf(
        "auto",
        "the dev metric that chooses the best state, or loss, the loss on dev rows; null where there is no dev",
        "auto, loss, or a metric such as cosine_accuracy",
    )
    budget: Annotated[float, Field(gt=0, le=1)] | None = leaf(
        0.15,
        "tokens encoded to look at dev, at most this share of those trained: dev is sampled, then looked at less often",
        "a share such as 0.15, or null for no limit",
    )
    items: Annotated[int, Field(ge=2)] | None = leaf(
        None,
        "dev items that each look measures, by the hash of the group, whatever they cost: the same ones in every run "
        "on this data and seed, so that their figures compare; guard.budget then decides over eval_every alone",
        "null (as many as guard.budget allows) or a whole number of at least 2",
    )
    on_overfit: OnOverfit = leaf(
        "stop",
        "what is done at the diagnosis overfitting: stop ends training, regularise goes back to the best state and on "
        "with the next of guard.remedies, warn only tells it",
        "stop, regularise or warn",
    )
    remedies: Remedies | None = leaf(
        None,
        "with on_overfit: regularise, what is done in which order, each with its limit; null there takes all",
        "null or a list such as [rate 0.125, dropout 0.3], out of rate, dropout, weight_decay, freeze, augment and "
        "batch_size",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_remedies(cls, guard: Any) -> Any:
        return with_remedies(guard)


#: Settings that say nothing where there is no dev; all are null there once resolved.
ON_DEV = ("eval_every", "patience", "min_change", "metric", "budget", "items")


def problems_of_guard(guard: GuardSection, *, dev: bool) -> Iterator[Problem]:
    """What cannot stand without dev rows, what must stand with them, and remedies that nothing calls for."""
    if guard.remedies is not None and guard.on_overfit != "regularise":
        found = f"has no effect with on_overfit: {guard.on_overfit}"
        yield Problem("guard.remedies", found, "leave it out, or write on_overfit: regularise")
    if not dev and guard.on_overfit != "stop":
        yield Problem("guard.on_overfit", "has no effect without dev rows", "leave it out, or give data.dev")
    if not dev:
        for name in ON_DEV:
            if name in guard.model_fields_set and getattr(guard, name) not in (None, "auto"):
                yield Problem(f"guard.{name}", "has no effect without dev rows", "leave it out, or give data.dev")
        return
    yield from _problems_of_change(guard)
    for name in ("eval_every", "metric"):
        if getattr(guard, name) is None:
            yield Problem(f"guard.{name}", "found null with dev rows", "write auto, or data.dev: none")


def _problems_of_change(guard: GuardSection) -> Iterator[Problem]:
    if guard.patience is None and guard.min_change not in (None, "auto"):
        remedy = "leave it out, or give guard.patience"
        yield Problem("guard.min_change", "has no effect without guard.patience", remedy)
    if guard.patience is not None and guard.min_change is None:
        yield Problem("guard.min_change", "found null with guard.patience", "write auto, or 0 for any difference")
