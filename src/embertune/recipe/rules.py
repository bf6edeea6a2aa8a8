"""The rules: facts of data and model -> a setting, the reason, the source; and what is published of settings.

Rules of one setting are tried in order; the first whose condition holds decides. Settings are decided in the order of
`RULES`, so a rule may rest on what was decided before it (batch size on the loss, epochs on the rows, evaluations on
both).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embertune.recipe.budget import ENOUGH, Cost, Spending
from embertune.recipe.distance import Distance
from embertune.recipe.losses import LOSSES
from embertune.recipe.mixing import ONE, TRIED, looks_of_choice
from embertune.recipe.positives import keeps_apart
from embertune.recipe.saving import LEAST_STEPS, TIMES
from embertune.recipe.sections import Recipe
from embertune.recipe.units import parse_span

SBERT = "Reimers & Gurevych 2019, arXiv:1908.10084"
BERT = "Devlin et al. 2019, arXiv:1810.04805, appendix A"
WHOLE = "Devlin et al. 2019, arXiv:1810.04805, section 3.2"
STABILITY = "Mosbach et al. 2021, arXiv:2006.04884"
ELSA = "Lee et al. 2019, arXiv:1911.03090"
ULMFIT = "Howard & Ruder 2018, arXiv:1801.06146, section 3.2"
MEASURED = "measured, docs/lab.md"

#: A trained text costs a forward and a backward pass: about three forward passes
#: (Kaplan et al. 2020, arXiv:2001.08361, section 2.1).
TRAINING_PASSES = 3


@dataclass(frozen=True)
class Facts:
    """What is known before training. `shape` is that of the rows as trained, `origin` that of the file.

    `texts_per_row` is how many texts a training row puts through the model, `looking` what dev costs (None without
    dev), `dev_metric` and `test_metric` the headline metrics of the sides ('' without them). `blocks` are those of the
    model (0 where none can be told apart), `distance` is measured where a setting rests on it. `first_pass` has the
    rows and the batches of a pass, once batches are planned.
    """

    shape: str
    origin: str
    rows: int
    roles: tuple[str, ...]
    classes: int = 0
    texts_per_row: int = 2
    looking: Cost | None = None
    dev_metric: str = ""
    dev_metrics: tuple[str, ...] = ()
    test_metric: str = ""
    test_metrics: tuple[str, ...] = ()
    blocks: int = 0
    distance: Distance | None = None
    first_pass: tuple[int, int] | None = None


@dataclass(frozen=True)
class When:
    """A condition on the facts and on what was decided before, and the same in words."""

    words: str
    holds: Callable[[Facts, Recipe], bool]


@dataclass(frozen=True)
class Value:
    """What a setting becomes, in words and of the facts."""

    words: str
    of: Callable[[Facts, Recipe], Any]


@dataclass(frozen=True)
class Rule:
    """If `when` holds, `setting` becomes `value`; `reason` may name facts in braces."""

    setting: str
    when: When
    value: Value
    reason: str
    source: str


@dataclass(frozen=True)
class Range:
    """Values outside `low` to `high` are unusual: one note, with the source, never an error."""

    setting: str
    low: float
    high: float
    source: str


#: The last rule of a setting.
OTHERWISE = When("otherwise", lambda _facts, _recipe: True)


def _shape(*names: str) -> When:
    return When(" or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0], _of_shape(names))


def _of_shape(names: tuple[str, ...]) -> Callable[[Facts, Recipe], bool]:
    return lambda facts, _recipe: facts.shape in names


def _rows_from(least: int) -> When:
    return When(f"{least:,} rows or more", lambda facts, _recipe: facts.rows >= least)


def _rows_below(most: int) -> When:
    return When(f"fewer than {most:,} rows", lambda facts, _recipe: facts.rows < most)


def _const(value: Any) -> Value:
    return Value(f"`{'null' if value is None else value}`", lambda _facts, _recipe: value)


def _in_batch(recipe: Recipe) -> bool:
    return recipe.train.loss != "auto" and LOSSES[recipe.train.loss].in_batch_negatives


def _pairs_of_classes(facts: Facts, recipe: Recipe) -> bool:
    return facts.shape == "classes" and recipe.train.loss == "multiple_negatives_ranking"


def steps_per_epoch(facts: Facts, recipe: Recipe) -> float:
    """Optimizer steps in one pass, from the resolved batch size; until batches are planned a few may be missing."""
    assert isinstance(recipe.train.batch_size, int)
    if facts.first_pass is not None:
        return facts.first_pass[1] / recipe.train.accumulate
    return max(1.0, facts.rows / (recipe.train.batch_size * recipe.train.accumulate))


def _total_steps(facts: Facts, recipe: Recipe) -> float:
    train = recipe.train
    if train.max_steps is not None:
        return train.max_steps
    assert isinstance(train.epochs, int | float)
    return train.epochs * steps_per_epoch(facts, recipe)


def spending_of(facts: Facts, recipe: Recipe) -> Spending:
    """What looking at dev costs in a run whose batches and passes are decided, and what it may cost."""
    assert facts.looking is not None
    assert isinstance(recipe.train.batch_size, int)
    steps = _total_steps(facts, recipe)
    rows, batches = facts.first_pass or (recipe.train.batch_size, 1)
    trained = steps * recipe.train.accumulate * rows / batches * facts.looking.row
    steering = ENOUGH if recipe.guard.metric == "loss" else 0
    later = 0 if recipe.guard.metric == "loss" else looks_of_choice(recipe.train.keep_general)
    return Spending(facts.looking, math.ceil(steps), trained, recipe.guard.budget, steering, later)


def interval_of(facts: Facts, recipe: Recipe) -> int:
    """Steps from one look at dev to the next, as the recipe says."""
    assert recipe.guard.eval_every not in (None, "auto")
    return parse_span(recipe.guard.eval_every).in_steps(steps_per_epoch(facts, recipe))


def _room(facts: Facts, recipe: Recipe, shares: tuple[float, ...]) -> bool:
    """Whether looks at mixtures with these shares, and at the average, are worth what they take."""
    smaller = recipe.model.layers is not None or recipe.model.dimensions is not None
    if facts.looking is None or recipe.guard.metric == "loss" or smaller:
        return False
    every = None if recipe.guard.eval_every == "auto" else interval_of(facts, recipe)
    return spending_of(facts, recipe).room_for(looks_of_choice(shares), every)


def _eval_every(facts: Facts, recipe: Recipe) -> str:
    return f"{spending_of(facts, recipe).interval()} steps"


def _save_every(facts: Facts, recipe: Recipe) -> str:
    return f"{max(LEAST_STEPS, math.ceil(_total_steps(facts, recipe) / TIMES))} steps"


def _near_and_small(facts: Facts, _recipe: Recipe) -> bool:
    return facts.distance is not None and facts.distance.near and facts.rows < 1_000 and facts.blocks >= 2


def _half_at_the_bottom(facts: Facts, _recipe: Recipe) -> float | None:
    return round(0.5 ** (1 / facts.blocks), 3) if facts.blocks else None


RULES: tuple[Rule, ...] = (
    Rule(
        "train.loss",
        _shape("pairs", "retrieval", "triplets"),
        _const("multiple_negatives_ranking"),
        "{shape}: every other text of the batch is a negative for free",
        "Henderson et al. 2017, arXiv:1705.00652",
    ),
    Rule(
        "train.loss",
        When("classes, 16 or more of them", lambda f, _: f.shape == "classes" and f.classes >= 16),
        _const("multiple_negatives_ranking"),
        "{classes} classes: pairs of one class, all classes of a batch distinct, beat the batch triplet losses",
        MEASURED,
    ),
    Rule(
        "train.loss",
        _shape("classes"),
        _const("batch_all_triplet"),
        "{classes} classes are too few for batches of distinct classes",
        "Hermans et al. 2017, arXiv:1703.07737",
    ),
    Rule(
        "train.loss",
        _shape("scored"),
        _const("cosent"),
        "scores: the order of the pairs is what Spearman measures",
        "Huang et al. 2024, CoSENT",
    ),
    Rule(
        "train.loss",
        _shape("labelled"),
        _const("online_contrastive"),
        "pairs labelled 0 or 1: learn from the hard ones of each batch",
        "Hadsell et al. 2006",
    ),
    Rule(
        "train.known_positives",
        When("a text could be its own negative in a batch", lambda f, r: keeps_apart(r.train, f.shape)),
        _const("apart"),
        "a text that stands twice in a batch would be its own negative",
        MEASURED,
    ),
    Rule(
        "train.batch_size",
        When("pairs of one class", _pairs_of_classes),
        Value("the number of classes, at most 64", lambda f, _: min(64, f.classes)),
        "at most one pair of each of the {classes} classes",
        MEASURED,
    ),
    Rule(
        "train.batch_size",
        When("a loss with negatives from the batch, 256 rows or more", lambda f, r: _in_batch(r) and f.rows >= 256),
        _const(64),
        "every row of a batch is a negative for the others: 64 beat 16 on 368 rows",
        MEASURED,
    ),
    Rule(
        "train.batch_size",
        When("a loss with negatives from the batch", lambda _, r: _in_batch(r)),
        Value("a quarter of the rows, at least 4", lambda f, _: max(4, f.rows // 4)),
        "{rows} rows: as many negatives as a quarter of them gives",
        "Henderson et al. 2017, arXiv:1705.00652",
    ),
    Rule("train.batch_size", _rows_from(2_000), _const(64), "64 fits everywhere", BERT + ": 16 or 32 on small sets"),
    Rule(
        "train.batch_size",
        OTHERWISE,
        _const(16),
        "{rows} rows: small batches leave enough steps to learn in, and their noise keeps from remembering rows",
        SBERT + ", section 3.1; Keskar et al. 2017, arXiv:1609.04836",
    ),
    Rule(
        "train.epochs",
        When("`train.max_steps` is set", lambda _, r: r.train.max_steps is not None),
        _const(None),
        "train.max_steps decides",
        "",
    ),
    Rule("train.epochs", _rows_from(20_000), _const(1), "{rows} rows: one pass is enough", SBERT + ", section 3.1"),
    Rule(
        "train.epochs",
        _rows_from(2_000),
        _const(3),
        "{rows} rows: a few passes, stopped early if dev falls",
        SBERT + ", section 4.2",
    ),
    Rule(
        "train.epochs",
        OTHERWISE,
        _const(5),
        "{rows} rows: several passes, or there are too few steps; where there is dev, its best state is kept",
        MEASURED + "; " + STABILITY,
    ),
    Rule(
        "train.learning_rate",
        _rows_below(2_000),
        _const(5e-5),
        "{rows} rows make few steps: the upper end of the published rates, between two that were tried (docs/lab.md)",
        BERT,
    ),
    Rule(
        "train.learning_rate",
        OTHERWISE,
        _const(2e-5),
        "the published rate for fine-tuning encoders",
        SBERT + ", section 3.1",
    ),
    Rule(
        "train.freeze",
        _shape("classes"),
        _const(None),
        "{distance}, classes: with half of the layers frozen, 300 rows of them ended 0.8 points lower",
        MEASURED,
    ),
    Rule(
        "train.freeze",
        When("texts near to what the model knows, fewer than 1,000 rows", _near_and_small),
        Value("half of the layers", lambda f, _: f.blocks // 2),
        "{rows} rows of texts that the model knows ({distance}): half the time; 300 triplets lost nothing by it, "
        "400 pairs of SciFact half a point",
        ELSA + "; " + MEASURED,
    ),
    Rule("train.freeze", OTHERWISE, _const(None), "{distance}, {rows} rows: every layer is trained", WHOLE),
    Rule(
        "train.layer_decay",
        When("texts far from what the model knows", lambda f, _: f.distance is not None and f.distance.far),
        Value("the embeddings learn at half the rate of the top", _half_at_the_bottom),
        "{distance}: far from what the model knows, so every layer is trained, the lower ones at about half the rate",
        ULMFIT,
    ),
    Rule("train.layer_decay", OTHERWISE, _const(None), "{distance}: one rate for all layers", WHOLE),
    Rule(
        "train.save_every",
        OTHERWISE,
        Value(f"a tenth of the run, at least {LEAST_STEPS} steps", _save_every),
        f"{TIMES} times in a run, and no more often than every {LEAST_STEPS} steps, which are quickly done again",
        "",
    ),
    Rule(
        "train.keep_general",
        When("dev is large enough for the run, and the model keeps its size", lambda f, r: _room(f, r, TRIED)),
        Value(f"`{list(TRIED)}`", lambda _facts, _recipe: TRIED),
        "tried on dev after training; one within its noise is taken where it wins back what was lost",
        "Wortsman et al. 2022, arXiv:2109.01903, section 3",
    ),
    Rule(
        "train.keep_general",
        When("the same, where looks at dev are dear", lambda f, r: _room(f, r, ONE)),
        Value(f"`{list(ONE)}`", lambda _facts, _recipe: ONE),
        "guard.budget has room for looks at two more states after training: the average and one mixture",
        "Wortsman et al. 2022, arXiv:2109.01903, section 3",
    ),
    Rule("train.keep_general", OTHERWISE, _const(None), "no look at dev to spare, or nothing to mix with", ""),
    Rule(
        "guard.eval_every",
        When("there is a dev set", lambda f, _: f.looking is not None),
        Value("so many steps", _eval_every),
        "as often as guard.budget allows, 2 to 20 times: {looking}",
        MEASURED,
    ),
    Rule(
        "guard.min_change",
        When("there is a dev set, and patience", lambda f, r: f.looking is not None and r.guard.patience is not None),
        _const("1 standard error"),
        "a gain that chance may make begins no patience anew",
        "the one-standard-error rule: Hastie et al. 2009, The Elements of Statistical Learning, section 7.10",
    ),
    Rule(
        "guard.min_change", When("no patience", lambda _, r: r.guard.patience is None), _const(None), "no patience", ""
    ),
    Rule(
        "guard.metric",
        When("there is a dev set", lambda f, _: f.dev_metric != ""),
        Value("the headline of its shape", lambda f, _: f.dev_metric),
        "the headline of {shape}",
        "",
    ),
    Rule(
        "evaluate.retention",
        OTHERWISE,
        _const("bundled"),
        "general pairs show whether training cost the model what it could do before",
        "McCloskey & Cohen 1989, Catastrophic interference",
    ),
    Rule(
        "evaluate.primary",
        When("there is a test set", lambda f, _: f.test_metric != ""),
        Value("the headline of its shape", lambda f, _: f.test_metric),
        "the headline of the first test set",
        "",
    ),
)

RANGES: tuple[Range, ...] = (
    Range("train.learning_rate", 1e-6, 1e-4, BERT + ": 2e-5 to 5e-5; " + SBERT + ": 2e-5"),
    Range("train.warmup", 0.0, 0.3, SBERT + ", section 3.1: 0.1"),
    Range("train.weight_decay", 0.0, 0.1, BERT + ": 0.01"),
    Range("train.gradient_clip", 0.1, 10.0, "BERT's published training code: 1.0"),
    Range("train.epochs", 0.01, 40, STABILITY + ": up to 20 epochs on small sets"),
    Range("train.batch_size", 8, 8192, SBERT + ": 16; larger with in-batch negatives"),
)
