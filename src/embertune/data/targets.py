"""What the gold answers of a side are: shares of classes and labels, the spread of scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embertune.data.findings import Finding
from embertune.data.keyed import Keyed
from embertune.data.nli import NAMES
from embertune.data.prepared import Prepared

#: The largest class this many times as large as the smallest, or a label with less than this share, is out of balance.
UNEVEN, RARE = 10.0, 0.1
#: Scores at the ends of the scale are told from this share on.
PILED = 0.05


def findings_of_targets(held: Keyed) -> list[Finding]:
    """Class shares, label shares or the spread of scores, told always: it is what a balance or a loss is chosen by."""
    side, prepared, target = held.side, held.prepared, held.targets
    if target is None or not len(target):
        return []
    if prepared.shape == "scored":
        return [_scores(side, target)]
    if prepared.shape == "classes":
        return [_classes(side, prepared, target.astype(np.int64))]
    names = NAMES if prepared.shape == "nli" else ("0", "1")
    shares = np.bincount(target.astype(np.int64), minlength=len(names)) / len(target)
    said = ", ".join(f"{name} {share:.1%}" for name, share in zip(names, shares, strict=True))
    kind = "imbalance" if shares.min() < RARE else "labels"
    rare = round(float(shares.min()) * len(target)) if kind == "imbalance" else 0
    return [Finding(kind, side, f"labels: {said}", rare, len(target) if rare else 0)]


def _classes(side: str, prepared: Prepared, labels: npt.NDArray[np.int64]) -> Finding:
    counts = np.bincount(labels, minlength=len(prepared.classes))
    there = np.flatnonzero(counts)
    order = there[np.lexsort((there, -counts[there]))]
    smallest, largest = int(counts[order[-1]]), int(counts[order[0]])
    ends = dict.fromkeys([*order[:2].tolist(), *order[-2:].tolist()])
    shown = tuple(f"{prepared.classes[place]}: {counts[place]:,}" for place in ends)
    alone = int((counts[there] == 1).sum())
    text = f"{len(there):,} classes, the smallest has {smallest:,} rows, the largest {largest:,}"
    text += f" ({largest / smallest:.1f} times as many)" if largest > smallest else ""
    text += f"; {alone:,} of them with a single row" if alone else ""
    uneven = largest >= UNEVEN * smallest
    few = int(counts[there][counts[there] * UNEVEN <= largest].sum()) if uneven else 0
    if uneven:
        text += f"; {few:,} rows belong to classes less than a tenth of the largest"
    return Finding("imbalance" if uneven else "classes", side, text, few, len(labels) if uneven else 0, shown)


def _scores(side: str, scores: npt.NDArray[np.float64]) -> Finding:
    low, middle, high = np.quantile(scores, (0.25, 0.5, 0.75))
    text = f"scores: a quarter below {low:.2f}, half below {middle:.2f}, a quarter above {high:.2f}"
    for end, name in ((0.0, "0"), (1.0, "1")):
        share = float((scores == end).mean())
        text += f"; {share:.0%} are exactly {name}" if share >= PILED else ""
    if scores.min() == scores.max():
        return Finding("constant", side, f"every row has the score {scores[0]:g}", len(scores), len(scores))
    return Finding("scores", side, text)
