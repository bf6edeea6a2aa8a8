"""The recipe reference, made from the code that checks and completes recipes.

`python -m embertune.reference > docs/recipe.md` writes it anew; `python -m embertune.reference rules`, `… advice` and
`… space` print the tables that stand in docs/guide.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from pydantic import BaseModel

from embertune.recipe import load_recipe
from embertune.recipe.advice import ADVICE
from embertune.recipe.extra import OWNED, PASSED
from embertune.recipe.guidance import Resolved, decide
from embertune.recipe.load import get
from embertune.recipe.losses import LOSSES, LossRow, Sampler
from embertune.recipe.measured import MEASURED
from embertune.recipe.optimizers import OPTIMIZERS
from embertune.recipe.options import Option
from embertune.recipe.ready import READY, WORTH, WORTH_PAIRED
from embertune.recipe.rules import RANGES, RULES, Facts
from embertune.recipe.schedules import SCHEDULES
from embertune.recipe.searchable import UNSEARCHABLE
from embertune.recipe.sections import Recipe, Shape

_INTRO = """\
# Recipe reference

Made from the code by `python -m embertune.reference > docs/recipe.md`; a test keeps both the same.

A recipe is YAML 1.2 or TOML. Every leaf has a default, so a recipe holds only what differs; `embertune init DATA`
writes a complete one. On the command line, `--set path=value` overrides a leaf. Unknown keys are refused. `auto` lets
embertune decide, and the resolved recipe in the run folder says what and why.
"""

_BATCHES: Mapping[Sampler, str] = {
    "distinct": "no text twice in a batch (negatives may repeat among themselves): a twin would be a false negative",
    "class_pairs": "pairs of two rows of one class, all classes of a batch distinct; partners change every epoch",
    "class_groups": "several rows of each of a few classes",
    "shuffled": "any order",
}

#: Settings that hang on the number of rows alone, for rows that are neither classes nor NLI.
_BY_ROWS = ("train.batch_size", "train.epochs")
_MOST_ROWS, _MOST_CLASSES = 1_000_000, 1_000


def to_markdown() -> str:
    """The whole reference, as it stands in docs/recipe.md."""
    parts = [_INTRO, *_sections(), _losses(), _steps(), _decisions(), _unusual(), _searched(), _extra()]
    return "\n".join(parts)


def _sections() -> Iterator[str]:
    for name, field in Recipe.model_fields.items():
        kinds = (type(field.default), *get_args(field.annotation))
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if section is not None:
            yield f"## {name}\n\n{_first(section)}\n\n{_leaves_table(section, f'{name}.')}"
    yield f"## At the top\n\n{_leaves_table(Recipe, '', deep=False)}"


def _first(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").split("\n")[0]


def _leaves_table(section: type[BaseModel], prefix: str, *, deep: bool = True) -> str:
    rows = (
        (f"`{path}`", f"`{_yaml(field.default)}`", field.description, field.json_schema_extra["expects"])
        for path, field in _leaves(section, prefix, deep=deep)
    )
    return _table(("leaf", "default", "meaning", "what may stand there"), rows)


def _leaves(section: type[BaseModel], prefix: str, *, deep: bool) -> Iterator[tuple[str, Any]]:
    """Every leaf by its dotted path, those of sections that may be null after the section."""
    for name, field in section.model_fields.items():
        if field.json_schema_extra:
            yield prefix + name, field
        inner = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type)]
        for kind in (a for a in inner if deep and issubclass(a, BaseModel)):
            yield from _leaves(kind, f"{prefix}{name}.", deep=deep)


def _losses() -> str:
    losses = ((f"`{name}`", row.means, _put_together(row), row.source) for name, row in LOSSES.items())
    return "\n".join(
        (
            "## Losses\n",
            "`train.loss` is one of these. A loss that does not fit the data is refused with those that do. NLI rows",
            "become triplets first, unless the loss is `softmax`.\n",
            _table(("loss", "what it asks for", "shapes, and their batches", "source"), losses),
            "How batches are put together:\n",
            *(f"- `{name}`: {means}" for name, means in _BATCHES.items()),
            "",
            "Options of losses, in `train.loss_options`:\n",
            _options("loss", LOSSES),
        )
    )


def _options(kind: str, table: Mapping[Any, Any]) -> str:
    """The options of the rows of a table."""
    rows = (
        (f"`{name}`", f"`{option}`", f"`{_yaml(of.default)}`", of.means, _usual(of))
        for name, row in table.items()
        for option, of in row.options.items()
    )
    return _table((kind, "option", "default", "meaning", "usual"), rows)


def _steps() -> str:
    """Optimizers and schedules."""
    optimizers = (
        (f"`{name}`", row.means, "apart from the gradient" if row.decoupled else "added to the gradient", row.source)
        for name, row in OPTIMIZERS.items()
    )
    schedules = ((f"`{name}`", row.means, "yes" if row.falls else "no", row.source) for name, row in SCHEDULES.items())
    return "\n".join(
        (
            "## Optimizers and schedules\n",
            "`train.optimizer` is one of these. `sgd` has no published rate for such models, so it wants one in the",
            "recipe.\n",
            _table(("optimizer", "its step", "weight decay", "source"), optimizers),
            "Options of optimizers, in `train.optimizer_options`:\n",
            _options("optimizer", OPTIMIZERS),
            "`train.schedule` is one of these. `train.floor` is the rate to which those fall that can.\n",
            _table(("schedule", "after warm-up", "floor", "source"), schedules),
            "Options of schedules, in `train.schedule_options`:\n",
            _options("schedule", SCHEDULES),
        )
    )


def _put_together(row: LossRow) -> str:
    shapes: dict[str, list[str]] = {}
    for shape, sampler in row.samplers.items():
        shapes.setdefault(sampler, []).append(shape)
    limit = f"; at most {row.most_texts} texts a row" if row.most_texts else ""
    return "; ".join(f"{', '.join(names)}: `{sampler}`" for sampler, names in shapes.items()) + limit


def _usual(option: Option) -> str:
    return f"{option.usual[0]:g} to {option.usual[1]:g}" if option.usual else ", ".join(option.choices)


def _decisions() -> str:
    return "\n".join(
        (
            "## What `auto` becomes\n",
            "The loss, by shape:\n",
            _table(("rows", "`train.loss`"), _by_shape()),
            "Batches and passes, by the number of training rows (classes: see the rules):\n",
            _table(("setting", "from rows", "value"), _by_rows()),
            "All rules, with reasons and sources, stand in [the guide](guide.md#what-auto-decides). The leaves of",
            "`model` that are `auto` are the model's own, those of `data` are found in the data.\n",
            f"Measured on the machine before the first step: {', '.join(f'`{path}`' for path in MEASURED)}. A run that",
            "goes on keeps what was decided when it began.\n",
        )
    )


def to_rules() -> str:
    """The decision table, as it stands in docs/guide.md."""
    return _table(("setting", "when", "becomes", "why", "source"), _rules())


def to_space() -> str:
    """The ready space of a search, as it stands in docs/guide.md."""
    told = {row.setting: row.words for row in READY}
    told["train.loss"] += f": {_losses_tried()}"
    rows = ((f"`{row.setting}`", row.when.words, told[row.setting], row.source) for row in READY)
    return _table(("setting", "when", "is tried", "source"), rows)


def _losses_tried() -> str:
    worth = {**WORTH, "classes that fill batches of pairs": WORTH_PAIRED}
    return "; ".join(f"{shape} {', '.join(f'`{name}`' for name in names)}" for shape, names in worth.items())


def _searched() -> str:
    reasons: dict[str, list[str]] = {}
    for setting, why in UNSEARCHABLE.items():
        reasons.setdefault(why, []).append(f"`{setting}`")
    return "\n".join(
        (
            "## What can be searched\n",
            "`search.space` is a mapping from the path of a leaf to `{log: [low, high]}`, `{uniform: [low, high]}`,",
            "`{whole: [low, high]}` or a list of choices. Any leaf may stand there but these, with all below them:\n",
            _table(("leaf", "because"), ((", ".join(paths), why) for why, paths in reasons.items())),
            "The ready space (`auto`) stands in [the guide](guide.md#what-a-search-varies).\n",
        )
    )


def to_advice() -> str:
    """The table of advice, as it stands in docs/guide.md."""
    return _table(("setting", "when", "try", "why", "source"), _pieces())


def _pieces() -> Iterator[Sequence[str]]:
    for rule in ADVICE:
        yield f"`{rule.setting}`", rule.when.words, rule.try_.words, _slanted(rule.why), rule.source


def _slanted(template: str) -> str:
    """What is filled in from a run by its name, `{o.best_pass:.1f}` as *best pass*."""
    return re.sub(r"\{o\.(\w+)[^}]*\}", lambda found: f"*{found[1].replace('_', ' ')}*", template)


def _rules() -> Iterator[Sequence[str]]:
    told = ""
    for rule in RULES:
        setting = "" if rule.setting == told else f"`{rule.setting}`"
        told = rule.setting
        reason = rule.reason.replace("{", "*").replace("}", "*")
        yield setting, rule.when.words, rule.value.words, reason, rule.source


def _by_shape() -> Iterator[Sequence[str]]:
    for shape in (name for name in get_args(Shape) if name not in ("nli", "classes")):
        yield shape, f"`{_resolved(shape).recipe.train.loss}`"
    for first, last, loss in _runs(_loss_for_classes, 2, _MOST_CLASSES):
        yield f"{first} to {last} classes" if last < _MOST_CLASSES else f"{first} classes and more", f"`{loss}`"


def _loss_for_classes(classes: int) -> str:
    return _resolved("classes", classes=classes).recipe.train.loss


def _by_rows() -> Iterator[Sequence[str]]:
    for path in _BY_ROWS:
        for first, _, value in _runs(partial(_value_for_rows, path), 2, _MOST_ROWS):
            yield f"`{path}`", f"{first:,}", _yaml(value)


def _value_for_rows(path: str, rows: int) -> Any:
    return get(_resolved("pairs", rows=rows).recipe, path)


def _runs(value_at: Callable[[int], Any], low: int, high: int) -> Iterator[tuple[int, int, Any]]:
    """Stretches of whole numbers on which a value is the same: first, last, value.

    Found by halving, so a value must change at most once between powers of two.
    """
    start = low
    while start < high:
        end = start
        while end < high and value_at(min(2 * end, high)) == value_at(start):
            end = min(2 * end, high)
        beyond = min(2 * end, high)
        while beyond - end > 1:
            middle = (end + beyond) // 2
            end, beyond = (middle, beyond) if value_at(middle) == value_at(start) else (end, middle)
        yield start, end, value_at(start)
        start = beyond


def _resolved(shape: str, rows: int = 1_000, classes: int = 50) -> Resolved:
    """What guidance decides for a default recipe on such data."""
    return decide(load_recipe(set={"data.dev": "none"}), Facts(shape, shape, rows, (), classes=classes))


def _unusual() -> str:
    rows = ((f"`{r.setting}`", f"{r.low:g}", f"{r.high:g}", r.source) for r in RANGES)
    return "\n".join(
        (
            "## Published ranges\n",
            "A value outside is used, with one note that names the source.\n",
            _table(("setting", "from", "to", "source"), rows),
        )
    )


def _extra() -> str:
    owned: dict[str, list[str]] = {}
    for name, instead in OWNED.items():
        owned.setdefault(instead, []).append(f"`{name}`")
    return "\n".join(
        (
            "## train.extra\n",
            "Handed on to the underlying trainer as they are (what they mean is in its documentation):\n",
            ", ".join(f"`{name}`" for name in sorted(PASSED)) + ".\n",
            "Refused, because embertune decides them:\n",
            _table(("argument", "instead"), ((", ".join(names), instead) for instead, names in owned.items())),
        )
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(_yaml(one) for one in value)}]"
    return str(value)


if __name__ == "__main__":
    made = {"rules": to_rules, "advice": to_advice, "space": to_space}.get(sys.argv[-1], to_markdown)
    sys.stdout.write(made())
