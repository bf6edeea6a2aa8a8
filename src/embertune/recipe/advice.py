"""What to try next: rules from what was measured in a run to a setting, the reason with its numbers, the source.

A table beside that of `rules`, tried in order of importance; what the recipe has already is not advised. Test rows say
how sure the verdict is and never which setting is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from embertune.recipe.load import get
from embertune.recipe.losses import LOSSES
from embertune.recipe.positives import keeps_apart
from embertune.recipe.remedying import RungName
from embertune.recipe.rules import MEASURED, SBERT, STABILITY
from embertune.recipe.sections import Recipe

#: Pieces of advice that a run ends with, at most.
MOST = 3
#: A loss over the rows of a batch below which the other rows are hardly mistaken for the right one any more.
LEARNT = 0.05
#: From these shares on, texts cut off and false negatives are worth a word.
CUT_OFF, FALSE = 0.05, 0.02
#: More test rows than this many times those that are there are not asked for.
AFFORDABLE = 20
#: The leaf that a rung stands for where it helped.
OF_RUNG: Mapping[RungName, str] = {
    "rate": "train.learning_rate",
    "dropout": "model.dropout",
    "weight_decay": "train.weight_decay",
    "freeze": "train.freeze",
    "augment": "data.augment",
    "batch_size": "train.batch_size",
}


@dataclass(frozen=True)
class Outcome:
    """What a run came to, as far as advice rests on it.

    `best_step` is 0 where nothing beat the model as it came; `passes` and `best_pass` count passes over the rows at the
    last and at the best step. `loss` is the mean over the last steps. `dev_rows` is 0 without dev; a look measures
    `dev_looked_at` of them. `found` has, for
    what the audit found in train, the share of texts or rows by kind. `reads` and `could_read` are tokens of a text.
    `low` and `high` bound the change of the primary metric on test. `helped` are the rungs after which dev rose above
    its best.
    """

    shape: str
    rows: int
    steps: int
    best_step: int
    passes: float
    best_pass: float
    loss: float = math.nan
    diagnosis: str = ""
    reason: str = ""
    skipped: int = 0
    helped: tuple[str, ...] = ()
    fell_at_once: bool = False
    dev_rows: int = 0
    dev_looked_at: int = 0
    test_rows: int = 0
    verdict: str = ""
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    reads: int | None = None
    could_read: int | None = None
    found: Mapping[str, float] = field(default_factory=dict)

    @property
    def half(self) -> float:
        """Half the interval of the change on test."""
        return (self.high - self.low) / 2

    @property
    def cut_off(self) -> float:
        """The share of training texts of which the end is not read."""
        return self.found.get("truncated", 0.0)

    @property
    def false_negatives(self) -> float:
        """The share of in-batch negatives that are none."""
        return self.found.get("false_negatives", 0.0)

    @property
    def in_small_classes(self) -> float:
        """The share of rows in classes below a tenth of the largest."""
        return self.found.get("imbalance", 0.0)

    @property
    def test_rows_needed(self) -> int | None:
        """Test rows on which a change of this size would be clear, to two digits; None where it is next to none.

        The width of an interval falls with the root of the rows; a fifth more keeps it off zero.
        """
        if not self.test_rows or not abs(self.difference) > self.half / 100:
            return None
        return _round(self.test_rows * (self.half / self.difference) ** 2 * 1.2)


@dataclass(frozen=True)
class Advice:
    """One thing to try: the leaf, what to write there, why (with the numbers of this run), who says so."""

    setting: str
    what: str
    why: str
    source: str = ""

    def as_record(self) -> dict[str, str]:
        """For metrics.json."""
        return asdict(self)


@dataclass(frozen=True)
class When:
    """A condition on what came of the run and on its recipe, and the same in words."""

    words: str
    holds: Callable[[Outcome, Recipe], bool]


@dataclass(frozen=True)
class Try:
    """What to write, in words and of this run; empty where there is nothing left to try."""

    words: str
    of: Callable[[Outcome, Recipe], str]


@dataclass(frozen=True)
class Rule:
    """If `when` holds, `setting` is advised to become `try_`; `why` may name what is in the outcome in braces."""

    setting: str
    when: When
    try_: Try
    why: str
    source: str = ""


def advice(outcome: Outcome, recipe: Recipe) -> tuple[Advice, ...]:
    """At most three pieces for a resolved recipe, the most important first; one for each setting."""
    found: dict[str, Advice] = {}
    for rule in ADVICE:
        if rule.setting in found or not rule.when.holds(outcome, recipe):
            continue
        if what := rule.try_.of(outcome, recipe):
            why = rule.why.format(o=outcome).replace("%", " %").replace("  %", " %")
            found[rule.setting] = Advice(rule.setting, what, why, rule.source)
    return tuple(found.values())[:MOST]


def _instead(setting: str, of: Callable[[Any], Any]) -> Callable[[Outcome, Recipe], str]:
    """`1e-05 instead of 2e-05`: a number made of what the recipe has; empty where it has none or the same."""

    def what(_: Outcome, recipe: Recipe) -> str:
        now = get(recipe, setting)
        if not isinstance(now, int | float) or of(now) == now:
            return ""
        return f"{of(now):g} instead of {now:g}"

    return what


_HALF_RATE = Try("half of it", _instead("train.learning_rate", lambda rate: rate / 2))


def _shorter(outcome: Outcome, recipe: Recipe) -> str:
    """As many passes as were good for dev."""
    epochs = recipe.train.epochs
    passes = max(1, math.ceil(outcome.best_pass))
    return f"{passes} instead of {epochs:g}" if isinstance(epochs, int | float) and passes < epochs else ""


def _kept(rung: RungName, words: str) -> Rule:
    """What helped as a remedy may help from the first step."""
    setting = OF_RUNG[rung]
    by = {
        "rate": _HALF_RATE.of,
        "weight_decay": _instead(setting, lambda value: min(0.1, 10 * value)),
        "batch_size": _instead(setting, lambda value: max(8, value // 2)),
    }
    what = by.get(rung, lambda _outcome, recipe: words if get(recipe, setting) in (None, "auto") else "")
    return Rule(
        setting,
        When(f"the remedy `{rung}` helped", lambda o, _: rung in o.helped),
        Try(words, what),
        f"dev rose above its best after the remedy {rung}, so it may help from the first step",
    )


def _longer(outcome: Outcome, recipe: Recipe) -> str:
    return _instead("train.epochs", lambda epochs: 2 * epochs)(outcome, recipe)


def _tokens(outcome: Outcome, _recipe: Recipe) -> str:
    reads, could = outcome.reads, outcome.could_read
    return f"{min(could, 2 * reads)} instead of {reads}" if reads and could and could > reads else ""


def _more_test(outcome: Outcome, _recipe: Recipe) -> str:
    needed = outcome.test_rows_needed
    if needed is None or not outcome.test_rows < needed <= AFFORDABLE * outcome.test_rows:
        return ""
    return f"about {needed:,} rows instead of {outcome.test_rows:,}"


def _of_batch(outcome: Outcome, recipe: Recipe) -> bool:
    """Whether rows are ranked against those of their batch, and hard negatives could join them."""
    loss = recipe.train.loss
    ranked = loss != "auto" and LOSSES[loss].in_batch_negatives and outcome.shape in ("pairs", "retrieval")
    return ranked and recipe.data.negatives is None


def _could_mask(outcome: Outcome, recipe: Recipe) -> bool:
    return recipe.train.known_positives != "mask" and keeps_apart(recipe.train, outcome.shape)


def _is(name: str) -> When:
    return When(f"diagnosis: {name}", lambda o, _: o.diagnosis == name)


def _round(value: float) -> int:
    """A number of rows to two digits, upwards."""
    power = 10.0 ** max(0, math.floor(math.log10(max(1.0, value))) - 1)
    return int(math.ceil(value / power) * power)


ADVICE: tuple[Rule, ...] = (
    Rule(
        "train.learning_rate",
        When("steps were skipped", lambda o, _: o.skipped > 0),
        _HALF_RATE,
        "{o.skipped:,} of {o.steps:,} steps changed nothing, since loss or gradients were not finite",
        STABILITY,
    ),
    Rule("train.learning_rate", _is("diverging"), _HALF_RATE, "{o.reason}", STABILITY),
    Rule("train.learning_rate", _is("collapsing"), _HALF_RATE, "{o.reason}", STABILITY),
    Rule(
        "data.group",
        _is("leak suspected"),
        Try(
            "a column that rows have in common which must not be parted",
            lambda _, r: "a column that says which rows belong together" if r.data.group == "auto" else "",
        ),
        "{o.reason}",
    ),
    _kept("rate", "half of it"),
    _kept("dropout", "0.1 more than the model has"),
    _kept("weight_decay", "ten times of it, at most 0.1"),
    _kept("freeze", "0.5"),
    _kept("augment", "{delete: 0.1, swap: 0.1}"),
    _kept("batch_size", "half of it, at least 8"),
    Rule(
        "train.learning_rate",
        When(
            "nothing beat the model as it came, and dev fell from the first look on",
            lambda o, _: o.dev_rows > 0 and o.best_step == 0 and o.fell_at_once,
        ),
        _HALF_RATE,
        "dev fell from the first look on, and none of {o.steps:,} steps beat the model as it came",
        STABILITY,
    ),
    Rule(
        "train.epochs",
        When(
            "diagnosis: overfitting, best before the last quarter",
            lambda o, _: o.diagnosis == "overfitting" and 0 < o.best_pass < 0.75 * o.passes,
        ),
        Try("as many passes as were good for dev", _shorter),
        "dev was best after {o.best_pass:.1f} passes of {o.passes:.1f}, and a schedule that ends there lowers its rate "
        "to the end",
        "Prechelt 1998, Early Stopping - But When?",
    ),
    Rule(
        "train.epochs",
        _is("underfitting"),
        Try("twice as many", _longer),
        "{o.reason}",
        SBERT + ", section 4.2",
    ),
    Rule(
        "model.max_length",
        When("texts are cut off that the model could read", lambda o, _: o.cut_off >= CUT_OFF),
        Try("twice of it, at most what the model can", _tokens),
        "{o.cut_off:.0%} of the training texts are longer than the {o.reads} tokens that are read",
    ),
    Rule(
        "data.negatives",
        When(
            "the loss over a batch fell to almost nothing, no negatives are mined",
            lambda o, r: o.loss < LEARNT and _of_batch(o, r),
        ),
        Try("mined ones", lambda *_: "{num_negatives: 1}"),
        "the loss fell to {o.loss:.2g}: the other rows of a batch are hardly mistaken any more, mined ones would be",
        MEASURED,
    ),
    Rule(
        "train.known_positives",
        When("false negatives in batches", lambda o, r: o.false_negatives >= FALSE and _could_mask(o, r)),
        Try("taken out of the loss", lambda *_: "mask"),
        "in a random batch {o.false_negatives:.1%} of the negatives are none",
        MEASURED + ": 0.6 % cost nothing",
    ),
    Rule(
        "data.balance",
        When("classes of unequal size", lambda o, r: o.in_small_classes > 0 and r.data.balance is None),
        Try("batches that draw classes evenly", lambda *_: "batches"),
        "{o.in_small_classes:.1%} of the rows belong to classes below a tenth of the largest",
        MEASURED,
    ),
    Rule(
        "guard.budget",
        When(
            "diagnosis: noisy dev, and only some of dev is looked at",
            lambda o, r: o.diagnosis == "noisy dev" and o.dev_looked_at < o.dev_rows and r.guard.items is None,
        ),
        Try("twice of it, at most 1", _instead("guard.budget", lambda budget: min(1.0, 2 * budget))),
        "{o.reason}; a look measures {o.dev_looked_at:,} of {o.dev_rows:,} dev rows",
    ),
    Rule(
        "guard.items",
        When(
            "diagnosis: noisy dev, and guard.items are looked at",
            lambda o, r: o.diagnosis == "noisy dev" and o.dev_looked_at < o.dev_rows and r.guard.items is not None,
        ),
        Try("twice as many", _instead("guard.items", lambda items: 2 * items)),
        "{o.reason}; a look measures {o.dev_looked_at:,} of {o.dev_rows:,} dev rows",
    ),
    Rule(
        "data.dev",
        When(
            "diagnosis: noisy dev, and all of it is looked at",
            lambda o, _: o.diagnosis == "noisy dev" and o.dev_looked_at >= o.dev_rows,
        ),
        Try("more rows", lambda o, _: f"more than {o.dev_rows:,} rows"),
        "{o.reason}",
    ),
    Rule(
        "data.dev",
        When("no dev", lambda o, r: o.dev_rows == 0 and r.data.dev == "none"),
        Try("rows that steer", lambda *_: "auto"),
        "nothing said which of {o.steps:,} states was the best, so the last one was saved",
    ),
    Rule(
        "data.test",
        When("no test", lambda o, r: o.test_rows == 0 and r.data.test == "none"),
        Try("rows that judge", lambda *_: "auto"),
        "nothing says whether the model got better",
    ),
    Rule(
        "data.test",
        When(
            "the change on test is not clear",
            lambda o, _: o.verdict in ("no clear change", "too few to tell") and o.best_step > 0,
        ),
        Try("as many rows as would tell", _more_test),
        "a change of {o.difference:+.4f} lies within what chance makes of {o.test_rows:,} rows (±{o.half:.4f}); this "
        "says nothing about the settings",
    ),
)
