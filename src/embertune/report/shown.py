"""Making any text fit to be shown: nothing invisible that acts, nothing too long, nothing that Markdown would read."""

from __future__ import annotations

import re

#: Characters of a text from the data that are shown; the rest is cut.
LONGEST = 280
#: As many parsed rows as a report shows.
ROWS = 3

#: Controls, and the marks that force a direction on what comes after them; a reader should see that they are there.
_ACTING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_UNPAIRED = re.compile("[\ud800-\udfff]")
_MARKUP = re.compile(r"[\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])")
_BLOCK = re.compile(r"^([#+=-]|\d+(?=[.)](?:\s|$)))")


def visible(text: str) -> str:
    """The text with controls and forced directions written out as `⟨U+202E⟩`, and unpaired surrogates replaced."""
    text = _UNPAIRED.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _ACTING.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """At most `longest` characters, the last of them "…" where something was cut."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def begun(text: str) -> str:
    """A text as the beginning of a sentence: with a capital, if it begins with a word."""
    return text[:1].upper() + text[1:]


def prose(text: str) -> str:
    """One line of Markdown that reads as the text itself, also in a table cell."""
    line = _MARKUP.sub(lambda found: "\\" + found[0], " ".join(visible(text).split()))
    return _BLOCK.sub(lambda found: found[0] + "\\" if found[0].isdigit() else "\\" + found[0], line)


def code(text: str) -> str:
    """One line of Markdown as a code span: nothing in it is markup, a link or a mention."""
    line = " ".join(visible(text).split()) or " "
    ticks = "`" * (_longest_run(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def code_cell(text: str) -> str:
    """A code span for a table cell, where a pipe would end the cell."""
    return code(text).replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """A fenced block, with a fence longer than any run of backticks inside."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{visible(text).rstrip()}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
