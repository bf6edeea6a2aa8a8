"""The nearest known spelling of a name that is not known."""

from __future__ import annotations

import difflib


def did_you_mean(word: str, known: list[str], fallback: str) -> str:
    """The nearest known spellings, or `fallback`."""
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(repr(n) for n in near)}?" if near else fallback
