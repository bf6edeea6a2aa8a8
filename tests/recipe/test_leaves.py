"""The options a user can meet, frozen: adding, renaming or removing one is a decision that shows up here."""

from __future__ import annotations

import dataclasses

from embertune.recipe.check import known_paths
from embertune.recipe.extra import OWNED, PASSED
from embertune.recipe.sections import Recipe

_LEAVES = """
model.name model.pooling model.prompts model.max_length model.dropout model.layers model.layers.keep
model.layers.choose model.dimensions
data.train data.dev data.test data.fold data.columns data.shape data.group data.limit data.subset data.nli
data.nli.max_per_premise
data.nli.neutral data.nli.keep_pairs data.leaks data.near_duplicates data.augment data.augment.delete data.augment.swap
data.augment.synonyms data.augment.thesaurus data.augment.translate data.augment.translate.there
data.augment.translate.back data.augment.columns data.augment.copies data.augment.keep data.balance data.negatives
data.negatives.model data.negatives.num_negatives data.negatives.range_min data.negatives.range_max
data.negatives.relative_margin data.negatives.absolute_margin data.negatives.max_score data.negatives.random
data.negatives.every
train.loss train.loss_options train.loss_options.scale train.loss_options.margin train.loss_options.symmetric
train.loss_options.distance train.known_positives train.guide train.guide_margin train.epochs train.seed train.max_steps
train.batch_size train.learning_rate train.scale_rate train.optimizer train.optimizer_options
train.optimizer_options.betas train.optimizer_options.epsilon train.optimizer_options.momentum
train.optimizer_options.nesterov train.optimizer_options.alpha train.weight_decay train.schedule train.schedule_options
train.schedule_options.cycles train.schedule_options.div_factor train.schedule_options.factor
train.schedule_options.patience train.warmup train.floor train.gradient_clip train.accumulate train.matryoshka
train.matryoshka.dimensions train.matryoshka.weights train.chunk train.layer_decay train.layer_rates train.freeze
train.freeze.layers train.freeze.embeddings train.freeze.patterns train.unfreeze train.unfreeze.every
train.unfreeze.layers train.unfreeze.until train.unfreeze.embeddings train.unfreeze.warmup train.unfreeze.patience
train.prefix_cache train.average train.keep_general train.save_every train.keep_checkpoints train.precision
train.report_to train.extra
guard.eval_every guard.patience guard.min_change guard.metric guard.budget guard.items guard.on_overfit guard.remedies
evaluate.primary evaluate.test evaluate.similarity evaluate.retention
report.examples
search search.space search.rows
seed
"""
LEAVES = _LEAVES.split()


def test_the_leaves_of_a_recipe_are_these_and_no_others() -> None:
    assert list(known_paths()) == LEAVES


def test_every_leaf_says_what_it_means_and_what_may_stand_there() -> None:
    for path in LEAVES:
        section: type = Recipe
        *parents, last = path.split(".")
        for parent in parents:
            annotation = section.model_fields[parent].annotation
            section = next(a for a in (annotation, *getattr(annotation, "__args__", ())) if hasattr(a, "model_fields"))
        field = section.model_fields[last]
        assert field.description, path
        assert field.json_schema_extra["expects"], path


def test_every_argument_of_the_trainer_is_either_passed_on_or_owned() -> None:
    from sentence_transformers import SentenceTransformerTrainingArguments

    of_host = {field.name for field in dataclasses.fields(SentenceTransformerTrainingArguments) if field.init}
    assert not PASSED & set(OWNED)
    assert of_host == PASSED | set(OWNED)


def test_a_leaf_that_stands_in_for_a_trainer_argument_is_there() -> None:
    for name, instead in OWNED.items():
        assert instead.startswith(("use ", "leave it out: ")), name
        if instead.startswith("use ") and "." in instead:
            assert instead.split()[1].rstrip(":") in LEAVES
