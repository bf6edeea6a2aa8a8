"""What a finished run teaches: the facts measured in it, and the advice that follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from embertune.data.findings import Finding
from embertune.evaluate.proof import Proof
from embertune.model.build import positions_of
from embertune.plan import Plan
from embertune.recipe.advice import Advice, Outcome, advice
from embertune.report.story import Story
from embertune.training.fit import Fit

#: The share of the steps at the end over which the loss is averaged.
_LAST = 0.05


def lessons(
    planned: Plan, fitted: Fit, proof: Proof, told: Story, history: Sequence[Mapping[str, Any]]
) -> tuple[Advice, ...]:
    """What to try next."""
    return advice(outcome(planned, fitted, proof, told, history), planned.resolved.recipe)


def outcome(planned: Plan, fitted: Fit, proof: Proof, told: Story, history: Sequence[Mapping[str, Any]]) -> Outcome:
    """What the run came to; `told` is the story of its `history`."""
    sides, course, looks = planned.data.sides, planned.course, planned.looks
    change = proof.change.get(proof.primary) if proof.primary else None
    last = told.diagnosis
    model = planned.built.model
    return Outcome(
        shape=sides.train.shape,
        rows=len(sides.train),
        steps=fitted.steps,
        best_step=fitted.best_step,
        passes=course.epoch(fitted.steps),
        best_pass=course.epoch(fitted.best_step),
        loss=_last_loss(history),
        diagnosis=last.diagnosis if last else "",
        reason=last.reason if last else "",
        skipped=told.skipped,
        helped=told.helped,
        fell_at_once=told.fell_at_once,
        dev_rows=looks.of if looks else 0,
        dev_looked_at=looks.items if looks else 0,
        test_rows=proof.counts.items if proof.counts else 0,
        verdict=proof.verdict,
        **({"difference": change.difference, "low": change.low, "high": change.high} if change else {}),
        reads=model.max_seq_length,
        could_read=positions_of(model),
        found=_found(planned.findings),
    )


def _found(findings: Sequence[Finding]) -> dict[str, float]:
    """Shares by kind of what was found in train and left as it was."""
    return {one.kind: one.share for one in findings if one.side == "train" and not one.done}


def _last_loss(history: Sequence[Mapping[str, Any]]) -> float:
    losses = [record["loss"] for record in history if isinstance(record.get("loss"), int | float)]
    recent = losses[-max(1, math.ceil(_LAST * len(losses))) :]
    return sum(recent) / len(recent) if recent else math.nan
