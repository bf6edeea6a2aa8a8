"""report.html: one file that needs nothing else, drawn from a template that escapes everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from embertune.data.audit import FACTS
from embertune.report import numbers
from embertune.report.choice import states, words_of
from embertune.report.curves import curves
from embertune.report.drawing import Interval, common_scale, interval
from embertune.report.facts import Facts
from embertune.report.figures import figures
from embertune.report.layers import alike, shares, summary, when
from embertune.report.loading import snippet
from embertune.report.negatives import scores
from embertune.report.results import BEFORE, HOW, Row, groups, level, primary
from embertune.report.scale import Scale, Tick
from embertune.report.shown import ROWS, begun, shortened, visible
from embertune.report.story import story

#: A sign beside each verdict, so that it does not hang on a colour.
SIGNS = {"better": "▲", "worse": "▼", "no clear change": "◆", "too few to tell": "?", "unmeasured": "–"}
#: Rows of the table of looks; of more looks, some in between are left out.
LOOKS = 50


@dataclass(frozen=True)
class Line:
    """A metric and the drawing of its change."""

    row: Row
    drawing: Interval | None


@dataclass(frozen=True)
class Block:
    """The lines of one test set; `about` says what it holds."""

    name: str
    about: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """Test sets whose changes are drawn on one axis."""

    blocks: tuple[Block, ...]
    ticks: tuple[Tick, ...]
    level: str

    def __len__(self) -> int:
        """The number of metrics."""
        return sum(len(block.lines) for block in self.blocks)


def to_html(facts: Facts) -> str:
    """The whole page. With `facts.examples` false, no text of the data is in it."""
    found = groups(facts)
    about = {side.name: f"{side.shape}, {side.rows:,} rows" for side in facts.sides if side.role == "test"}
    main = [(group.name, about.get(group.name, ""), group.main) for group in found]
    further = [(group.name, "", group.further) for group in found if group.further]
    told = story(facts.history, facts.metric)
    scale = common_scale([row for _, _, rows in main for row in rows])
    page = _template().render(
        facts=facts,
        sign=SIGNS.get(facts.proof.verdict, ""),
        primary=primary(found),
        how=HOW,
        before=BEFORE,
        main=_table(main, scale),
        further=_table(further, common_scale([row for _, _, rows in further for row in rows])),
        figures=figures(curves(facts.history, facts.metric, facts.best_step), told, facts.seen),
        banded=any(look.error for look in told.looks),
        story=told,
        looks=told.shown(LOOKS, facts.best_step),
        rows=list(facts.rows)[:ROWS] if facts.examples else [],
        negatives=scores(facts.negatives),
        states=states(facts.choice),
        layers=[] if alike(facts.layers) else list(zip(facts.layers, shares(facts.layers), strict=True)),
        seconds=sum(facts.timing.values()),
        longest=max(facts.timing.values(), default=0.0) or 1.0,
        snippet=snippet(facts, facts.model_path.as_posix()),
    )
    return page.rstrip() + "\n"


def _table(sets: Sequence[tuple[str, str, Sequence[Row]]], scale: Scale) -> Table:
    blocks = tuple(
        Block(name, about, tuple(Line(row, interval(row.change, scale)) for row in rows)) for name, about, rows in sets
    )
    return Table(blocks, scale.ticks(3, sign=True), level(row for _, _, rows in sets for row in rows))


@cache
def _template() -> Template:
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
    return engine.get_template("template.html")


def _finalize(value: Any) -> Any:
    """Every text that a template shows, but for markup of our own, has nothing invisible in it that acts."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
