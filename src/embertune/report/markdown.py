"""report.md: the same report for terminals and pull requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from embertune.data.findings import Finding
from embertune.evaluate.retention import Retained
from embertune.report import numbers
from embertune.report.choice import State, states, words_of
from embertune.report.curves import Curves, curves
from embertune.report.facts import Facts
from embertune.report.layers import alike, summary, when
from embertune.report.loading import snippet
from embertune.report.markdown_seen import figures_seen, texts_seen
from embertune.report.negatives import scores
from embertune.report.results import BEFORE, HOW, Group, Row, groups, level
from embertune.report.shown import ROWS, begun, code, code_cell, fenced, prose, shortened
from embertune.report.sparks import sparkline
from embertune.report.story import story

#: Evaluations that the table of the dev metric shows; of more, some in between are left out.
LOOKS = 10


def to_markdown(facts: Facts) -> str:
    """The whole report. With `facts.examples` false, no text of the data is in it."""
    parts = [
        *_verdict(facts),
        *_results(facts),
        *_training(facts),
        *_guard(facts),
        *_data(facts),
        *_time(facts),
        "## Load the model",
        fenced(snippet(facts, facts.model_path.as_posix()), "python"),
        "## Recipe",
        fenced(facts.recipe_yaml, "yaml"),
    ]
    return "\n\n".join(parts) + "\n"


def table(found: Sequence[Group], further: bool = False) -> str:
    """The metrics as a Markdown table; with `further`, those that the main table leaves out."""
    rows = [(group.name, row) for group in found for row in (group.further if further else group.main)]
    head = f"| test set | metric | baseline | tuned | change [{level(row for _, row in rows)} interval] | p |"
    return "\n".join([head, "|---|---|--:|--:|--:|--:|", *(_line(name, row) for name, row in rows)])


def _line(name: str, row: Row) -> str:
    mark = ("**", " (primary)") if row.primary else ("", "")
    cells = [
        code_cell(name),
        f"{mark[0]}{code_cell(row.label)}{mark[0]}{mark[1]}",
        numbers.number(row.baseline),
        f"{mark[0]}{numbers.number(row.tuned)}{mark[0]}",
        f"{numbers.signed(row.change.difference)} {_interval(row)}" if row.change else "",
        numbers.p_value(row.change.p) if row.change else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _interval(row: Row) -> str:
    assert row.change is not None
    return numbers.interval(row.change.low, row.change.high)


def _states(found: Sequence[State], metric: str) -> Iterator[str]:
    """What could have been saved, where there was a choice."""
    if not found:
        return
    yield "### What could have been saved"
    kept = any(one.kept for one in found)
    head = f"| state | dev {code_cell(metric)} | behind the best |" + (" keeps more than the best |" if kept else "")
    lines = [head, "|---|--:|--:|" + ("--:|" if kept else "")]
    for one in found:
        mark = "**" if one.chosen else ""
        lines.append(f"| {mark}{one.words}{mark} | {one.dev} | {one.behind} |" + (f" {one.kept} |" if kept else ""))
    yield "\n".join(lines)


def _verdict(facts: Facts) -> Iterator[str]:
    yield f"# {prose(facts.title)}"
    yield f"**{prose(begun(facts.proof.sentence))}.**"
    stopped = f" Training stopped early: {prose(facts.stopped)}." if facts.stopped else ""
    yield f"Saved: **{words_of(facts.choice.chosen)}**. {prose(begun(facts.choice.reason))}.{stopped}"


def _results(facts: Facts) -> Iterator[str]:
    yield "## Results"
    found = groups(facts)
    if not found:
        yield "No test set was there to measure on."
        return
    yield table(found)
    yield from _counts(facts)
    yield from figures_seen(facts.seen)
    if any(group.further for group in found):
        yield "### Further metrics"
        yield table(found, further=True)
    if facts.proof.retention:
        yield "### What it could do before"
        yield BEFORE
        yield retention_table(facts.proof.retention)
    if facts.examples:
        yield from texts_seen(facts.seen)


def _counts(facts: Facts) -> Iterator[str]:
    counts = facts.proof.counts
    if counts is not None:
        won = "" if counts.wins is None else f": {counts.wins:,} won, {counts.losses:,} lost"
        yield (
            f"The primary metric rests on {counts.items:,} items in {counts.groups:,} groups, and the models differ on "
            f"{counts.discordant:,} of them{won}. {HOW}"
        )


def retention_table(retention: Sequence[Retained]) -> str:
    """What became of what the model could do before, a line for each set."""
    head = "| set | metric | before | after | change [95 % interval] | |\n|---|---|--:|--:|--:|---|"
    return "\n".join([head, *map(_retained, retention)])


def _retained(one: Retained) -> str:
    change = f"{numbers.signed(one.change.difference)} {numbers.interval(one.change.low, one.change.high)}"
    values = [numbers.number(one.before), numbers.number(one.after), change, one.word]
    return "| " + " | ".join([code_cell(one.name), code_cell(one.label), *values]) + " |"


def _training(facts: Facts) -> Iterator[str]:
    found = curves(facts.history, facts.metric, facts.best_step)
    if not found.loss and not found.dev:
        return
    yield "## Training"
    if found.smooth:
        first, last = found.smooth[0][1], found.smooth[-1][1]
        trend = f"from {numbers.number(first)} to {numbers.number(last)} over {facts.steps:,} steps"
        yield f"Training loss (running average) {trend}:\n`{sparkline([value for _, value in found.smooth], 40)}`"
    if found.dev:
        yield f"Dev {code(found.metric or '')}: `{sparkline([value for _, value in found.dev], 40)}`"
        yield _looks(found)
    yield from _states(states(facts.choice), facts.metric or "")
    yield from _layers(facts)


def _guard(facts: Facts) -> Iterator[str]:
    """The diagnosis, the remedies with what came of them, and what to try next."""
    told = story(facts.history, facts.metric)
    if not (told.diagnosis or told.remedies or told.skipped or facts.advice):
        return
    yield "## What the guard saw"
    if last := told.diagnosis:
        name = prose(begun(last.diagnosis))
        yield f"**{name}:** {prose(last.reason)}." if last.reason else f"**{name}.**"
    losses = [("train", [look.train_loss for look in told.looks]), ("dev", [look.dev_loss for look in told.looks])]
    for name, values in losses:
        if known := [value for value in values if value is not None]:
            yield f"Loss without dropout, {name} rows: `{sparkline(known, 40)}`"
    if told.skipped:
        yield f"{told.skipped:,} steps changed nothing, since loss or gradients were not finite."
    if told.remedies:
        lines = [
            f"| {one.step:,} | {prose(one.rung)} | {prose(one.text)} | {prose(one.reason)} | {one.back_to:,} | "
            f"{prose(one.result)} |"
            for one in told.remedies
        ]
        head = ["| step | remedy | what changed | why | back to | what came of it |", "|--:|---|---|---|--:|---|"]
        yield "\n".join([*head, *lines])
    if facts.advice:
        yield "### What to try next"
        yield "\n".join(_advice(facts))


def _advice(facts: Facts) -> Iterator[str]:
    for place, one in enumerate(facts.advice, start=1):
        source = f" ({prose(one.source)})" if one.source else ""
        yield f"{place}. {code(one.setting)}: {prose(one.what)}. {prose(begun(one.why))}{source}."


def _layers(facts: Facts) -> Iterator[str]:
    """What was trained at which rate; a table where layers differ."""
    if not facts.layers:
        return
    yield f"{begun(summary(facts.layers))}."
    if not alike(facts.layers):
        lines = [f"| {prose(line.name)} | {line.parameters:,} | {when(line)} |" for line in facts.layers]
        yield "\n".join(["| layer | parameters | highest rate |", "|---|--:|---|", *lines])


def _looks(found: Curves) -> str:
    """The evaluations as a table: the first, the last, the best, and some in between."""
    last = len(found.dev) - 1
    spread = {last * i // max(1, LOOKS - 1) for i in range(LOOKS)}
    shown = [point for i, point in enumerate(found.dev) if i in spread or point == found.best]
    lines = [
        f"| {step:,.0f} | {numbers.number(value)} | {'best' if (step, value) == found.best else ''} |"
        for step, value in shown
    ]
    return "\n".join(["| step | value | |", "|--:|--:|---|", *lines])


def _data(facts: Facts) -> Iterator[str]:
    yield "## Data"
    sides = [f"| {side.role} | {code_cell(side.name)} | {side.shape} | {side.rows:,} |" for side in facts.sides]
    yield "\n".join(["| side | name | shape | rows |", "|---|---|---|--:|", *sides])
    yield "### What was found in the data"
    if facts.findings:
        yield _findings(facts.findings)
        yield from _examples(facts)
    if notes := "\n".join(_notes(facts)):
        yield notes
    elif not facts.findings:
        yield "Nothing was removed or changed."
    yield from _negatives(facts)
    if facts.examples and facts.rows:
        yield "### How rows were read"
        yield "\n".join(_rows(facts.rows[:ROWS]))


def _negatives(facts: Facts) -> Iterator[str]:
    """What was mined: scores by range, and examples."""
    if (found := scores(facts.negatives)) is None:
        return
    yield "### Hard negatives"
    yield prose(found.sentence)
    lines = [" | ".join([f"{edge:.2f}", *(f"{cell.count:,}" for cell in cells)]) for edge, cells in found.lines]
    lines.append(" | ".join(["mean", *(f"{mean:.3f}" for mean in found.means)]))
    head = ["| cosine from | " + " | ".join(found.names) + " |", "|--:|" + "--:|" * len(found.names)]
    yield "\n".join([*head, *(f"| {line} |" for line in lines)])
    if found.examples:
        yield "\n".join(_rows(found.examples))


def _rows(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for i, row in enumerate(rows, start=1):
        yield f"- row {i}"
        yield from (f"  - {prose(role)}: {code(shortened(text))}" for role, text in row.items())


def _findings(findings: Sequence[Finding]) -> str:
    """The findings as a table, the gravest first."""
    lines = []
    for finding in findings:
        share = numbers.percent(finding.share) if finding.of else ""
        what = f"{begun(finding.text)}{f'. {begun(finding.done)}.' if finding.done else ''}"
        count = f"{finding.count:,}" if finding.count else ""
        lines.append(f"| {prose(finding.side)} | {count} | {share} | {prose(what)} |")
    return "\n".join(["| where | count | share | what |", "|---|--:|--:|---|", *lines])


def _examples(facts: Facts) -> Iterator[str]:
    shown = [finding for finding in facts.findings if finding.examples and facts.examples]
    for finding in shown:
        texts = "\n".join(f"- {code(shortened(example))}" for example in finding.examples)
        yield f"{prose(finding.side)}: {prose(finding.text)}\n\n{texts}"


def _notes(facts: Facts) -> Iterator[str]:
    for note in facts.notes:
        count = f" **{note.count:,}**" if note.count else ""
        yield f"- {prose(note.stage)}: {prose(note.text)}{count}"
        if facts.examples:
            yield from (f"  - {code(shortened(example))}" for example in note.examples)


def _time(facts: Facts) -> Iterator[str]:
    yield "## Time and environment"
    took = [f"| {prose(stage)} | {numbers.duration(seconds)} |" for stage, seconds in facts.timing.items()]
    took.append(f"| all | {numbers.duration(sum(facts.timing.values()))} |")
    yield "\n".join(["| stage | time |", "|---|--:|", *took])
    known = {"base model": facts.base_model, **facts.environment}
    yield "\n".join(f"- {prose(name)}: {code(value)}" for name, value in known.items())
