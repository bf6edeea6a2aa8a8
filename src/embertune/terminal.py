"""What a person sees: stages and progress while a run goes on, the table and the verdict at its end."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from embertune import caches
from embertune.outcomes import (
    BENCH_NOTE,
    advice_lines,
    amount,
    bench_head,
    bench_table,
    cache_lines,
    cache_table,
    candidates_table,
    colour_of,
    folds_table,
    ranking_table,
    ranking_words,
    record_of,
    result_table,
    retention_lines,
    row_table,
    runs_table,
    seeds_table,
    similarity_lines,
)
from embertune.report.layers import alike, summary
from embertune.rundir import finite
from embertune.screen import Bar, Seen, look_line, step_line
from embertune.tables import audit_screen, layer_screen, rate_screen
from embertune.watch import LayerLine, LookLine
from embertune.watch import Progress as Step

if TYPE_CHECKING:
    from embertune.audited import Audited
    from embertune.bench import Bench
    from embertune.crossval import CrossValidated
    from embertune.dryrun import Preview
    from embertune.evaluated import Evaluation
    from embertune.init import Begun
    from embertune.redrawn import Compared
    from embertune.result import Result
    from embertune.rowfiles import Written
    from embertune.search import Found
    from embertune.seeds import Seeded

#: Lines of progress in a log, where there is no terminal to draw a bar on.
_LOG_LINES = 10


class Terminal:
    """A watcher that draws on the terminal, writes plain lines into a log, or keeps quiet until the end."""

    def __init__(self, *, quiet: bool = False, json: bool = False, console: Console | None = None) -> None:
        self.quiet, self.json = quiet, json
        self.console = console or Console(highlight=False)
        file = self.console.file
        if self.console.options.ascii_only and isinstance(file, TextIOWrapper):
            file.reconfigure(errors="replace")  # data may hold what such a console cannot write
        self._bar: Bar | None = None
        self._seen = Seen()
        self._logged = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_bar()

    def hello(self) -> None:
        """Something on the screen before the first slow import."""
        if self.console.is_terminal:
            self._say("[dim]loading …[/]")

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins."""
        self._close_bar()
        self._say(f"[bold]{name:<9}[/] {escape(detail)}")

    def note(self, text: str) -> None:
        """Something worth knowing."""
        self._say(f"          [dim]{escape(text)}[/]")

    def rows(self, shape: str, sides: Mapping[str, int], rows: Sequence[Mapping[str, str]]) -> None:
        """What the data was taken for."""
        self.note(f"{shape}: " + ", ".join(f"{count:,} {side}" for side, count in sides.items()))
        if not self.quiet:
            for row in rows:
                self.console.print(row_table(row, width=90))

    def layers(self, lines: Sequence[LayerLine]) -> None:
        """Training begins: what is trained, in one line where it is all alike."""
        self._seen, self._logged = Seen(), 0
        if alike(lines):
            self.note(summary(lines))
        elif not self.quiet:
            self.console.print(layer_screen(lines, indent=10))

    def step(self, progress: Step) -> None:
        """Move the bar, or write a line now and then."""
        self._seen.step(progress)
        if self.quiet:
            return
        if self.console.is_terminal:
            self._draw(progress)
            return
        due = progress.step * _LOG_LINES // progress.steps
        if due > self._logged or progress.step == progress.steps:
            self._logged = due
            self.console.print(
                f"          step {progress.step}/{progress.steps}  {step_line(progress)}", soft_wrap=True
            )

    def look(self, line: LookLine) -> None:
        """A line in a log; on a terminal, what stands below the bar."""
        before = self._seen.looks[-1].diagnosis if self._seen.looks else ""
        self._seen.look(line)
        if not self.console.is_terminal:
            self.note(look_line(line, before))

    def _draw(self, progress: Step) -> None:
        if self._bar is None:
            self._bar = Bar(self.console, self._seen, progress.steps)
            self._bar.start()
        self._bar.show(progress)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, soft_wrap=True)

    def result(self, result: Result) -> None:
        """The table, the verdict, the paths; or all of it as JSON."""
        if self.json:
            self.console.print_json(jsonlib.dumps(record_of(result), default=str))
            return
        if result.primary and not self.quiet:
            self.console.print()
            self.console.print(result_table(result))
        colour = colour_of(result.verdict)
        self.console.print(f"\n[bold {colour}]{escape(result.sentence)}[/]", soft_wrap=True)
        self.console.print(f"saved: {result.chosen}, {escape(result.reason)}", soft_wrap=True)
        further = [*similarity_lines(result), *retention_lines(result.retention), *advice_lines(result)]
        for line in [] if self.quiet else further:
            self.console.print(line, soft_wrap=True)
        self.console.print(f"model:  {result.model}\nreport: {result.report}", soft_wrap=True, markup=False)

    def seeded(self, found: Seeded) -> None:
        """Several seeds: a line for each, what they say together, and which to take."""
        joint = found.joint
        if self.json:
            self.console.print_json(jsonlib.dumps(found.as_record()))
            return
        if joint.primary and not self.quiet:
            self.console.print()
            self.console.print(seeds_table(found))
        colour = colour_of(joint.verdict)
        self.console.print(f"\n[bold {colour}]{escape(joint.sentence)}[/]", soft_wrap=True)
        self.console.print(f"to take: {escape(found.why)}", soft_wrap=True)
        for line in [] if self.quiet else retention_lines(joint.retention):
            self.console.print(line, soft_wrap=True)
        model = f"model:  {found.model}\n" if found.model else ""
        self.console.print(f"{model}report: {found.report}", soft_wrap=True, markup=False)

    def crossed(self, found: CrossValidated) -> None:
        """A cross-validation: a line for each fold, what they say together, and where the final model is."""
        together = found.together
        if self.json:
            self.console.print_json(jsonlib.dumps(found.as_record()))
            return
        if not self.quiet:
            self.console.print()
            self.console.print(folds_table(found))
        colour = colour_of(together.verdict)
        self.console.print(f"\n[bold {colour}]{escape(together.sentence)}[/]", soft_wrap=True)
        if found.growth:
            self.console.print(escape(found.growth.answer), soft_wrap=True)
        best = f"{found.steps:,}" if found.steps else "0: in most folds nothing beat the base on dev"
        self.console.print(f"best steps, the median of the folds: {best}", soft_wrap=True)
        model = f"model:  {found.final}\n" if found.final else ""
        self.console.print(f"{model}report: {found.report}", soft_wrap=True, markup=False)

    def searched(self, found: Found) -> None:
        """A search: the candidates on all rows, what the winner gains, and where its recipe and model are."""
        searched = found.searched
        if self.json:
            self.console.print_json(jsonlib.dumps(found.as_record()))
            return
        if not self.quiet:
            self.console.print()
            self.console.print(candidates_table(searched))
        colour = colour_of(searched.gain.verdict if searched.gain else "")
        self.console.print(f"\n[bold {colour}]{escape(searched.answer)}[/]", soft_wrap=True)
        places = f"recipe: {found.recipe}\nmodel:  {found.model}\nreport: {found.report}"
        self.console.print(places, soft_wrap=True, markup=False)

    def recipe(self, path: Path, begun: Begun) -> None:
        """A recipe that was written, and how its rate was found."""
        if self.json:
            found = begun.found and {**asdict(begun.found), "drawing": str(begun.drawing)}
            self.console.print_json(jsonlib.dumps({"recipe": str(path)} | ({"rate": found} if found else {})))
            return
        if not self.quiet:
            self._yaml(begun.text)
        if begun.found is not None:
            self.console.print(rate_screen(begun.found))
            self.console.print(f"drawing: {begun.drawing}", soft_wrap=True, markup=False)
        self.console.print(f"written: {path}\nnext:    embertune run {path}", soft_wrap=True, markup=False)

    def _yaml(self, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(Syntax(text, "yaml", word_wrap=True, background_color="default"))
        else:
            self.console.print(text, soft_wrap=True, markup=False)

    def preview(self, preview: Preview) -> None:
        """All that a dry run found out."""
        if self.json:
            self.console.print_json(jsonlib.dumps(preview.as_record(), default=str))
            return
        self._yaml(preview.recipe_yaml)
        self.console.print("\n[bold]rows[/]")
        for row in preview.rows:
            self.console.print(row_table(row))
        self.console.print("[bold]layers[/]")
        self.console.print(layer_screen(preview.layers, indent=2))
        if preview.runs:
            self.console.print("[bold]runs[/]")
        for name, rows in preview.runs.items():
            sides = ", ".join(f"{count:,} {side}" for side, count in rows.items())
            self.console.print(f"  {name:<22} {sides}", markup=False)
        self.console.print("[bold]estimate[/]")
        for name, value in preview.estimate.lines():
            self.console.print(f"  {name:<10} {value}", markup=False)

    def audit(self, audited: Audited, written: Path | None) -> None:
        """What was found in some data, and where it was written, if anywhere."""
        if self.json:
            self.console.print_json(jsonlib.dumps(finite(audited.as_record())))
            return
        self.console.print(audit_screen(audited.findings, audited.sides, audited.examples))
        if written:
            self.console.print(f"\nwritten: {written}", soft_wrap=True, markup=False)

    def written(self, written: Written) -> None:
        """The rows of a run as files, and what trains on them."""
        if self.json:
            self.console.print_json(jsonlib.dumps(written.as_record()))
            return
        for side, name in written.files.items():
            self.console.print(f"  {side:<12} {written.rows[side]:>9,}  {name}", markup=False)
        self.console.print(f"written: {written.out}\nnext:    {written.command}", soft_wrap=True, markup=False)

    def evaluation(self, found: Evaluation, written: Path | None) -> None:
        """The ranking of models, and which of them can be told apart."""
        if self.json:
            self.console.print_json(jsonlib.dumps(found.as_record()))
            return
        self.console.print()
        self.console.print(ranking_table(found))
        self.console.print(f"\n[bold]{escape(ranking_words(found))}[/]", soft_wrap=True)
        if written:
            self.console.print(f"written: {written}", soft_wrap=True, markup=False)

    def redrawn(self, page: Path) -> None:
        """A report that was drawn again."""
        if self.json:
            self.console.print_json(jsonlib.dumps({"report": str(page)}))
            return
        self.console.print(f"report: {page}", soft_wrap=True, markup=False)

    def compared(self, found: Compared) -> None:
        """Several runs beside each other."""
        if self.json:
            self.console.print_json(jsonlib.dumps(found.as_record()))
            return
        self.console.print(runs_table(found))
        if found.apart:
            self.console.print(
                f"\n[yellow]Not to be held against each other: {escape(found.apart)}.[/]", soft_wrap=True
            )

    def bench(self, found: Bench) -> None:
        """All that the engine was measured by."""
        if self.json:
            self.console.print_json(jsonlib.dumps(found.as_record(), default=str))
            return
        for note in found.notes:
            self.note(note)
        self.console.print()
        self.console.print(bench_head(found))
        self.console.print()
        self.console.print(bench_table(found))
        self._say(BENCH_NOTE)

    def cache(self) -> None:
        """What the cache holds."""
        lines = cache_lines(caches.entries())
        total = sum(line["bytes"] for line in lines)
        if self.json:
            record = {"folder": str(caches.root()), "bytes": total, "limit": caches.limit(), "entries": lines}
            self.console.print_json(jsonlib.dumps(record))
            return
        self.console.print(f"[bold]{'cache':<9}[/] {escape(str(caches.root()))}", soft_wrap=True)
        if not lines:
            self.console.print("          [dim]empty[/]")
            return
        self.console.print(f"          [dim]{amount(total)} of at most {amount(caches.limit())}[/]\n")
        self.console.print(cache_table(lines))
        self._say("\n[dim]Nothing here decides over a result. To make room: embertune cache clear[/]")

    def cleared(self, swept: caches.Swept) -> None:
        """What was removed from the cache."""
        if self.json:
            record = {"entries": swept.entries, "bytes": swept.size, "in_use": swept.in_use}
            self.console.print_json(jsonlib.dumps(record))
            return
        entries = "1 entry" if swept.entries == 1 else f"{swept.entries:,} entries"
        kept = f"; {swept.in_use:,} in use stayed" if swept.in_use else ""
        self.console.print(f"cleared: {entries}, {amount(swept.size)}{kept}")
