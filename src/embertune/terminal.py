"""What a person sees: stages and progress while a run goes on, the table and the verdict at its end."""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.syntax import Syntax
from rich.table import Table

from embertune import caches
from embertune.report.layers import alike, summary
from embertune.rundir import finite
from embertune.tables import audit_screen, layer_screen, rate_screen
from embertune.watch import LayerLine, LookLine
from embertune.watch import Progress as Step

if TYPE_CHECKING:
    from embertune.audited import Audited
    from embertune.bench import Bench
    from embertune.dryrun import Preview
    from embertune.init import Begun
    from embertune.result import Result
    from embertune.rowfiles import Written

_COLOURS = {"better": "green", "worse": "red"}
#: Lines of progress in a log, where there is no terminal to draw a bar on.
_LOG_LINES = 10
#: What stands between a test set's name and a metric, and what does where vectors were cut off: `nli-test-64_`.
_METRIC, _SHORT = re.compile(r"-test(?:-\d+)?_"), re.compile(r"-test-\d+_")


class Terminal:
    """A watcher that draws on the terminal, writes plain lines into a log, or keeps quiet until the end."""

    def __init__(self, *, quiet: bool = False, json: bool = False, console: Console | None = None) -> None:
        self.quiet, self.json = quiet, json
        self.console = console or Console(highlight=False)
        self._bar: Progress | None = None
        self._task: Any = None
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
                self.console.print(_row_table(row, width=90))

    def layers(self, lines: Sequence[LayerLine]) -> None:
        """What is trained, in one line where it is all alike."""
        if alike(lines):
            self.note(summary(lines))
        elif not self.quiet:
            self.console.print(layer_screen(lines, indent=10))

    def step(self, progress: Step) -> None:
        """Move the bar, or write a line now and then."""
        if self.quiet:
            return
        if self.console.is_terminal:
            self._draw(progress)
            return
        due = progress.step * _LOG_LINES // progress.steps
        if due > self._logged or progress.step == progress.steps:
            self._logged = due
            self.console.print(
                f"          step {progress.step}/{progress.steps}  {_progress_line(progress)}", soft_wrap=True
            )

    def look(self, line: LookLine) -> None:
        """A line in a log; on a terminal the bar shows what dev gives."""
        if not self.console.is_terminal:
            self._say(f"          [dim]step {line.step}  dev {line.value:.4f}{'  best' if line.best else ''}[/]")

    def _draw(self, progress: Step) -> None:
        if self._bar is None:
            columns = (
                TextColumn(" "),
                BarColumn(14),
                TextColumn("{task.completed}/{task.total}  {task.fields[line]}"),
            )
            self._bar = Progress(*columns, console=self.console)
            self._task = self._bar.add_task("train", total=progress.steps, line="")
            self._bar.start()
        self._bar.update(self._task, completed=progress.step, line=_progress_line(progress))

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
            self.console.print_json(jsonlib.dumps(_record(result), default=str))
            return
        if result.primary and not self.quiet:
            self.console.print()
            self.console.print(result_table(result))
        colour = _COLOURS.get(result.verdict, "yellow")
        self.console.print(f"\n[bold {colour}]{escape(result.sentence)}[/]", soft_wrap=True)
        self.console.print(f"saved: {result.chosen}, {escape(result.reason)}", soft_wrap=True)
        self.console.print(f"model:  {result.model}\nreport: {result.report}", soft_wrap=True, markup=False)

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
            self.console.print(_row_table(row))
        self.console.print("[bold]layers[/]")
        self.console.print(layer_screen(preview.layers, indent=2))
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

    def bench(self, found: Bench) -> None:
        """All that the engine was measured by."""
        if self.json:
            self.console.print_json(jsonlib.dumps(found.as_record(), default=str))
            return
        for note in found.notes:
            self.note(note)
        self.console.print()
        self.console.print(_bench_head(found))
        self.console.print()
        self.console.print(_bench_table(found))
        self._say(_BENCH_NOTE)

    def cache(self) -> None:
        """What the cache holds."""
        lines = _cache_lines(caches.entries())
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
        self.console.print(_cache_table(lines))
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


def _cache_lines(entries: Sequence[caches.Entry]) -> list[dict[str, Any]]:
    """The entries, those of one kind about one thing on one line; the one last used first."""
    about: dict[tuple[str, str], list[caches.Entry]] = {}
    for entry in entries:
        about.setdefault((entry.kind, entry.about), []).append(entry)
    return [
        {
            "kind": kind,
            "about": what,
            "entries": len(group),
            "bytes": sum(entry.size for entry in group),
            "last_used": datetime.fromtimestamp(group[0].used, UTC).isoformat(timespec="seconds"),
            "in_use": any(entry.in_use for entry in group),
        }
        for (kind, what), group in about.items()
    ]


def _cache_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("kind", no_wrap=True)
    table.add_column("for", overflow="fold")
    for name in ("entries", "size", "last used"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        used = "[green]in use[/]" if line["in_use"] else _ago(datetime.fromisoformat(line["last_used"]))
        table.add_row(line["kind"], escape(line["about"]), f"{line['entries']:,}", amount(line["bytes"]), used)
    return table


def _ago(then: datetime) -> str:
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def amount(size: float) -> str:
    """Bytes for people: `7 B`, `12.3 MB`, `20 GB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _bench_head(found: Bench) -> Table:
    """Model, data, machine, and whether the fast path gives the same."""
    parity, machine = found.parity, found.machine
    verdict = "[bold green]the same[/]" if parity.passed else "[bold red]not the same[/]"
    speeds = ", ".join(f"{name} {speed / 1e9:.3g}" for name, speed in found.products.items())
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, text in (
        ("model", f"{escape(found.model)}, path: {parity.path}"),
        ("data", f"{escape(Path(found.data).name)}, {found.tokens:.1f} tokens a text, {found.batch_size} rows a step"),
        ("machine", f"{escape(machine['processor'])}, {machine['device']}, threads: {machine['threads']}"),
        ("products", f"{speeds} GFLOP/s"),
        (
            "parity",
            f"{verdict}: loss differs by {parity.loss:.1g} of it, vectors by {parity.embeddings:.1g}, "
            f"gradients by {parity.gradients:.0%} of what is allowed",
        ),
    ):
        table.add_row(name, text)
    return table


def _bench_table(found: Bench) -> Table:
    """Speed, memory and share of the products' speed, without and with the engine."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("")
    for name in ("plain", "packed", ""):
        table.add_column(name, justify="right")
    lower = "" if found.precision == "float32" else f", packed in {found.precision}"
    for name, pace in ((f"training{lower}, tokens/s", found.training), ("encoding, tokens/s", found.encoding)):
        table.add_row(name, f"{pace.plain:,.0f}", f"{pace.packed:,.0f}", f"[bold]{pace.times:.1f} times faster[/]")
    if found.memory is not None:
        plain, packed = found.memory
        share = f"{packed / plain:.0%} of it" if plain else ""
        table.add_row("memory of a step, MiB", f"{plain / 2**20:,.0f}", f"{packed / 2**20:,.0f}", share)
    table.add_row("share of the products' speed", *(f"{share:.0%}" for share in found.share), "")
    return table


_BENCH_NOTE = "[dim]Only real tokens count, padding does not. Memory is what a step takes above model and optimizer.[/]"


def _progress_line(progress: Step) -> str:
    parts = [f"loss {progress.loss:.4f}"]
    if progress.metric and progress.best is not None:
        parts.append(f"best dev {progress.best:.4f}")
    parts.append(f"{progress.texts_per_second:,.0f} texts/s")
    parts.append(f"{duration(progress.seconds_left)} left")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def result_table(result: Result) -> Table:
    """Baseline, tuned and change with its interval: the primary metric first, then the headline of every similarity."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("metric")
    for name in ("baseline", "tuned", "change", "95 % interval"):
        table.add_column(name, justify="right")
    for metric in _shown(result):
        change = result.change[metric]
        style = "bold" if metric == result.primary else ""
        interval = f"{change.low:+.4f} … {change.high:+.4f}"
        cells = (f"{result.baseline[metric]:.4f}", f"{result.tuned[metric]:.4f}", f"{change.difference:+.4f}", interval)
        table.add_row(metric, *cells, style=style)
    return table


def _shown(result: Result) -> list[str]:
    """The primary metric and its like on every test set and under every similarity; the report has the rest.

    Of sets measured with vectors cut off, only what the primary metric is there.
    """
    assert result.primary is not None
    kinds = {_kind(result.primary)}
    alike = [metric for metric in result.change if _kind(metric) in kinds and metric != result.primary]
    same = _METRIC.split(result.primary)[-1]
    return [result.primary, *(m for m in alike if not _SHORT.search(m) or _METRIC.split(m)[-1] == same)]


def _kind(metric: str) -> str:
    """The metric without set and similarity: `help-test_cosine_ndcg@10` -> `ndcg@10`."""
    from embertune.evaluate.similarity import SIMILARITIES

    last = _METRIC.split(metric)[-1]
    return "_".join(part for part in last.split("_") if part not in (*SIMILARITIES, "max"))


def _row_table(row: Mapping[str, str], width: int = 200) -> Table:
    """One parsed row, role by role; a text longer than `width` characters is cut."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(width=9)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for role, text in row.items():
        plain = " ".join(text.split())
        table.add_row("", role, escape(plain if len(plain) <= width else plain[: width - 1] + "…"))
    return table


def _record(result: Result) -> dict[str, Any]:
    record = {key: value for key, value in asdict(result).items() if key != "change"}
    change = {name: asdict(one) for name, one in result.change.items()}
    return {**record, "change": change, "model": str(result.model), "report": str(result.report)}
