"""What a run gives back, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embertune.choose import Choice
from embertune.evaluate.bootstrap import Change
from embertune.evaluate.proof import Proof, Verdict
from embertune.evaluate.retention import Retained
from embertune.recipe.advice import Advice
from embertune.report.story import Remedy
from embertune.rundir import METRICS, MODEL, REPORT_HTML, read_json, write_json


@dataclass(frozen=True)
class Result:
    """A finished run. Metric names are full (`nli-test_cosine_accuracy`); `change` has an interval for each.

    `baseline` and `tuned` are empty, and `primary` None, where there is no test. `model` is the saved model's folder.
    `diagnosis` is the guard's last word, `diagnosis_reason` why, both empty where it had none; `remedies` are those
    that were taken, `advice` what to try next, `retention` what became of what the model could do before.
    `similarities` says what each similarity function says that tells another story than the verdict, and, last, which
    one is saved with the model.
    """

    out: Path
    verdict: Verdict
    sentence: str
    primary: str | None
    baseline: Mapping[str, float]
    tuned: Mapping[str, float]
    change: Mapping[str, Change]
    chosen: str
    reason: str
    timing: Mapping[str, float]
    diagnosis: str = ""
    diagnosis_reason: str = ""
    remedies: tuple[Remedy, ...] = ()
    advice: tuple[Advice, ...] = ()
    retention: tuple[Retained, ...] = ()
    similarities: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The folder of the saved model: a plain Sentence Transformer."""
        return self.out / MODEL

    @property
    def report(self) -> Path:
        """The report to open in a browser."""
        return self.out / REPORT_HTML


def keep(out: Path, proof: Proof, choice: Choice, further: Mapping[str, Any]) -> Result:
    """Write metrics.json, which makes the run a finished one, and return what it says.

    `further` has what else is kept in it, ready for JSON: thresholds, seconds by stage, the size of the baseline and of
    the trained model, what the guard saw and what to try next.
    """
    tried = [asdict(one) for one in choice.candidates]
    record = {**proof.as_record(), "chosen": choice.chosen, "reason": choice.reason, "candidates": tried, **further}
    write_json(out / METRICS, record)
    return read_result(out)


def read_result(out: Path) -> Result:
    """The result that a finished run left in its folder."""
    record = read_json(out / METRICS)
    change = {name: _change(values) for name, values in record["change"].items()}
    diagnosis = record.get("diagnosis") or {}
    return Result(
        out,
        record["verdict"],
        record["sentence"],
        record["primary"],
        _numbers(record["baseline"]),
        _numbers(record["tuned"]),
        change,
        record["chosen"],
        record["reason"],
        record["timing"],
        diagnosis.get("name", ""),
        diagnosis.get("reason", ""),
        tuple(Remedy(**one) for one in record.get("remedies", ())),
        tuple(Advice(**one) for one in record.get("advice", ())),
        tuple(_retained(one) for one in record.get("retention", ())),
        tuple(record.get("similarities", ())),
    )


def _retained(record: Mapping[str, Any]) -> Retained:
    return Retained(**{**_numbers(record), "change": _change(record["change"])})


def _change(record: Mapping[str, Any]) -> Change:
    return Change(**{**_numbers(record), "p_adjusted": record.get("p_adjusted")})


def _numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """Null is how JSON says NaN."""
    return {name: float("nan") if value is None else value for name, value in record.items()}
