"""The audit: everything that is found in the sides of a run, the gravest first, as findings and as a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from embertune.data.findings import Finding, findings_record
from embertune.data.hashing import Keys
from embertune.data.inbatch import Batches, finding_of_batches
from embertune.data.keyed import Keyed, keyed_sides
from embertune.data.leaks import PAIRED, seen_in
from embertune.data.likeness import findings_of_likeness
from embertune.data.nearness import findings_of_near
from embertune.data.prepared import Note, Sides
from embertune.data.repeats import findings_across, findings_of_repeats
from embertune.data.targets import findings_of_targets
from embertune.data.texts import Tokens, findings_of_texts, read_columns
from embertune.data.tongues import findings_of_tongues

#: Kinds of findings, the gravest first; a kind that is not named here comes after them.
WEIGHT = (
    "leak",
    "conflicting_labels",
    "anchor_is_positive",
    "positive_is_negative",
    "anchor_is_negative",
    "constant",
    "empty",
    "exact_duplicates",
    "normalised_duplicates",
    "near_duplicates",
    "truncated",
    "false_negatives",
    "imbalance",
    "other_labels",
    "other_lengths",
    "other_words",
    "languages",
    "scripts",
    "seen",
    "very_short",
)
#: Kinds that describe the data and point to nothing that is wrong with it.
FACTS = ("lengths", "classes", "labels", "scores", "too_few_to_compare", "like_train")

#: Test is scored apart for rows with and without a text that train has, where both are at least this share.
APART = 0.05


def audit(
    sides: Sides,
    *,
    tokens: Tokens | None = None,
    batches: Batches | None = None,
    near: float | None = None,
    seed: int = 0,
) -> tuple[Finding, ...]:
    """All findings, each once, the gravest first; those of earlier stages (`sides.findings`) are among them.

    `tokens` counts and bounds lengths (in words without it), `batches` says how rows will meet in a batch, `near` is
    the Jaccard similarity from which texts count as near duplicates (None looks for none).
    """
    held = keyed_sides(sides)
    train, others = held[0], held[1:]
    columns = {side.side: read_columns(side, tokens, corpus=_corpus_of_its_own(sides, side)) for side in held}
    found = [*sides.findings]
    for side in held:
        found += findings_of_repeats(side)
        found += findings_of_texts(side.side, columns[side.side], tokens)
        found += findings_of_targets(side)
        found += findings_of_tongues(side, seed)
    texts = train.texts()
    for side in others:
        found += findings_across(train, side)
        found += findings_of_likeness(train, side, (columns["train"], columns[side.side]), seed)
        found += _seen(texts, side)
    found += findings_of_near(held, near)
    found += [finding] if batches and (finding := finding_of_batches(train, batches)) else []
    return ordered(found)


def _corpus_of_its_own(sides: Sides, side: Keyed) -> bool:
    """Whether a side's documents are to be read: dev's are some of train's, as a rule, and so are those of a test."""
    corpus, known = side.prepared.corpus, sides.train.corpus
    return corpus is not None and (side.side == "train" or known is None or not set(corpus.ids) <= set(known.ids))


def _seen(texts: Keys, side: Keyed) -> list[Finding]:
    if len(side.prepared.text_columns) < 2:
        return []
    mask = seen_in(texts, side.prepared, side.folded)
    count = int(mask.sum())
    if not count:
        return []
    what = "a text" if side.prepared.shape in PAIRED else "a text beside their anchor"
    text = f"rows of {side.side} have {what} that stands in train"
    done = "scored apart for seen and unseen rows" if side.side != "dev" and is_apart(count, len(mask)) else ""
    return [Finding("seen", f"train | {side.side}", text, count, len(mask), (), done)]


def is_apart(count: int, rows: int) -> bool:
    """Whether `count` of `rows` test rows, and the others, are enough to be scored apart."""
    return APART * rows <= count <= (1 - APART) * rows


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once: by the weight of its kind, then the larger share first."""
    rank = {kind: place for place, kind in enumerate((*WEIGHT, "", *FACTS))}
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda one: (rank.get(one.kind, rank[""]), -one.share)))


def troubles(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that point to something; the others describe."""
    return [finding for finding in findings if finding.kind not in FACTS]


def audit_record(notes: Iterable[Note], findings: Sequence[Finding] = (), *, examples: bool = True) -> dict[str, Any]:
    """Findings and notes as JSON-ready values, in order; without `examples`, no word of the data is in it."""
    return {
        "findings": findings_record(findings, examples=examples),
        "notes": [_entry(note, examples) for note in notes],
    }


def _entry(note: Note, examples: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"stage": note.stage, "text": note.text, "count": note.count}
    return {**entry, "examples": list(note.examples)} if examples else entry
