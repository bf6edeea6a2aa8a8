"""The joint report of a search: a page that needs nothing else, and the same for terminals and pull requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from embertune.report import numbers
from embertune.report.drawing import table
from embertune.report.figures import drawn
from embertune.report.markdown import retention_table
from embertune.report.page import SIGNS, template
from embertune.report.plots import csv_link
from embertune.report.results import BEFORE, Row
from embertune.report.searchplots import LOOKS, best_so_far, beyond, history_plot, learning_plot, slice_plots, won
from embertune.report.seeds import HOW_OVER_SEEDS, moved, table_row
from embertune.report.shown import begun, code, code_cell, fenced, prose, shortened
from embertune.report.sparks import sparkline
from embertune.report.trials import (
    ORIGINS,
    Against,
    against,
    as_rows,
    best_first,
    by_seed,
    caution,
    columns,
    counted,
    on_parts,
    ordered,
    settings_of,
    untested,
    varied,
)
from embertune.report.tried import Searched, Tried

#: How the winner's recipe is run, in the folder that holds it.
RUN = "embertune run recipe.yaml"
#: How the table of candidates is to be read.
CONFIRMED = "Each was trained anew on all rows; the winner is the best of them by the mean on dev."
#: Trials that report.md shows; all are in report.html.
_SHOWN = 10
_HEAD = "| metric | before | the winner | change [95 % interval] | p |\n|---|--:|--:|--:|--:|"


def to_html(found: Searched) -> str:
    """The whole page."""
    trials, names = ordered(found)
    paths, confirmed = columns(found)
    measured = against(found)
    learning = learning_plot(found)
    course = drawn([history_plot(found), *([learning] if learning else [])])
    slices = drawn(slice_plots(found))
    page = template("search.html").render(
        found=found,
        sign=SIGNS.get(found.gain.verdict, "") if found.gain else "",
        counted=counted(found),
        confirmed=confirmed,
        differing=paths,
        measured=measured,
        main=table(_sets(measured, primary=True)),
        further=table(_sets(measured, primary=False)),
        how=HOW_OVER_SEEDS,
        before=BEFORE,
        confirmed_how=CONFIRMED,
        untested=untested(found),
        course=course,
        slices=slices,
        beyond=any(beyond(one.plot) for one in slices),
        varied=varied(found),
        most=max(found.importance.values(), default=0.0) or 1.0,
        shares=csv_link([("setting", "share"), *found.importance.items()]),
        caution=caution(found),
        trials=[(trial, settings_of(trial, names)) for trial in trials],
        table=csv_link(as_rows(found)),
        won=won(found),
        origins=ORIGINS,
        marks=list(LOOKS.items()),
        on_parts=on_parts(found),
        run=RUN,
    )
    return page.rstrip() + "\n"


def _sets(measured: Sequence[Against], primary: bool) -> list[tuple[str, str, list[Row]]]:
    """What the winner was held against, by test set: the primary metric of each, or all others."""
    sets = [
        (f"against {one.what}", group.name, [row for row in (*group.main, *group.further) if row.primary == primary])
        for one in measured
        for group in one.groups
    ]
    return [one for one in sets if one[2]]


def to_markdown(found: Searched) -> str:
    """The whole report; of many trials, the best."""
    parts = [
        *_answer(found),
        *_confirmed(found),
        *_tested(found),
        *_varied(found),
        *_trials(found),
        "## The winner's recipe",
        fenced(found.recipe, "yaml"),
        fenced(RUN, "sh"),
    ]
    return "\n\n".join(parts) + "\n"


def _answer(found: Searched) -> Iterator[str]:
    yield "# Search"
    yield f"**{prose(begun(found.answer)).rstrip('.')}.**"
    base = f"The base has {numbers.number(found.base)} {code(found.metric)} on dev."
    yield f"{begun(counted(found))}. {base} {on_parts(found)}"


def _confirmed(found: Searched) -> Iterator[str]:
    """The candidates side by side."""
    if not found.candidates:
        return
    yield "## Confirmed on all rows"
    paths, confirmed = columns(found)
    names = [f"**{prose(one.one.name)} (winner)**" if one.winner else prose(one.one.name) for one in confirmed]
    lines = [table_row(["", *names]), "|---|" + "--:|" * len(names)]
    lines.append(table_row([f"dev {code_cell(found.metric)}, mean", *(numbers.number(c.one.mean) for c in confirmed)]))
    lines.append(table_row(["of each seed", *(by_seed(one.one) for one in confirmed)]))
    for place, path in enumerate(paths):
        lines.append(table_row([code_cell(path), *(code_cell(one.cells[place]) for one in confirmed)]))
    yield "\n".join(lines)
    yield CONFIRMED


def _tested(found: Searched) -> Iterator[str]:
    """The winner on test."""
    yield "## On test"
    if why := untested(found):
        yield why
    for one in against(found):
        yield f"### Against {one.what}"
        yield f"{prose(begun(one.joint.sentence)).rstrip('.')}."
        rows = [row for group in one.groups for row in (*group.main, *group.further)]
        yield "\n".join([_HEAD, *map(_row, rows)])
        if one.joint.retention:
            yield BEFORE
            yield retention_table(one.joint.retention)
    if found.gain or found.over_base:
        yield HOW_OVER_SEEDS


def _row(row: Row) -> str:
    mark = "**" if row.primary else ""
    change = row.change
    cells = [moved(change), numbers.p_value(change.p)] if change else ["", ""]
    values = [numbers.number(row.baseline), numbers.number(row.tuned)]
    return table_row([f"{mark}{code_cell(row.metric)}{mark}", *values, *cells])


def _varied(found: Searched) -> Iterator[str]:
    yield "## What was varied"
    if told := caution(found):
        yield told
    lines = ["| setting | explains | tried |", "|---|--:|---|"]
    for one in varied(found):
        share = "" if one.share is None else numbers.percent(one.share)
        lines.append(table_row([code_cell(one.path), share, prose(one.words)]))
    yield "\n".join(lines)


def _trials(found: Searched) -> Iterator[str]:
    """The best trials, and those that failed with their errors."""
    best, (_, names) = best_first(found), ordered(found)
    yield "## Trials"
    if best:
        yield f"Best so far: `{sparkline([value for _, value in best_so_far(found)], 40)}`"
        lines = ["| trial | | state | dev | time | settings |", "|--:|---|---|--:|--:|---|"]
        lines += [_trial(trial, found, dict(settings_of(trial, names))) for trial in best[:_SHOWN]]
        yield "\n".join(lines)
        if len(best) > _SHOWN:
            yield f"The best {_SHOWN} of {len(best)}; all are in report.html."
    if failed := [trial for trial in found.tried if trial.error]:
        yield "### Failed"
        lines = [f"- trial {trial.number}: {prose(shortened(trial.error))}" for trial in failed[:_SHOWN]]
        yield "\n".join(lines + ([f"- and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []))


def _trial(trial: Tried, found: Searched, settings: dict[str, str]) -> str:
    mark = "**winner**" if trial.number == won(found) else ""
    about = ", ".join(filter(None, [mark, ORIGINS[trial.origin]]))
    value = numbers.number(trial.value if trial.value is not None else float("nan"))
    told = " ".join(code_cell(f"{name}: {value}") for name, value in settings.items())
    return table_row([str(trial.number), about, trial.state, value, numbers.duration(trial.seconds), told])
