"""Scripts and languages of a side's texts, on a sample by hash."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from embertune.data.findings import Finding
from embertune.data.hashing import mix
from embertune.data.keyed import Keyed
from embertune.data.store import batches
from embertune.data.texts import EXAMPLES, clipped

#: Distinct texts of a side that are looked at, shared between its columns.
SAMPLE = 1000
#: Characters that a text needs before its language is told, and as many of it as are read.
TELLING, READ = 40, 300
#: How sure the language must be: of 8,210 English texts of that length none was taken for another (docs/lab.md).
SURE = 0.99
#: A language with a smaller share of the texts told, or a single text, is taken for a name or a quotation.
LEAST = 0.01

_TOGETHER = {"CJK": "Chinese or Japanese", "HIRAGANA": "Chinese or Japanese", "KATAKANA": "Chinese or Japanese"}
_WIDTHS = ("FULLWIDTH", "HALFWIDTH")


def findings_of_tongues(held: Keyed, seed: int) -> list[Finding]:
    """Columns whose texts are not all of one script, or not all of one language; nothing where they are."""
    sample = sampled(held, seed)
    return [
        *_mixed("scripts", held.side, sample, script, 0.0),
        *_mixed("languages", held.side, sample, language, LEAST),
    ]


def sampled(held: Keyed, seed: int) -> dict[str, list[str]]:
    """Distinct texts of each column, those whose hash of (seed, text) is lowest."""
    columns = held.prepared.text_columns
    found = {}
    for column in columns:
        distinct, first = np.unique(held.folded[column], return_index=True)
        chosen = np.sort(first[np.argsort(mix(distinct, seed, "tongues"))[: SAMPLE // len(columns)]])
        pieces = batches(held.prepared.rows.select(chosen), column)
        found[column] = [text for piece in pieces for text in piece.to_pylist()]
    return found


def _mixed(
    kind: str, side: str, sample: dict[str, list[str]], tell: Callable[[str], str], least: float
) -> list[Finding]:
    """One finding for the columns in which `tell` finds more than one thing; '' is no answer."""
    parts, others, told, examples = [], 0, 0, []
    for column, texts in sample.items():
        names = [tell(text) for text in texts]
        counts = Counter(name for name in names if name)
        whole = counts.total()
        common = [(name, n) for name, n in counts.most_common() if not least or n > max(1, least * whole)]
        told += whole
        if len(common) < 2:
            continue
        parts.append(f"{column} {', '.join(f'{name} {n / whole:.1%}' for name, n in common)}")
        rare = [name for name, _ in common[1:]]
        others += sum(counts[name] for name in rare)
        examples += _first_of(rare, names, texts)
    if not parts:
        return []
    text = f"texts of a sample are in another {kind[:-1]} than most of their column: {'; '.join(parts)}"
    return [Finding(kind, side, text, others, told, tuple(examples[:EXAMPLES]))]


def _first_of(wanted: Sequence[str], names: Sequence[str], texts: Sequence[str]) -> list[str]:
    """A few texts of what is rare, one of each in turn."""
    of_each = [[clipped(text) for name, text in zip(names, texts, strict=True) if name == one] for one in wanted]
    deepest = max(map(len, of_each))
    return [own[depth] for depth in range(min(EXAMPLES, deepest)) for own in of_each if depth < len(own)]


def script(text: str) -> str:
    """The script of most letters of a text, '' without letters."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else ""
    counts = Counter(found for character in text if (found := _script_of(character)))
    return counts.most_common(1)[0][0] if counts else ""


@cache
def _script_of(character: str) -> str:
    """The script that Unicode's name of a letter begins with."""
    words = unicodedata.name(character, "").split()
    words = words[1:] if words and words[0] in _WIDTHS else words
    if not character.isalpha() or not words or words[0] == "MODIFIER":
        return ""
    return _TOGETHER.get(words[0], words[0].capitalize())


def language(text: str) -> str:
    """The language of a text (ISO 639-1), '' where it is too short or not sure."""
    if len(text) < TELLING:
        return ""
    name, sure = _identifier()(" ".join(text[:READ].split()))
    return name if sure >= SURE else ""


@cache
def _identifier() -> Callable[[str], tuple[str, float]]:
    """py3langid (Lui & Baldwin 2012, 97 languages), loaded at first use."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    classify: Callable[[str], tuple[str, float]] = LanguageIdentifier.from_model_file(
        MODEL_FILE, norm_probs=True
    ).classify
    return classify
