"""The verdict in plain words: one sentence that gives the size of the change and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.metrics import EVALUATORS
from embertune.evaluate.score import Scores
from embertune.evaluate.similarity import SIMILARITIES
from embertune.recipe.sections import Shape

_NAMES = {
    "ap": "average precision",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "spearman": "Spearman's correlation",
    "pearson": "Pearson's correlation",
    "macro_accuracy": "accuracy averaged over classes",
    "ndcg": "nDCG",
    "mrr": "MRR",
    "map": "MAP",
}

_STANDS, _OWN = "what is sought stands", "a nearest neighbour of their own class"
#: What a metric with no count of items means where it got better, and where it got worse.
_MEANS: Mapping[str, Mapping[str, str]] = {
    "better": {
        "triplets": "more positives are nearer than their negatives",
        "pairs": f"{_STANDS} higher",
        "retrieval": f"{_STANDS} higher",
        "scored": "similarity follows the gold scores more closely",
        "labelled": "pairs that belong together stand out more clearly",
        "classes": f"more texts have {_OWN}",
    },
    "worse": {
        "triplets": "fewer positives are nearer than their negatives",
        "pairs": f"{_STANDS} lower",
        "retrieval": f"{_STANDS} lower",
        "scored": "similarity follows the gold scores less closely",
        "labelled": "pairs that belong together stand out less clearly",
        "classes": f"fewer texts have {_OWN}",
    },
}


@dataclass(frozen=True)
class About:
    """What a change is about: a metric without the name of its set, and the set's shape and items.

    `by_item` says whether the metric is the mean of what each item has.
    """

    metric: str
    shape: Shape
    items: int
    by_item: bool


def sentence(
    verdict: str,
    base: Scores | None = None,
    tuned: Scores | None = None,
    change: Change | None = None,
    metric: str = "",
) -> str:
    """`better: of 168 test queries 23 more now find their match first (between 14 and 32)`, or the like.

    Metrics of items that are won or lost are told as counts, the others as values. `metric` is a full name.
    """
    if base is None or tuned is None or change is None:
        return f"{verdict}: nothing was measured on test, so nothing says whether the model got better"
    about = About(metric.removeprefix(f"{base.name}_"), base.shape, len(base), metric in base.items)
    return f"{verdict}: {told(about, base.values[metric], tuned.values[metric], change)}{_meaning(verdict, about)}"


def told(about: About, before: float, after: float, change: Change) -> str:
    """A change in plain words, without a verdict: `of 168 test queries 23 more now find their match first (…)`."""
    similarity, plain = _parts(about.metric)
    evaluator = EVALUATORS[about.shape]
    if plain in evaluator.gains and about.by_item:
        return _counted(about.items, change, evaluator.items, evaluator.gains[plain])
    one, many = evaluator.items
    where = f"on {about.items:,} {one if about.items == 1 else many}"
    return f"{_name(plain)} ({similarity}) {where} {_moved(before, after, change)}"


def _meaning(verdict: str, about: About) -> str:
    """What a value that rose or fell means to people, after the value; counts need no such words."""
    _, plain = _parts(about.metric)
    counted = plain in EVALUATORS[about.shape].gains and about.by_item
    if counted or verdict not in _MEANS or plain in ("precision", "recall"):
        return ""
    return f": {_MEANS[verdict][about.shape]}"


def _parts(metric: str) -> tuple[str, str]:
    """`cosine_accuracy@1` and `spearman_cosine` alike as similarity and plain metric."""
    for similarity in (*SIMILARITIES, "max"):
        if metric.startswith(f"{similarity}_"):
            return _similarity(similarity), metric.removeprefix(f"{similarity}_")
        if metric.endswith(f"_{similarity}"):
            return _similarity(similarity), metric.removesuffix(f"_{similarity}")
    return "", metric


def _similarity(name: str) -> str:
    return "best similarity" if name == "max" else name


def _name(plain: str) -> str:
    head, at, depth = plain.partition("@")
    return f"{_NAMES.get(head, head)}{at}{depth}"


def _counted(items: int, change: Change, item: tuple[str, str], gain: tuple[str, str]) -> str:
    """`of 168 test queries 23 more now find their match first (between 14 and 32)`."""
    difference, low, high = (round(value * items) for value in (change.difference, change.low, change.high))
    happens = gain[0] if abs(difference) == 1 else gain[1]
    number = f"{_signed(difference)} now" if difference else "as many as before"
    between = _between(difference, low, high)
    return f"of {items:,} {item[0] if items == 1 else item[1]} {number} {happens} ({between})"


def _between(difference: int, low: int, high: int) -> str:
    """The bounds without their direction where both share that of the difference."""
    if difference * low > 0 and difference * high > 0:
        least, most = sorted((abs(low), abs(high)))
        return f"between {least:,} and {most:,}"
    return f"between {_signed(low)} and {_signed(high)}"


def _signed(number: int) -> str:
    return f"{abs(number):,} {'fewer' if number < 0 else 'more'}"


def _moved(before: float, after: float, change: Change) -> str:
    """`rose from 0.6451 to 0.6610, by 0.0159 (between 0.0040 and 0.0280)`."""
    if math.isnan(change.low):
        return "could not be compared: it is undefined on this set"
    if round(change.difference, 4) == 0:
        return f"stayed at {after:.4f} (change between {change.low:+.4f} and {change.high:+.4f})"
    went = "rose" if change.difference > 0 else "fell"
    low, high = change.low, change.high
    if change.excludes_zero:
        low, high = sorted((abs(low), abs(high)))
        between = f"between {low:.4f} and {high:.4f}"
    else:
        between = f"change between {low:+.4f} and {high:+.4f}"
    return f"{went} from {before:.4f} to {after:.4f}, by {abs(change.difference):.4f} ({between})"
