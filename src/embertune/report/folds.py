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


#: What stands over the table of folds.
HEADS = ("fold", "items", "baseline", "tuned", "change [95 % interval]", "saved", "best step")


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
    kept = f" A model trained so long on all rows is in {code(final)}." if final else ""
    yield f"{best_of(steps)}{kept} The reports of the single runs are in their folders."
    yield f"## {code(found.primary)}"
    *rows, mean, deviation = by_fold(found, folds)
    mean = [f"**{text}**" if place in (0, 4) else text for place, text in enumerate(mean)]
    yield "\n".join([table_row(HEADS), "|--:|--:|--:|--:|--:|---|--:|", *map(table_row, [*rows, mean, deviation])])
    yield HOW_OVER_FOLDS


def best_of(steps: int) -> str:
    """The median of the folds' best steps in words."""
    if not steps:
        return "In most folds nothing beat the base on dev."
    return f"The median of the folds' best steps is {steps:,}."


def _all(found: Crossed) -> Iterator[str]:
    yield "## All metrics"
    yield "\n".join(_metrics(found))
    yield "The p-values of all metrics but the primary one are adjusted together (Holm)."


def by_fold(found: Crossed, folds: Sequence[Fold]) -> list[list[str]]:
    """The cells of a line for each fold, one for the mean and one for the deviation, under `HEADS`."""
    rows = []
    for one in folds:
        values = [numbers.number(one.baseline), numbers.number(one.tuned), moved(one.change)]
        rows.append([str(one.number), f"{one.items:,}", *values, one.chosen, f"{one.best_step:,} of {one.steps:,}"])
    mean = found.metrics[found.primary]
    values = [numbers.number(mean_of(side)) for side in (mean.baseline, mean.tuned)]
    rows.append(["mean", f"{found.counts.items:,}", *values, moved(mean.change), "", ""])
    return [*rows, ["deviation", "", "", "", numbers.number(mean.deviation), "", ""]]


def _metrics(found: Crossed) -> Iterator[str]:
    yield "| metric | baseline | tuned | change [95 % interval] | deviation over folds | p |"
    yield "|---|--:|--:|--:|--:|--:|"
    for metric, one in found.metrics.items():
        values = [numbers.number(mean_of(one.baseline)), numbers.number(mean_of(one.tuned)), moved(one.change)]
        yield table_row([code_cell(metric), *values, numbers.number(one.deviation), numbers.p_value(one.change.p)])


def mean_of(values: Sequence[float]) -> float:
    """The mean of one value or more."""
    return sum(values) / len(values)
