"""What a run does about its own trouble: the regime it is in, remedies taken, and steps that were skipped."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from embertune.data.prepared import Note
from embertune.errors import DataError
from embertune.recipe.guarding import GuardSection
from embertune.recipe.remedying import ladder_of
from embertune.training.diagnosis import Diagnosis
from embertune.training.patient import Patient
from embertune.training.regime import Regime
from embertune.training.remedies import Change, Remedy, halved, next_rung
from embertune.training.snapshot import Snapshot

#: Steps in a row that are not finite after which the best state is put back, and how often that is tried: the last time
#: training ends instead.
IN_A_ROW, ROLLBACKS = 3, 3


@dataclass(frozen=True)
class Due:
    """What is to be done when the phase is over, because of overfitting or of steps that were skipped; and why."""

    cause: Literal["overfitting", "skipped"]
    reason: str


@dataclass
class Skips:
    """Steps that changed nothing because something was not finite: all of them, those in a row, and what followed."""

    total: int = 0
    row: int = 0
    rollbacks: int = 0

    def see(self, trouble: str) -> Literal["", "back", "end"]:
        """A step is done, with or without `trouble`: go on, go back to the best state, or end."""
        if not trouble:
            self.row = 0
            return ""
        self.total, self.row = self.total + 1, self.row + 1
        if self.row < IN_A_ROW:
            return ""
        self.row, self.rollbacks = 0, self.rollbacks + 1
        return "end" if self.rollbacks == ROLLBACKS else "back"


class Treatment:
    """Decides over remedies and rollbacks. What is `due` is done between two phases."""

    def __init__(self, guard: GuardSection, regime: Regime, patient: Patient) -> None:
        self.guard, self.regime, self.patient = guard, regime, patient
        self.ladder = ladder_of(guard.remedies)
        self.place = -1
        self.remedies: list[Remedy] = []
        self.skips = Skips()
        self.due: Due | None = None
        self.warned = False

    @property
    def goes_back(self) -> bool:
        """Whether remedies put the best state back, with its optimizer."""
        return bool(self.ladder)

    def hears(self, diagnosis: Diagnosis | None, value: float) -> str:
        """A look was understood, which had this value. Why training should end, else an empty text."""
        if self.remedies:
            last = self.remedies[-1]
            later = value if last.later is None else max(value, last.later)
            self.remedies[-1] = dataclasses.replace(last, later=later)
        if diagnosis is None or diagnosis.name != "overfitting":
            self.warned = False
            return ""
        if self.guard.on_overfit == "stop":
            return f"overfitting: {diagnosis.reason}"
        if self.guard.on_overfit == "regularise":
            self.due = Due("overfitting", diagnosis.reason)
        elif not self.warned:
            self.patient.tell(f"overfitting: {diagnosis.reason}")
            self.warned = True
        return ""

    def stepped(self, trouble: str) -> str:
        """A step is done; with `trouble` it changed nothing. Why training should end, else an empty text."""
        then = self.skips.see(trouble)
        if trouble and self.skips.total == 1:
            self.patient.tell(f"a step was skipped, and nothing is learnt from it: {trouble}")
        if then == "end":
            times = f"{ROLLBACKS} times {IN_A_ROW} steps in a row were skipped"
            return f"{times}, at last at {self.regime.rate:g} of the recipe's rate: {trouble}"
        if then == "back":
            self.due = Due("skipped", f"{IN_A_ROW} steps in a row were skipped: {trouble}")
        return ""

    def act(self, step: int, origin: int) -> str:
        """Do what is due, after `step`; batch `origin` comes next. Why training should end instead, else empty."""
        due, self.due = self.due, None
        if due is None:
            return ""
        if due.cause == "skipped":
            self._take("rate", due.reason, halved(self.regime), step)
            return ""
        while (taken := next_rung(self.ladder, self.place, self.regime, self.patient.means())) is not None:
            try:
                self._take(taken.rung.name, due.reason, taken.change.from_batch(self.regime, origin), step)
            except DataError:
                continue  # the next time it is not borne
            self.place = taken.place
            return ""
        return f"overfitting, and no remedy is left: {due.reason}"

    def _take(self, rung: str, reason: str, change: Change, step: int) -> None:
        self.patient.enter(self.regime, change.regime)
        self.regime = change.regime
        best = self.patient.back()
        self._judge()
        back_to, value = (best.step, best.value) if best else (step, None)
        self.remedies.append(Remedy(step, rung, reason, change.text, back_to, value))
        self.patient.tell(
            f"remedy {rung}: {change.text}, from the best state (step {back_to:,}) on, because {reason}",
            {"remedy": rung, "reason": reason, "text": change.text, "back_to": back_to, "result": None},
        )

    def _judge(self) -> None:
        """Write down what the last remedy came to."""
        if self.remedies:
            last = self.remedies[-1]
            self.patient.tell(
                f"remedy {last.rung}: {last.result}",
                {"remedy_result": last.rung, "value": last.later, "text": last.result},
            )

    def finish(self) -> None:
        """Training is over: write down what the last remedy came to."""
        self._judge()

    def notes(self) -> tuple[Note, ...]:
        """What was skipped, for the report."""
        count = self.skips.total
        if not count:
            return ()
        text = f"{count:,} step{'s' if count > 1 else ''} changed nothing: loss or gradients were not finite"
        return (Note("train", text, count),)

    def state(self) -> Snapshot:
        """All of it, the regime included."""
        return Snapshot(
            facts={
                "regime": self.regime.record(),
                "place": self.place,
                "remedies": [dataclasses.asdict(remedy) for remedy in self.remedies],
                "skips": dataclasses.asdict(self.skips),
                "due": dataclasses.asdict(self.due) if self.due else None,
                "warned": self.warned,
            }
        )

    def restore(self, snapshot: Snapshot) -> None:
        """As it was then, with its regime in force."""
        facts = snapshot.facts
        regime = Regime(**facts["regime"])
        self.patient.enter(self.regime, regime)
        self.regime, self.place, self.warned = regime, facts["place"], facts["warned"]
        self.remedies = [Remedy(**remedy) for remedy in facts["remedies"]]
        self.skips = Skips(**facts["skips"])
        self.due = Due(**facts["due"]) if facts["due"] else None
