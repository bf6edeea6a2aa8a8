"""Folds and seeds made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.folds import Crossed, Growth, crossed, growth
from embertune.evaluate.proof import Counts
from embertune.evaluate.seeds import Joint
from embertune.report.folds import Fold
from embertune.report.seeds import Seed
from tests.report import made, made_search

GAINS = (0.062, 0.048, 0.071, 0.039, 0.055, 0.066, 0.051, 0.044, 0.058, 0.060)


def folds(count: int = 5) -> tuple[Crossed, list[Fold]]:
    """Folds of a task, better in each, the baseline rising from one to the next."""
    names = [f"help-test_{name}" for name in ("cosine_accuracy@1", "cosine_mrr@10", "dot_accuracy@1")]
    gains = [GAINS[n % len(GAINS)] for n in range(count)]
    proofs = [
        replace(
            made.proof(),
            baseline=dict.fromkeys(names, 0.71 + 0.004 * n),
            tuned=dict.fromkeys(names, 0.71 + 0.004 * n + gain),
            change={name: Change(gain, gain - 0.03, gain + 0.03, 0.001, 10_000) for name in names},
            primary=names[0],
            counts=Counts(200 + n, 180, 40, 30, 10, 160 + n),
        )
        for n, gain in enumerate(gains)
    ]
    found = crossed(proofs, "help-test", "pairs")
    several = [
        Fold(n, 199 + n, one.baseline[names[0]], one.tuned[names[0]], one.change[names[0]], "tuned", 30 * n, 300)
        for n, one in enumerate(proofs, start=1)
    ]
    return found, several


def grown(count: int = 5) -> Growth:
    """What folds reached on a tenth, three tenths and all of about 3,200 rows."""
    rows = [(320 + n, 960 + n, 3_200 + n) for n in range(count)]
    return growth(rows, [[0.52 + 0.02 * math.log2(size) + 0.003 * n for size in sizes] for n, sizes in enumerate(rows)])


def seeds() -> tuple[Joint, list[Seed]]:
    """Three seeds that agree."""
    found = made_search.joint(0.8155, 0.0171, 0.0068)
    changes = [Change(gain, gain - 0.012, gain + 0.012, 0.01, 10_000) for gain in (0.0171, 0.0190, 0.0152)]
    return found, [
        Seed(n, "better", 0.8155 + change.difference, change, "tuned", 0.84 + 0.001 * n, 300)
        for n, change in enumerate(changes, start=4)
    ]
