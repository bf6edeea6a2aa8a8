"""What a run says while it goes on. A run calls a watcher; the terminal is one, silence is another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step. `texts_per_second` and `seconds_left` are estimates over the recent steps."""

    step: int
    steps: int
    epoch: float
    loss: float
    texts_per_second: float
    seconds_left: float
    metric: str | None = None
    best: float | None = None
    latest: float | None = None


#: What becomes of a layer; others tell from when it is trained: `from step 120`, `once dev stalls`.
TRAINED, FROZEN = "trained", "frozen"


@dataclass(frozen=True)
class LayerLine:
    """A row of the table of layers: its parameters, the highest rate it has when it is trained, and when that is."""

    name: str
    parameters: int
    rate: float
    state: str = TRAINED


@dataclass(frozen=True)
class LookLine:
    """What a look at dev saw. `value` is the dev metric, `best` says that it is the highest so far.

    Losses are without dropout, over a fixed sample of rows, None where not measured; `diagnosis` is the guard's word,
    empty where it has none, and `reason` says why in plain words.
    """

    step: int
    epoch: float
    value: float
    best: bool
    train_loss: float | None = None
    dev_loss: float | None = None
    diagnosis: str = ""
    reason: str = ""


class Watcher(Protocol):
    """Receives what happens, in order. Implementations must not raise and must not change anything of the run."""

    def stage(self, name: str, detail: str = "") -> None:
        """A stage of the flow begins, e.g. `("baseline", "2 test sets")`."""

    def note(self, text: str) -> None:
        """Something the user should know: rows left out, a setting outside its usual range, a decision taken."""

    def rows(self, shape: str, sides: Mapping[str, int], rows: Sequence[Mapping[str, str]]) -> None:
        """The data as it was understood: its shape, rows by side, and a few parsed rows (role -> text)."""

    def layers(self, lines: Sequence[LayerLine]) -> None:
        """Training begins with these layers, from below."""

    def step(self, progress: Progress) -> None:
        """An optimizer step is done."""

    def look(self, line: LookLine) -> None:
        """Dev was measured."""


class Silent:
    """A watcher that says nothing."""

    def stage(self, name: str, detail: str = "") -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def rows(self, shape: str, sides: Mapping[str, int], rows: Sequence[Mapping[str, str]]) -> None:
        """Ignore."""

    def layers(self, lines: Sequence[LayerLine]) -> None:
        """Ignore."""

    def step(self, progress: Progress) -> None:
        """Ignore."""

    def look(self, line: LookLine) -> None:
        """Ignore."""
