"""The parts of report.md, and of the card, that show what was seen on test beside figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from embertune.evaluate.seen import Moved, Neighbour, Neighbours, Seen, SizePoint
from embertune.report import numbers
from embertune.report.shown import begun, code, code_cell, prose, shortened

#: Items shown of those won and of those lost, and queries; the page has more of them.
ITEMS, QUERIES = 3, 2
#: Characters of a text in a table.
_CELL = 100


def figures_seen(seen: Seen | None) -> Iterator[str]:
    """What holds no text of the data: similarity functions that disagree, and sizes."""
    if seen is None:
        return
    if seen.similarities:
        yield "### Similarity functions"
        yield "\n".join(f"- {prose(begun(one))}" for one in seen.similarities)
    if seen.sizes:
        yield "### Sizes"
        yield size_table(seen.sizes)


def texts_seen(seen: Seen | None) -> Iterator[str]:
    """Items won and lost, and what is nearest to some queries; nothing where texts may not be shown."""
    if seen is None:
        return
    if seen.won or seen.lost:
        yield "### Won and lost"
        yield f"The values are {prose(seen.judged or seen.metric)}, before and after."
    for name, items in (("won", seen.won), ("lost", seen.lost)):
        if items:
            yield f"**{begun(name)}**, by the largest change:"
            yield "\n".join(line for one in items[:ITEMS] for line in _moved(one))
    if seen.neighbours:
        yield "### What is found first"
        yield f"The texts nearest by {seen.similarity}, before and after; ✓ marks those that belong to the query."
        for one in seen.neighbours[:QUERIES]:
            yield code(shortened(one.query))
            yield _found(one)


def size_table(sizes: Sequence[SizePoint]) -> str:
    """A line for each size that was measured."""
    head = [
        "| model | dimensions | blocks | value [95 % interval of the value alone] | seconds for 1,000 texts |",
        "|---|--:|--:|--:|--:|",
    ]
    return "\n".join([*head, *map(_size, sizes)])


def _size(one: SizePoint) -> str:
    blocks = "" if one.layers is None else f"{one.layers:,}"
    seconds = "" if one.seconds is None else f"{one.seconds:.2f}"
    value = f"{numbers.number(one.value)} [{numbers.number(one.low)}, {numbers.number(one.high)}]"
    return f"| {prose(one.label)} | {one.dimensions:,} | {blocks} | {value} | {seconds} |"


def _moved(one: Moved) -> Iterator[str]:
    yield f"- {numbers.number(one.before)} → {numbers.number(one.after)}"
    for column, texts in one.texts.items():
        yield from (f"  - {prose(column)}: {code(shortened(text))}" for text in texts)


def _found(one: Neighbours) -> str:
    rows = zip_longest(one.before, one.after)
    lines = [f"| {_near(before)} | {_near(after)} |" for before, after in rows]
    return "\n".join(["| before | | | after | | |", "|--:|---|---|--:|---|---|", *lines])


def _near(one: Neighbour | None) -> str:
    if one is None:
        return " | | "
    return f"{one.similarity:.3f} | {'✓' if one.relevant else ''} | {code_cell(shortened(one.text, _CELL))}"
