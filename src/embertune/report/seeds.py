"""The joint report of several seeds, for terminals and pull requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.seeds import Joint
from embertune.report import numbers
from embertune.report.markdown import retention_table
from embertune.report.results import BEFORE
from embertune.report.shown import begun, code, code_cell, prose

#: How the interval over seeds is to be read.
HOW_OVER_SEEDS = (
    "The interval of the mean covers which test items were drawn, and what training draws: the order of batches, "
    "dropout, first weights. All seeds have the same splits and test rows."
)


#: What stands over the table of seeds.
HEADS = ("seed", "baseline", "tuned", "change [95 % interval]", "p", "saved", "dev", "verdict")


@dataclass(frozen=True)
class Seed:
    """What the run of one seed came to: the primary metric after training, its change, and dev of what was saved."""

    number: int
    verdict: str
    tuned: float
    change: Change
    chosen: str
    dev: float
    steps: int


def to_markdown(found: Joint, seeds: Sequence[Seed], why: str) -> str:
    """The whole report."""
    return "\n\n".join(_parts(found, seeds, why)) + "\n"


def _parts(found: Joint, seeds: Sequence[Seed], why: str) -> Iterator[str]:
    yield f"# {len(seeds)} seeds"
    yield f"**{prose(begun(found.sentence))}.**"
    yield f"{prose(begun(why))}. The reports of the single runs are in their folders."
    if found.primary is None:
        return
    yield f"## {code(found.primary)}"
    *rows, mean, deviation = by_seed(found, seeds)
    mean = [f"**{text}**" if text and place != 1 else text for place, text in enumerate(mean)]
    yield "\n".join([table_row(HEADS), "|--:|--:|--:|--:|--:|---|--:|---|", *map(table_row, [*rows, mean, deviation])])
    yield HOW_OVER_SEEDS
    yield "## All metrics"
    yield "\n".join(_metrics(found))
    yield "The p-values of all metrics but the primary one are adjusted together (Holm)."
    if found.retention:
        yield "## What it could do before"
        yield BEFORE
        yield retention_table(found.retention)


def by_seed(found: Joint, seeds: Sequence[Seed]) -> list[list[str]]:
    """The cells of a line for each seed, one for the mean and one for the deviation, under `HEADS`."""
    assert found.primary is not None
    mean, before = found.change[found.primary], numbers.number(found.baseline[found.primary])
    rows = []
    for one in seeds:
        values = [numbers.number(one.tuned), moved(one.change), numbers.p_value(one.change.p_value)]
        rows.append([str(one.number), before, *values, one.chosen, numbers.number(one.dev), one.verdict])
    values = [numbers.number(found.tuned[found.primary]), moved(mean.change), numbers.p_value(mean.change.p_value)]
    rows.append(["mean", before, *values, "", "", found.verdict])
    return [*rows, ["deviation", "", "", numbers.number(mean.deviation), "", "", "", ""]]


def _metrics(found: Joint) -> Iterator[str]:
    yield "| metric | baseline | tuned | change [95 % interval] | deviation over seeds | p |"
    yield "|---|--:|--:|--:|--:|--:|"
    for metric, one in found.change.items():
        values = [numbers.number(found.baseline[metric]), numbers.number(found.tuned[metric]), moved(one.change)]
        yield table_row([code_cell(metric), *values, numbers.number(one.deviation), numbers.p_value(one.change.p)])


def moved(change: Change) -> str:
    """`+0.0120 [+0.0012, +0.0160]`; a dash where nothing was measured."""
    told = f"{numbers.signed(change.difference)} {numbers.interval(change.low, change.high)}"
    return numbers.NOTHING if change.difference != change.difference else told


def table_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
