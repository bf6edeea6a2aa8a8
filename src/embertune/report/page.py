"""What all pages have in common: one file that needs nothing else, drawn from a template that escapes everything."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from embertune.data.audit import FACTS
from embertune.report import numbers
from embertune.report.choice import words_of
from embertune.report.layers import summary, when
from embertune.report.shown import begun, shortened, visible

#: A sign beside each verdict, so that it does not hang on a colour.
SIGNS = {"better": "▲", "worse": "▼", "no clear change": "◆", "too few to tell": "?", "unmeasured": "–"}


def template(name: str) -> Template:
    """A page of that name in this folder; whoever renders it hands over all that it shows."""
    return _engine().get_template(name)


@cache
def _engine() -> Environment:
    here = files("embertune.report")
    engine = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (here / name).read_text(encoding="utf-8")),
    )
    engine.filters |= {
        "number": numbers.number,
        "signed": numbers.signed,
        "interval": lambda change: numbers.interval(change.low, change.high),
        "p_value": numbers.p_value,
        "duration": numbers.duration,
        "thousands": "{:,}".format,
        "begun": begun,
        "shortened": shortened,
        "percent": numbers.percent,
        "when": when,
        "summary": summary,
        "state": words_of,
    }
    engine.tests["describing"] = lambda finding: finding.kind in FACTS
    sheets = [(here / name).read_text(encoding="utf-8") for name in ("colours.css", "style.css")]
    engine.globals["style"] = Markup("".join(sheets))  # our own files
    return engine


def _finalize(value: Any) -> Any:
    """Every text that a template shows, but for markup of our own, has nothing invisible in it that acts."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
