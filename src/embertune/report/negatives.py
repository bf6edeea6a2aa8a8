"""Scores of positives and mined negatives as a report shows them: how often each range of scores was met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """`count` scores, and the length of their bar in percent of the longest of its kind."""

    count: int
    percent: float


@dataclass(frozen=True)
class Scores:
    """`lines` have the lower end of a range of cosines and a cell for each of `names`; `sentence` sums up."""

    sentence: str
    names: Sequence[str]
    means: Sequence[float]
    lines: Sequence[tuple[float, Sequence[Cell]]]
    examples: Sequence[Mapping[str, str]]


def scores(record: Mapping[str, Any] | None) -> Scores | None:
    """What is drawn of the record that a mining leaves in audit.json; None where nothing was mined."""
    if record is None:
        return None
    found = record["scores"]
    names, edges = tuple(found["counts"]), found["edges"]
    longest = {name: max(found["counts"][name]) or 1 for name in names}
    lines = [
        (edge, [Cell(count, 100 * count / longest[name]) for name in names for count in [found["counts"][name][place]]])
        for place, edge in enumerate(edges[:-1])
    ]
    drawn = f", {record['drawn']:,} drawn by hash" if record["drawn"] else ""
    sentence = f"{record['mined']:,} negatives mined for {record['anchors']:,} anchors{drawn}, "
    sentence += f"among {record['candidates']:,} texts, by the cosines of {record['model']}."
    means = [found["means"][name] for name in names]
    return Scores(sentence, names, means, lines, [_example(one) for one in record.get("examples", ())])


def _example(one: Mapping[str, Any]) -> dict[str, str]:
    made = {"anchor": one["anchor"], f"positive, {one['positive_score']:.2f}": one["positive"]}
    for number, (text, score) in enumerate(zip(one["negatives"], one["scores"], strict=True), 1):
        made[f"negative {number}, {score:.2f}"] = text
    return made
