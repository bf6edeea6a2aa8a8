"""What of a recipe cannot work with the data: each with where, what was found and what would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from embertune.errors import Problem
from embertune.recipe.balancing import misfits_of_balance
from embertune.recipe.load import get
from embertune.recipe.losses import LOSSES, Sampler, losses_for
from embertune.recipe.near import did_you_mean
from embertune.recipe.positives import misfits_of_known
from embertune.recipe.rules import Facts
from embertune.recipe.sections import Recipe


def misfits_of_data(recipe: Recipe, facts: Facts) -> Iterator[Problem]:
    if recipe.data.nli is not None and (facts.origin != "nli" or facts.shape == "nli"):
        yield Problem(
            "data.nli", f"has no effect on {facts.shape} rows that are not made from NLI rows", "leave it out"
        )
    yield from misfits_of_balance(recipe.data.balance, facts.shape, facts.origin)
    if facts.looking is None and recipe.guard.on_overfit != "stop":
        found = f"found {recipe.guard.on_overfit}, and there are no dev rows"
        yield Problem("guard.on_overfit", found, "leave it out, or give data.dev")
    if facts.looking is None and isinstance(recipe.train.keep_general, tuple):
        found = f"found {list(recipe.train.keep_general)}, and there are no dev rows to choose by"
        yield Problem("train.keep_general", found, "write one share, or give data.dev")
    prompts = recipe.model.prompts
    for role in prompts if isinstance(prompts, Mapping) else ():
        if role not in facts.roles:
            yield Problem(
                f"model.prompts.{role}",
                f"{facts.shape} rows have no such role",
                f"roles here: {', '.join(facts.roles)}",
            )


def misfits_of_loss(recipe: Recipe, facts: Facts) -> Iterator[Problem]:
    train = recipe.train
    if train.loss == "auto":
        return
    row = LOSSES[train.loss]
    if facts.shape not in row.samplers:
        yield Problem(
            "train.loss",
            f"{train.loss} takes {', '.join(row.shapes)}, and the data is {facts.shape}",
            f"write one of {', '.join(losses_for(facts.origin))}",
        )
        return
    if row.most_texts is not None and facts.texts_per_row > row.most_texts:
        yield Problem(
            "train.loss",
            f"{train.loss} takes {row.most_texts} texts a row, and the data has {facts.texts_per_row}",
            "leave columns out in data.columns, or write multiple_negatives_ranking",
        )
    yield from misfits_of_known(train, facts.shape)
    yield from _misfits_of_batch(recipe, facts, row.samplers[facts.shape])


def _misfits_of_batch(recipe: Recipe, facts: Facts, sampler: Sampler) -> Iterator[Problem]:
    train = recipe.train
    if not isinstance(train.batch_size, int):
        return
    if sampler == "class_groups" and train.batch_size < 4:
        yield Problem(
            "train.batch_size",
            f"found {train.batch_size}, and {train.loss} needs two rows of two classes in a batch",
            "write 4 or more",
        )
    if sampler == "class_pairs" and train.batch_size > facts.classes:
        yield Problem(
            "train.batch_size",
            f"found {train.batch_size}, and a batch holds one pair of each of {facts.classes} classes",
            f"write {facts.classes} or less, or a batch triplet loss",
        )


def misfits_of_metrics(recipe: Recipe, facts: Facts) -> Iterator[Problem]:
    for path, known in (("guard.metric", facts.dev_metrics), ("evaluate.primary", facts.test_metrics)):
        name = get(recipe, path)
        if known and name not in known and (path, name) != ("guard.metric", "loss"):
            yield Problem(
                path,
                f"found {name!r}, which is not measured",
                did_you_mean(name, list(known), f"known: {', '.join(known)}"),
            )
