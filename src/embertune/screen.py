"""What stands on a terminal while training goes on: the bar, and below it the loss, the looks at dev, the diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from embertune.outcomes import duration
from embertune.report.sparks import BARS, PLAIN, sparkline
from embertune.watch import LookLine
from embertune.watch import Progress as Step

#: Bars of the curve of the loss, which fills up as training goes on, and the most looks that the one of dev has.
LENGTH = 24
#: Columns from which both curves stand side by side.
WIDE = 80
#: What a diagnosis is drawn in; others are only to be noted.
COLOURS = {"improving": "green", "overfitting": "red", "diverging": "red", "collapsing": "red"}


class Seen:
    """What a run has shown so far, in bounded room: the mean loss of each stretch of its steps, and its looks."""

    def __init__(self) -> None:
        self._sums = [0.0] * LENGTH
        self._counts = [0] * LENGTH
        self.looks: list[LookLine] = []

    def step(self, progress: Step) -> None:
        """Take note of a step."""
        place = min(LENGTH - 1, (progress.step - 1) * LENGTH // max(1, progress.steps))
        self._sums[place] += progress.loss
        self._counts[place] += 1

    def look(self, line: LookLine) -> None:
        """Take note of a look at dev; one taken again counts as taken last."""
        self.looks = [*(one for one in self.looks if one.step < line.step), line]

    @property
    def losses(self) -> list[float]:
        """The mean loss of every stretch that has begun."""
        return [total / count for total, count in zip(self._sums, self._counts, strict=True) if count]


def lines(seen: Seen, width: int, bars: str = BARS) -> list[Text]:
    """The curves and the diagnosis in `width` columns: a line too long is cut, none wraps."""
    parts = []
    if losses := seen.losses:
        parts.append(Text.assemble(("loss ", "dim"), (sparkline(losses, LENGTH, bars), "blue")))
    if seen.looks:
        values = [look.value for look in seen.looks]
        last = f" {values[-1]:.4f}"
        parts.append(Text.assemble(("dev ", "dim"), (sparkline(values, LENGTH, bars), "green"), last))
    shown = [Text("   ").join(parts)] if parts and width >= WIDE else parts
    if seen.looks and (told := diagnosis(seen.looks[-1])):
        shown.append(Text(told, style=COLOURS.get(seen.looks[-1].diagnosis, "yellow")))
    for line in shown:
        line.pad_left(3)
        line.no_wrap, line.overflow = True, "ellipsis" if bars == BARS else "crop"
    return shown


def diagnosis(line: LookLine) -> str:
    """`overfitting: dev falls while …`; empty where the guard says nothing."""
    return f"{line.diagnosis}: {line.reason}" if line.diagnosis and line.reason else line.diagnosis


def look_line(line: LookLine, before: str = "") -> str:
    """A look as one line of a log; the reason of its diagnosis only where that is not the one `before`."""
    parts = [f"step {line.step}", f"epoch {line.epoch:.2f}", f"dev {line.value:.4f}{' (best)' if line.best else ''}"]
    losses = ((name, value) for name, value in (("train", line.train_loss), ("dev", line.dev_loss)))
    if told := ", ".join(f"{name} {value:.4f}" for name, value in losses if value is not None):
        parts.append(f"loss {told}")
    told = line.diagnosis if line.diagnosis == before else diagnosis(line)
    return "  ".join([*parts, *([told] if told else [])])


def step_line(progress: Step) -> str:
    """A step as words beside the bar, or in a log."""
    parts = [f"loss {progress.loss:.4f}"]
    if progress.metric and progress.best is not None:
        parts.append(f"best dev {progress.best:.4f}")
    parts.append(f"{progress.texts_per_second:,.0f} texts/s")
    parts.append(f"{duration(progress.seconds_left)} left")
    return "  ".join(parts)


class Bar(Progress):
    """The bar of training with what was seen below it, redrawn together so that nothing flickers."""

    def __init__(self, console: Console, seen: Seen, steps: int) -> None:
        columns: tuple[Any, ...] = (
            TextColumn(" "),
            BarColumn(14),
            TextColumn("{task.completed}/{task.total}  {task.fields[line]}"),
        )
        self.seen, self.screen = seen, console  # the parent draws before it has its console
        super().__init__(*columns, console=console)
        self.training: TaskID = self.add_task("train", total=steps, line="")

    def show(self, progress: Step) -> None:
        """Move the bar to a step."""
        self.update(self.training, completed=progress.step, line=step_line(progress))

    def get_renderables(self) -> Iterator[RenderableType]:
        """The bar, then the curves."""
        yield from super().get_renderables()
        bars = PLAIN if self.screen.options.ascii_only else BARS
        yield from lines(self.seen, self.screen.width, bars)
