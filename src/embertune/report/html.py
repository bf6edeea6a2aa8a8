"""report.html: one file that needs nothing else, drawn from a template that escapes everything."""

from __future__ import annotations

from embertune.report.choice import states
from embertune.report.curves import curves
from embertune.report.drawing import table
from embertune.report.facts import Facts
from embertune.report.figures import figures
from embertune.report.layers import alike, shares
from embertune.report.loading import snippet
from embertune.report.negatives import scores
from embertune.report.page import SIGNS, template
from embertune.report.results import BEFORE, HOW, groups, primary
from embertune.report.shown import ROWS
from embertune.report.story import story

#: Rows of the table of looks; of more looks, some in between are left out.
LOOKS = 50


def to_html(facts: Facts) -> str:
    """The whole page. With `facts.examples` false, no text of the data is in it."""
    found = groups(facts)
    about = {side.name: f"{side.shape}, {side.rows:,} rows" for side in facts.sides if side.role == "test"}
    main = [(group.name, about.get(group.name, ""), group.main) for group in found]
    further = [(group.name, "", group.further) for group in found if group.further]
    told = story(facts.history, facts.metric)
    page = template("template.html").render(
        facts=facts,
        sign=SIGNS.get(facts.proof.verdict, ""),
        primary=primary(found),
        how=HOW,
        before=BEFORE,
        main=table(main),
        further=table(further),
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
