"""The metrics of a proof as rows of tables: by test set, the primary first, those that matter less apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.similarity import SIMILARITIES
from embertune.report.facts import Facts

#: How intervals and p-values are to be read.
HOW = (
    "Intervals are paired bootstrap intervals of tuned minus baseline, each for itself. The p-values of all metrics "
    "but the primary one are adjusted together (Holm)."
)
#: What the sets of retention are.
BEFORE = (
    "These rows are not of the task: they show what training cost the model of what it could do before. They decide "
    "nothing of the verdict. Lost and gained stand where interval and p-value say so."
)
#: Up to this many metrics of a set stand in the main table; of more, the usual ones under the primary similarity.
SHORT = 8

_FUNCTIONS = "|".join((*SIMILARITIES, "max"))
#: Cuts of a ranking beyond those that are reported by custom: accuracy@1, accuracy@10 and recall@10 are.
_FINE = re.compile(r"precision@\d+$|(?:accuracy|recall)@(?!10$)[^1]\d*$|recall@1$")
#: `nli-test_cosine_accuracy`, `sts_spearman_cosine`: what stands before the last place where a metric can begin.
_METRIC = re.compile(rf"(?P<set>.+)_(?P<metric>(?:{_FUNCTIONS})_.+|(?:spearman|pearson)_(?:{_FUNCTIONS}))")


@dataclass(frozen=True)
class Row:
    """One metric. `metric` is its full name, `label` the name without the set; `change` is None for thresholds."""

    metric: str
    label: str
    baseline: float
    tuned: float
    change: Change | None
    primary: bool


@dataclass(frozen=True)
class Group:
    """The metrics of one test set: `main` is shown, `further` is there for those who look for it."""

    name: str
    main: tuple[Row, ...]
    further: tuple[Row, ...]


def groups(facts: Facts) -> list[Group]:
    """The metrics by test set; the set of the primary metric comes first, and the primary metric first in it."""
    sets = sorted((side.name for side in facts.sides if side.role == "test"), key=len, reverse=True)
    by_set: dict[str, list[Row]] = {}
    for metric in facts.proof.baseline:
        name, label = split_name(metric, sets)
        by_set.setdefault(name, []).append(_row(facts, metric, label))
    ordered = sorted(by_set.items(), key=lambda item: not any(row.primary for row in item[1]))
    favoured = facts.proof.primary or ""
    short = {side.name for side in facts.sides if side.length is not None}
    judged = split_name(favoured, sets)[1]
    return [
        _shortened(name, rows, judged)
        if name in short and any(row.label == judged for row in rows)
        else _group(name, sorted(rows, key=lambda row: not row.primary), _similarity(favoured))
        for name, rows in ordered
    ]


def grouped(
    before: Mapping[str, float], after: Mapping[str, float], changes: Mapping[str, Change], favoured: str
) -> list[Group]:
    """Metrics by test set, as `groups` has them; `favoured` is the primary one. Sets are told from names alone."""
    by_set: dict[str, list[Row]] = {}
    for metric, change in changes.items():
        name, label = split_name(metric, ())
        row = Row(metric, label, before[metric], after[metric], change, metric == favoured)
        by_set.setdefault(name, []).append(row)
    ordered = sorted(by_set.items(), key=lambda item: not any(row.primary for row in item[1]))
    return [
        _group(name, sorted(rows, key=lambda row: not row.primary), _similarity(favoured)) for name, rows in ordered
    ]


def primary(groups: Iterable[Group]) -> Row | None:
    """The row of the primary metric, if anything was measured."""
    return next((row for group in groups for row in group.main if row.primary), None)


def level(rows: Iterable[Row]) -> str:
    """How sure the intervals are, `95 %`."""
    return next((f"{100 * row.change.level:g} %" for row in rows if row.change is not None), "95 %")


def split_name(metric: str, sets: Sequence[str]) -> tuple[str, str]:
    """A full metric name as set and metric. `sets`: the names known, longest first; others are found by their form."""
    for name in sets:
        if metric.startswith(f"{name}_"):
            return name, metric.removeprefix(f"{name}_")
    found = _METRIC.fullmatch(metric)
    return (found["set"], found["metric"]) if found else ("test", metric)


def _row(facts: Facts, metric: str, label: str) -> Row:
    proof = facts.proof
    tuned = proof.tuned.get(metric, float("nan"))
    return Row(metric, label, proof.baseline[metric], tuned, proof.change.get(metric), metric == proof.primary)


def _group(name: str, rows: Sequence[Row], favoured: str) -> Group:
    main = [row for row in rows if row.primary or len(rows) <= SHORT or _is_main(row, favoured)]
    main = main or list(rows)
    return Group(name, tuple(main), tuple(row for row in rows if row not in main))


def _shortened(name: str, rows: Sequence[Row], judged: str) -> Group:
    """Of a set measured with vectors cut off, what the whole vectors are judged by is shown."""
    main = tuple(row for row in rows if row.label == judged or row.primary)
    return Group(name, main, tuple(row for row in rows if row not in main))


def _is_main(row: Row, favoured: str) -> bool:
    return row.change is not None and _similarity(row.label) == favoured and not _FINE.search(row.label)


def _similarity(metric: str) -> str:
    found = re.findall(rf"(?:^|_)({_FUNCTIONS})(?=_|$)", metric)
    return str(found[-1]) if found else "cosine"
