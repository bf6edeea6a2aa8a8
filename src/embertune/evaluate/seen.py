"""What a run saw on test beside figures: similarities before and after, items won and lost, neighbours, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Histogram:
    """How many test items, or pairs of texts, have a similarity within each stretch of `edges`.

    `positive` counts similarities to what belongs to an item, `negative` to what does not; each has one entry fewer
    than `edges`. Before and after have the same edges.
    """

    edges: tuple[float, ...]
    positive: tuple[int, ...]
    negative: tuple[int, ...]


@dataclass(frozen=True)
class Neighbour:
    """A text that stands near a query; `relevant` says whether it is an answer to it, or of its class."""

    text: str
    similarity: float
    relevant: bool


@dataclass(frozen=True)
class Neighbours:
    """What is nearest to a query, nearest first, with the model as it came and with the one that is saved."""

    query: str
    before: tuple[Neighbour, ...]
    after: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Moved:
    """An item of the test set with its texts by column, and its value of the primary metric before and after."""

    texts: Mapping[str, tuple[str, ...]]
    before: float
    after: float


@dataclass(frozen=True)
class SizePoint:
    """A size of the model: its quality with the interval of the value, and seconds to encode 1,000 texts.

    `layers` is None where nothing is known of them, `seconds` where they were not taken.
    """

    label: str
    dimensions: int
    layers: int | None
    value: float
    low: float
    high: float
    seconds: float | None


@dataclass(frozen=True)
class Seen:
    """Of the test set that has the primary metric `metric`, under `similarity`.

    Texts are shortened, and absent where none may be shown: then `won`, `lost` and `neighbours` are empty. `won` and
    `lost` hold the items that moved most, largest movement first. `similarities` holds a sentence for each similarity
    function that disagrees with the primary one, and one that says which is saved with the model. `judged` says what
    the values of won and lost items are: the name of a metric, or what stands for one that has no value per item.
    """

    metric: str
    similarity: str
    before: Histogram | None = None
    after: Histogram | None = None
    won: tuple[Moved, ...] = ()
    lost: tuple[Moved, ...] = ()
    neighbours: tuple[Neighbours, ...] = ()
    sizes: tuple[SizePoint, ...] = ()
    similarities: tuple[str, ...] = ()
    judged: str = ""
