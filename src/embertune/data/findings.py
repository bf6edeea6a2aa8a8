"""What the audit finds, as values: the terminal, audit.json and the report draw the same list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing found in the data, counted, with examples and what was done about it.

    `kind` is a name for machines that stays (`leak`, `near_duplicates` …). `side` says where: `train`, `dev`,
    `test NAME`, or two of them as `train | test NAME`. `count` of `of` rows (or texts, as `text` says) are concerned;
    `of` is 0 where a share would say nothing. `done` is empty where nothing was changed.
    """

    kind: str
    side: str
    text: str
    count: int = 0
    of: int = 0
    examples: tuple[str, ...] = ()
    done: str = ""

    @property
    def share(self) -> float:
        """`count` as a share of `of`, 0 where there is nothing to take a share of."""
        return self.count / self.of if self.of else 0.0


def findings_record(findings: Iterable[Finding], *, examples: bool = True) -> list[dict[str, Any]]:
    """The findings as JSON-ready values, in order; without `examples`, no word of the data is in it."""
    return [_entry(finding, examples) for finding in findings]


def _entry(finding: Finding, examples: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": finding.kind,
        "side": finding.side,
        "text": finding.text,
        "count": finding.count,
        "of": finding.of,
        "share": round(finding.share, 6),
        "done": finding.done,
    }
    return {**entry, "examples": list(finding.examples)} if examples else entry
