"""What a command ends with, as tables for the terminal and as records for JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from embertune import caches
from embertune.report.numbers import interval, number, p_value, signed
from embertune.report.settings import in_a_line

if TYPE_CHECKING:
    from embertune.bench import Bench
    from embertune.crossval import CrossValidated
    from embertune.evaluate.retention import Retained
    from embertune.evaluated import Evaluation
    from embertune.redrawn import Compared
    from embertune.report.tried import Searched
    from embertune.result import Result
    from embertune.seeds import Seeded

#: What stands between a test set's name and a metric, and what does where vectors were cut off: `nli-test-64_`.
_METRIC, _SHORT = re.compile(r"-test(?:-\d+)?_"), re.compile(r"-test-\d+_")


def colour_of(word: str) -> str:
    """The colour of a verdict, or of what a change says."""
    return {"better": "green", "worse": "red"}.get(word, "yellow")


def cache_lines(entries: Sequence[caches.Entry]) -> list[dict[str, Any]]:
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


def cache_table(lines: Sequence[Mapping[str, Any]]) -> Table:
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


def ranking_table(found: Evaluation) -> Table:
    """A line for each model, best first: the metric with its interval, which it is better than, what it costs."""
    by_name = {model.name: model for model in found.models}
    order = {place.model: str(rank) for rank, place in enumerate(found.ranking.places, 1)}
    items = f"{sum(found.items.values()):,} test items"
    title = f"[bold]{escape(found.ranking.metric)}[/] [dim]{items}[/]"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left", title_style="")
    table.add_column("", justify="right")
    table.add_column("model", overflow="fold", ratio=1)
    for name in ("value", "95 % interval", "beats", "numbers", "weights", "s/1,000"):
        table.add_column(name, justify="right", no_wrap=True)
    for place in found.ranking.places:
        model = by_name[place.model]
        colour = "bold green" if place.model in found.ranking.leaders else "default"
        table.add_row(
            order[place.model],
            f"[{colour}]{escape(place.model)}[/]",
            f"[bold]{number(place.value)}[/]",
            f"{number(place.low)} – {number(place.high)}",
            ", ".join(order[name] for name in place.beats) or "[dim]none[/]",
            f"{model.dimensions:,}",
            f"{model.parameters / 1e6:.1f} M",
            f"{model.seconds:.2f}",
        )
    return table


def ranking_words(found: Evaluation) -> str:
    """Which model is best, or which cannot be told apart at the top."""
    first, *others = found.ranking.leaders
    if len(found.models) == 1:
        return f"{first}: there is nothing to compare it with"
    if not others:
        return f"{first} is better than all others"
    return f"{first} is ahead, but cannot be told from {' and '.join(others)} on these items"


def runs_table(found: Compared) -> Table:
    """For each run its primary metric before and after, the change over its interval, what was saved and kept, time."""
    metric = found.lines[0].metric if len({line.metric for line in found.lines}) == 1 else "each run's primary metric"
    title = f"[bold]{escape(metric or 'no test set')}[/]"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left", title_style="")
    table.add_column("run", overflow="fold", min_width=8)
    for name in ("baseline", "tuned", "change", "verdict", "kept", "time"):
        words = name in ("verdict", "kept")
        table.add_column(name, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for line in found.lines:
        change = line.change
        moved = f"{signed(change.difference)}\n{interval(change.low, change.high)}" if change else "–"
        kept = ", ".join(f"{name} {word}" for name, word in line.kept.items()) or "–"
        verdict = _verdict(line.verdict, line.chosen)
        cells = (number(line.baseline), number(line.tuned), moved, verdict, kept)
        table.add_row(escape(line.run), *cells, duration(line.seconds))
    return table


def _verdict(verdict: str, chosen: str = "tuned") -> str:
    """A verdict in its colour, and what was saved if that is not simply the best state."""
    colour = colour_of(verdict)
    return f"[{colour}]{verdict}[/]" + ("" if chosen == "tuned" else f" [dim]({chosen} saved)[/]")


def seeds_table(found: Seeded) -> Table:
    """A line for each seed: the primary metric, its change with the interval, dev; then what they say together."""
    joint = found.joint
    assert joint.primary is not None
    title = f"[bold]{escape(joint.primary)}[/] [dim]baseline {number(joint.baseline[joint.primary])}[/]"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left", title_style="")
    for name in ("seed", "tuned", "change", "95 % interval", "p", "dev"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for one in found.seeds:
        change = one.change
        seed = f"[bold]{one.number}[/]" if one.number == found.recommended else str(one.number)
        moved = (signed(change.difference), interval(change.low, change.high), p_value(change.p_value))
        table.add_row(seed, number(one.tuned), *moved, number(one.dev), _verdict(one.verdict, one.chosen))
    mean = joint.change[joint.primary]
    change = mean.change
    moved = (signed(change.difference), interval(change.low, change.high), p_value(change.p_value))
    table.add_row("mean", number(joint.tuned[joint.primary]), *moved, "", _verdict(joint.verdict), style="bold")
    table.add_row("deviation", "", number(mean.deviation), "", "", "", "", style="dim")
    return table


def folds_table(found: CrossValidated) -> Table:
    """A line for each fold: the primary metric before and after, its change, what was saved; then the mean."""
    together = found.together
    mean = together.metrics[together.primary]
    title = f"[bold]{escape(together.primary)}[/] [dim]{together.counts.items:,} items in {len(found.folds)} folds[/]"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left", title_style="")
    for name in ("fold", "items", "baseline", "tuned", "change", "95 % interval", "best step"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("saved", overflow="fold")
    for one in found.folds:
        moved = (signed(one.change.difference), interval(one.change.low, one.change.high))
        values = (f"{one.items:,}", number(one.baseline), number(one.tuned), *moved)
        table.add_row(str(one.number), *values, f"{one.best_step:,} of {one.steps:,}", one.chosen)
    change, means = mean.change, [number(sum(side) / len(side)) for side in (mean.baseline, mean.tuned)]
    moved = (signed(change.difference), interval(change.low, change.high))
    table.add_row("mean", f"{together.counts.items:,}", *means, *moved, "", _verdict(together.verdict), style="bold")
    table.add_row("deviation", "", "", "", number(mean.deviation), "", "", "", style="dim")
    return table


def candidates_table(found: Searched) -> Table:
    """The settings that were trained on all rows: what they reach on dev, the winner marked."""
    title = f"[bold]{escape(found.metric)}[/] [dim]on dev, all {found.of:,} rows[/]"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left", title_style="")
    for name in ("", "mean", "seeds"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    for one in sorted(found.candidates, key=lambda one: -one.mean):
        first = one.name == found.winner
        values = (number(one.mean), " ".join(map(number, one.dev)), escape(in_a_line(one.settings)))
        table.add_row(f"{'▲ ' if first else '  '}{escape(one.name)}", *values, style="bold" if first else "")
    return table


def bench_head(found: Bench) -> Table:
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


def bench_table(found: Bench) -> Table:
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


BENCH_NOTE = "[dim]Only real tokens count, padding does not. Memory is what a step takes above model and optimizer.[/]"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def result_table(result: Result) -> Table:
    """Baseline, tuned and change with its interval: the primary metric first, then the headline of every similarity.

    Green and red where the interval says gain or loss, yellow where it says neither; the primary one by its verdict.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("metric")
    for name in ("baseline", "tuned", "change", "95 % interval"):
        table.add_column(name, justify="right")
    for metric in _shown(result):
        change = result.change[metric]
        style = "bold" if metric == result.primary else ""
        colour = colour_of(result.verdict if metric == result.primary else change.says)
        said = (signed(change.difference), f"{signed(change.low)} … {signed(change.high)}")
        cells = (
            number(result.baseline[metric]),
            number(result.tuned[metric]),
            *(f"[{colour}]{one}[/]" for one in said),
        )
        table.add_row(escape(metric), *cells, style=style)
    return table


def similarity_lines(result: Result) -> list[str]:
    """A line for each similarity function that tells another story than the verdict; last, the one that is saved."""
    *others, saved = result.similarities or ("",)
    return [
        *(f"[yellow]but:[/]    {escape(one)}" for one in others),
        *([f"[dim]        {escape(saved)}[/]"] if saved else []),
    ]


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


def row_table(row: Mapping[str, str], width: int = 200) -> Table:
    """One parsed row, role by role; a text longer than `width` characters is cut."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(width=9)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for role, text in row.items():
        plain = " ".join(text.split())
        table.add_row("", role, escape(plain if len(plain) <= width else plain[: width - 1] + "…"))
    return table


def retention_lines(retention: Sequence[Retained]) -> list[str]:
    """What the model could do before, and can or cannot do now, a line for each set, as markup."""
    lines = []
    for one in retention:
        colour = {"lost": "bold yellow", "gained": "green"}.get(one.word, "default")
        moved = f"{number(one.before)} to {number(one.after)}, change {interval(one.change.low, one.change.high)}"
        lines.append(f"[{colour}]{one.word + ':':<8}[/]{escape(one.name)}, {escape(one.label)} {moved}")
    return lines


def advice_lines(result: Result) -> list[str]:
    """The diagnosis, the remedies, and what to try next, as markup."""
    lines = []
    if result.diagnosis:
        reason = f": {result.diagnosis_reason}" if result.diagnosis_reason else ""
        lines.append(f"seen:   {escape(result.diagnosis + reason)}")
    for one in result.remedies:
        told = f"remedy {one.rung} at step {one.step:,}{f': {one.result}' if one.result else ''}"
        lines.append(f"        {escape(told)}")
    for place, piece in enumerate(result.advice):
        head = "try:    " if not place else "        "
        why = "" if piece.why == result.diagnosis_reason else f" [dim]({escape(piece.why)})[/]"
        lines.append(f"{head}[bold]{escape(piece.setting)}[/]: {escape(piece.what)}{why}")
    return lines


def record_of(result: Result) -> dict[str, Any]:
    record = {key: value for key, value in asdict(result).items() if key != "change"}
    change = {name: asdict(one) for name, one in result.change.items()}
    return {**record, "change": change, "model": str(result.model), "report": str(result.report)}
