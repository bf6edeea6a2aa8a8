"""The joint report of a cross-validation, for terminals and pull requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.folds import Crossed, Growth
from embertune.report import numbers
from embertune.report.seeds import moved, table_row
from embertune.report.shown import begun, code, code_cell, prose

#: How the interval over folds is to be read.
HOW_OVER_FOLDS = (
    "Each row is test in one fold, and no group stands on both sides of one. The interval of the mean is corrected for "
    "folds that share most of their training rows (Nadeau & Bengio 2003), and so wider than the folds alone look."
)


@dataclass(frozen=True)
class Fold:
    """What the run of one fold came to on it, by the primary metric."""

    number: int
    items: int
    baseline: float
    tuned: float
    change: Change
    chosen: str
    best_step: int
    steps: int


def to_markdown(found: Crossed, folds: Sequence[Fold], steps: int, final: str, grown: Growth | None) -> str:
    """The whole report; `final` is the folder of the model trained on all rows, '' for none."""
    parts = [*_parts(found, folds, steps, final), *(_curve(grown) if grown else ())]
    return "\n\n".join([*parts, *_all(found)]) + "\n"


def _curve(grown: Growth) -> Iterator[str]:
    """What each part of the training rows reached, and what more of them would add."""
    yield "## Would more data help?"
    yield f"**{prose(begun(grown.answer))}.**"
    lines = ["| training rows | reached, mean of the folds |", "|--:|--:|"]
    lines += [f"| {rows:,} | {numbers.number(value)} |" for rows, value in zip(grown.rows, grown.values, strict=True)]
    yield "\n".join(lines)


def _parts(found: Crossed, folds: Sequence[Fold], steps: int, final: str) -> Iterator[str]:
    yield f"# {len(folds)} folds"
    yield f"**{prose(begun(found.sentence))}.**"
    best = (
        f"The median of the folds' best steps is {steps:,}." if steps else "In most folds nothing beat the base on dev."
    )
    kept = f" A model trained so long on all rows is in {code(final)}." if final else ""
    yield f"{best}{kept} The reports of the single runs are in their folders."
    yield f"## {code(found.primary)}"
    yield "\n".join(_by_fold(found, folds))
    yield HOW_OVER_FOLDS


def _all(found: Crossed) -> Iterator[str]:
    yield "## All metrics"
    yield "\n".join(_metrics(found))
    yield "The p-values of all metrics but the primary one are adjusted together (Holm)."


def _by_fold(found: Crossed, folds: Sequence[Fold]) -> Iterator[str]:
    yield "| fold | items | baseline | tuned | change [95 % interval] | saved | best step |"
    yield "|--:|--:|--:|--:|--:|---|--:|"
    for one in folds:
        values = [numbers.number(one.baseline), numbers.number(one.tuned), moved(one.change)]
        yield table_row([str(one.number), f"{one.items:,}", *values, one.chosen, f"{one.best_step:,} of {one.steps:,}"])
    mean = found.metrics[found.primary]
    values = [numbers.number(_mean(side)) for side in (mean.baseline, mean.tuned)]
    yield table_row(["**mean**", f"{found.counts.items:,}", *values, f"**{moved(mean.change)}**", "", ""])
    yield table_row(["deviation", "", "", "", numbers.number(mean.deviation), "", ""])


def _metrics(found: Crossed) -> Iterator[str]:
    yield "| metric | baseline | tuned | change [95 % interval] | deviation over folds | p |"
    yield "|---|--:|--:|--:|--:|--:|"
    for metric, one in found.metrics.items():
        values = [numbers.number(_mean(one.baseline)), numbers.number(_mean(one.tuned)), moved(one.change)]
        yield table_row([code_cell(metric), *values, numbers.number(one.deviation), numbers.p_value(one.change.p)])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
