"""The ready space of a search: a table of rows, each a setting with its range, sized to data and model.

What guidance decides is read (`decided`), never decided again: a range lies around it and within what is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from embertune.recipe.freezing import FreezeSection, all_but
from embertune.recipe.guidance import decided
from embertune.recipe.losses import LOSSES, LossName
from embertune.recipe.optimizers import OPTIMIZERS
from embertune.recipe.options import Option
from embertune.recipe.rules import BERT, ELSA, MEASURED, RANGES, SBERT, STABILITY, Facts, When
from embertune.recipe.schedules import SCHEDULES
from embertune.recipe.searching import Reach, rows_of_trial
from embertune.recipe.sections import Recipe

CLARK = "Clark et al. 2020, arXiv:2003.10555, table 7: 0.8"
SUN = "Sun et al. 2019, arXiv:1905.05583, section 5.3"
DROPOUT = "Srivastava et al. 2014, Dropout, section 7.3; " + BERT + ": 0.1"
_LIMITS = {one.setting: one for one in RANGES}
#: Passes of a trial, at most.
MOST_EPOCHS = 10
#: Below so many layers that are trained, rates by layer say nothing.
LEAST_TRAINED = 2
_PAIRED: LossName = "multiple_negatives_ranking"
#: The losses worth trying on rows of a shape. Not `softmax`, which is there for comparison.
WORTH: Mapping[str, tuple[LossName, ...]] = {
    "triplets": ("multiple_negatives_ranking", "triplet"),
    "scored": ("cosent", "angle", "cosine_similarity"),
    "labelled": ("online_contrastive", "contrastive", "cosent"),
    "classes": ("batch_all_triplet", "batch_semi_hard_triplet", "batch_hard_triplet"),
}
#: The same where guidance takes pairs of one class.
WORTH_PAIRED: tuple[LossName, ...] = ("multiple_negatives_ranking", "batch_all_triplet")


@dataclass(frozen=True)
class Row:
    """A setting that is varied where `when` holds, over what `of` gives (None: nothing to vary); `words` say it."""

    setting: str
    when: When
    words: str
    of: Callable[[Facts, Recipe], Reach | None]
    source: str


def _guided(setting: str, facts: Facts, recipe: Recipe) -> Any:
    return decided(setting, recipe, facts)[0]


def losses_worth(facts: Facts, recipe: Recipe) -> tuple[LossName, ...]:
    """The losses that are tried on such rows, the one that is decided among them; one alone is not varied.

    Mined negatives make triplets of pairs, but of rows whose negatives may be left out again.
    """
    own = recipe.train.loss
    assert own != "auto"
    if facts.origin in ("pairs", "retrieval") or own == "softmax":
        return (own,)
    worth = WORTH.get(facts.shape, ())
    if facts.shape == "classes" and _guided("train.loss", facts, recipe) == _PAIRED:
        worth = WORTH_PAIRED
    fits = [name for name in worth if (LOSSES[name].most_texts or facts.texts_per_row) >= facts.texts_per_row]
    return tuple(dict.fromkeys((*fits, own)))


def _loss(facts: Facts, recipe: Recipe) -> Reach | None:
    return _choice(losses_worth(facts, recipe))


def _choice(values: tuple[Any, ...]) -> Reach | None:
    return Reach("choice", choices=values) if len(values) > 1 else None


def _options(name: str, facts: Facts, recipe: Recipe) -> list[Option]:
    """The option of that name of each loss that is tried and takes it."""
    rows = (LOSSES[loss].options for loss in losses_worth(facts, recipe))
    return [options[name] for options in rows if name in options]


def _option(name: str) -> Callable[[Facts, Recipe], Reach | None]:
    def reach(facts: Facts, recipe: Recipe) -> Reach | None:
        """What is usual for all losses tried, a quarter to four times their defaults."""
        lows, highs, defaults = [], [], []
        for option in _options(name, facts, recipe):
            low, high = option.usual or (0.0, 1.0)
            lows.append(max(low, option.default / 4))
            highs.append(min(high, option.default * 4) or high)
            defaults.append(option.default)
        if not defaults:
            return None
        low, high = min(max(lows), *defaults), max(min(highs), *defaults)
        return Reach("log" if low > 0 else "uniform", low, high)

    return reach


def _varies_margin(facts: Facts, recipe: Recipe) -> bool:
    options = recipe.train.loss_options
    cosine = options is None or options.distance in (None, "cosine")
    return cosine and any("scale" not in LOSSES[name].options for name in losses_worth(facts, recipe))


def _rate(facts: Facts, recipe: Recipe) -> Reach | None:
    limits, own = _LIMITS["train.learning_rate"], recipe.train.learning_rate
    if not OPTIMIZERS[recipe.train.optimizer].published:
        assert own != "auto"
        low, high = own / 4, min(1.0, own * 4)
    else:
        guided = _guided("train.learning_rate", facts, recipe)
        low, high = max(limits.low, guided / 4), min(limits.high, guided * 4)
    low = max(low, 2 * (recipe.train.floor or 0.0))
    return Reach("log", low, high) if low < high else None


def _batch(facts: Facts, recipe: Recipe) -> Reach | None:
    """Powers of two around what guidance gives, and that."""
    guided = _guided("train.batch_size", facts, recipe)
    tried = losses_worth(facts, recipe)
    rows = rows_of_trial(recipe.search, facts.rows)[0] or facts.rows
    most = rows // 4
    if any(LOSSES[name].samplers.get(facts.shape) == "class_pairs" for name in tried):
        most = min(most, facts.classes)
    up = 4 if all(LOSSES[name].in_batch_negatives for name in tried) else 2
    powers = (2**n for n in range(3, 14))
    near = {size for size in powers if guided / 2 <= size <= min(up * guided, most)}
    return _choice(tuple(sorted(near | {guided})))


def _epochs(facts: Facts, recipe: Recipe) -> Reach | None:
    section = recipe.data.negatives
    low = 1 if section is None or section.every is None else section.every + 1
    high = min(MOST_EPOCHS, 2 * _guided("train.epochs", facts, recipe))
    return Reach("whole", low, high) if low < high else None


def _published(setting: str) -> Callable[[Facts, Recipe], Reach | None]:
    return lambda _facts, _recipe: Reach("uniform", _LIMITS[setting].low, _LIMITS[setting].high)


def _warmup(_facts: Facts, recipe: Recipe) -> Reach | None:
    limits = _LIMITS["train.warmup"]
    return Reach("uniform", 0.01 if recipe.train.schedule == "one_cycle" else limits.low, limits.high)


def _schedules(_facts: Facts, recipe: Recipe) -> Reach | None:
    plain = [name for name, row in SCHEDULES.items() if not row.options and (row.falls or recipe.train.floor is None)]
    return _choice(tuple(plain))


def _dropout(_facts: Facts, recipe: Recipe) -> Reach | None:
    own = recipe.model.dropout
    kept = dict(own) if isinstance(own, Mapping) else own
    return _choice((kept, *(rate for rate in (0.0, 0.1, 0.2) if rate != kept)))


def _freeze(facts: Facts, _recipe: Recipe) -> Reach | None:
    counts = {facts.blocks // 3, facts.blocks // 2}
    return _choice((None, *sorted(count for count in counts if count and facts.blocks - count >= LEAST_TRAINED)))


def _trained(facts: Facts, recipe: Recipe) -> int:
    """The layers that are trained when training begins, those that are frozen by a count or a share left out."""
    freeze = recipe.train.freeze
    layers = freeze.layers if isinstance(freeze, FreezeSection) else None
    if (above := all_but(layers)) is not None:
        return above
    if isinstance(layers, float):
        return facts.blocks - round(layers * facts.blocks)
    return facts.blocks - (layers if isinstance(layers, int) else 0)


ALWAYS = When("always", lambda _facts, _recipe: True)
READY: tuple[Row, ...] = (
    Row(
        "train.loss",
        When("triplets, scores, labels and classes", lambda f, r: len(losses_worth(f, r)) > 1),
        "those worth trying on such rows",
        _loss,
        "the table of losses; classes: " + MEASURED,
    ),
    Row(
        "train.loss_options.scale",
        When("a loss with a scale", lambda f, r: bool(_options("scale", f, r))),
        "a quarter to four times the default, within what is usual (log)",
        _option("scale"),
        "the table of losses",
    ),
    Row(
        "train.loss_options.margin",
        When("a loss with a margin and no scale, cosine distance", _varies_margin),
        "what is usual for all losses tried, a quarter to four times the default",
        _option("margin"),
        "the table of losses",
    ),
    Row(
        "train.learning_rate",
        ALWAYS,
        "a quarter to four times what guidance gives, within the published range (log)",
        _rate,
        BERT + "; " + SBERT,
    ),
    Row(
        "train.batch_size",
        When("more than one size fits", lambda f, r: _batch(f, r) is not None),
        "what guidance gives, and powers of two from its half to its double (four times it where the batch gives "
        "negatives), at most a quarter of a trial's rows, and the classes where pairs of them fill it",
        _batch,
        "Keskar et al. 2017, arXiv:1609.04836; Henderson et al. 2017, arXiv:1705.00652",
    ),
    Row(
        "train.epochs",
        When("no `train.max_steps`", lambda _, r: r.train.max_steps is None),
        f"1 to twice what guidance gives, at most {MOST_EPOCHS}",
        _epochs,
        SBERT + "; " + STABILITY,
    ),
    Row("train.schedule", ALWAYS, "those without options", _schedules, "the table of schedules"),
    Row(
        "train.warmup",
        When("a share, as it is by default", lambda _, r: not isinstance(r.train.warmup, str)),
        "the published range",
        _warmup,
        _LIMITS["train.warmup"].source,
    ),
    Row(
        "train.weight_decay",
        ALWAYS,
        "the published range",
        _published("train.weight_decay"),
        _LIMITS["train.weight_decay"].source,
    ),
    Row(
        "model.dropout",
        When("a model with dropout", lambda _, r: r.model.dropout is not None),
        "the model's own, 0, 0.1 and 0.2",
        _dropout,
        DROPOUT,
    ),
    Row(
        "train.freeze",
        When("a model with 3 layers or more, and no thawing", lambda f, r: f.blocks >= 3 and r.train.unfreeze is None),
        "none, a third, a half of the layers",
        _freeze,
        ELSA + "; " + MEASURED,
    ),
    Row(
        "train.layer_decay",
        When(
            "two layers to train or more, and no `train.layer_rates`",
            lambda f, r: _trained(f, r) >= LEAST_TRAINED and r.train.layer_rates is None,
        ),
        "none, 0.95, 0.8",
        lambda _facts, _recipe: _choice((None, 0.95, 0.8)),
        SUN + ": 0.95; " + CLARK,
    ),
    Row(
        "data.negatives",
        When(
            "pairs and retrieval",
            lambda f, r: f.origin in ("pairs", "retrieval") and r.train.loss == _PAIRED,
        ),
        "none, or one mined for each anchor",
        lambda _facts, _recipe: _choice((None, {})),
        "Xiong et al. 2021, arXiv:2007.00808",
    ),
)


def ready(facts: Facts, resolved: Recipe) -> Iterator[tuple[Row, Reach]]:
    """The rows that apply, with their ranges."""
    for row in READY:
        reach = row.of(facts, resolved) if row.when.holds(facts, resolved) else None
        if reach is not None:
            yield row, reach
