"""The recipe: a whole experiment as frozen, typed sections. Every leaf says what it means and what may stand there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from embertune.recipe.augmenting import AugmentSection
from embertune.recipe.balancing import Balance
from embertune.recipe.folding import FoldText
from embertune.recipe.freezing import Freeze, Unfreeze
from embertune.recipe.guarding import GuardSection
from embertune.recipe.losses import LossName
from embertune.recipe.mixing import KeepGeneral, Share
from embertune.recipe.negatives import NegativesSection
from embertune.recipe.nli import NliSection
from embertune.recipe.optimizers import OptimizerName, OptimizerOptions
from embertune.recipe.reporting import ReportTo
from embertune.recipe.schedules import ScheduleName, ScheduleOptions
from embertune.recipe.searching import SearchSection
from embertune.recipe.section import AS_TUPLE, Section, leaf
from embertune.recipe.smaller import Layers, Matryoshka, Rate, Rates
from embertune.recipe.units import EveryText, StretchText

Auto = Literal["auto"]
Nothing = Literal["none"]
ROLES = ("anchor", "positive", "negative", "sentence1", "sentence2", "premise", "hypothesis", "text")
Similarity = Literal["cosine", "dot", "manhattan", "euclidean"]
Pooling = Literal["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
Shape = Literal["pairs", "triplets", "scored", "labelled", "nli", "classes", "retrieval"]
KnownPositives = Literal["apart", "mask", "ignore"]
Precision = Literal["float32", "bfloat16", "float16", "tf32"]


def _known_roles(prompts: Mapping[str, str]) -> Mapping[str, str]:
    if unknown := [role for role in prompts if role not in ROLES]:
        raise ValueError(f"names the role {unknown[0]!r}; the roles are {', '.join(ROLES)}")
    return prompts


RolePrompts = Annotated[Mapping[str, str], AfterValidator(_known_roles)]
SeedNumber = Annotated[int, Field(ge=0, lt=2**31)]


Texts = Annotated[tuple[str, ...], AS_TUPLE]


class ModelSection(Section):
    """Which encoder, and how texts go in."""

    name: str | None = leaf(
        "sentence-transformers/all-MiniLM-L6-v2",
        "the model to start from; null where one is handed over from Python",
        "a local folder or a Hub id",
    )
    pooling: Auto | Pooling = leaf(
        "auto", "how token vectors become one", "auto, mean, cls, max, mean_sqrt_len_tokens, weightedmean or lasttoken"
    )
    prompts: Auto | Nothing | RolePrompts = leaf(
        "auto",
        "text put before every text of a role, in training, evaluation and the saved model",
        'auto (the model\'s own), none, or a mapping such as {anchor: "query: ", positive: "passage: "}',
    )
    max_length: Auto | Annotated[int, Field(ge=2)] = leaf(
        "auto", "tokens after which a text is cut", "auto (the model's own) or a whole number of tokens"
    )
    dropout: Auto | Rate | Rates | None = leaf(
        "auto",
        "dropout of the backbone in training, of every kind it has; the saved model's configuration keeps its own",
        "auto (the model's own), a number from 0 to below 1, a mapping out of {hidden, attention, embedding}, or null "
        "for a model without any",
    )
    layers: Layers = leaf(
        None,
        "cut the backbone to fewer blocks before training; the baseline is the whole model",
        "null, a number of blocks, or a mapping {keep: 3, choose: spread}",
    )
    dimensions: Annotated[int, Field(ge=1)] | None = leaf(
        None,
        "shorter vectors, by a trained layer that begins as the principal components of training texts",
        "null or a whole number below the model's own",
    )


class DataSection(Section):
    """Which rows, and what their columns are."""

    train: str | Texts | None = leaf(
        None,
        "the rows to train on",
        "a file, a folder, a list of files, a BEIR folder, or a Hub id such as "
        "sentence-transformers/all-nli:triplet@train[:100000]",
    )
    dev: Share | str | None = leaf(
        "auto",
        "rows that steer training; auto takes the data's own dev split, or holds out enough for ±3 points (5-20 %)",
        "auto, none, a share such as 0.1, or a path",
    )
    test: Share | str | Mapping[str, str] | None = leaf(
        "auto",
        "rows that are read for the verdict only; auto takes the data's own test split, or holds out 10 %",
        "auto, none, a share such as 0.1, a path, or {name: path}",
    )
    fold: FoldText | None = leaf(
        None,
        "hold out this fold of the training rows as test: what cross-validation does, once for each",
        "null, or which fold of how many, such as '2 of 5'",
    )
    columns: Mapping[str, str] = leaf(
        {}, "role to column, where names do not say it", "a mapping such as {anchor: question, positive: answer}"
    )
    shape: Auto | Shape = leaf(
        "auto",
        "what kind of rows these are",
        "auto, pairs, triplets, scored, labelled, nli, classes or retrieval",
    )
    group: str = leaf(
        "auto",
        "rows that must stay on one side: auto groups by the same anchor, premise or (pairs, retrieval) answer",
        "auto or the name of a column",
    )
    limit: Annotated[int, Field(ge=2)] | None = leaf(
        None, "keep this many prepared training examples, chosen by hash", "null or a whole number of at least 2"
    )
    subset: Share | Annotated[int, Field(ge=2)] | None = leaf(
        None,
        "train on so many of the training rows, whole groups by hash; a smaller part lies within a larger one; dev and "
        "test stay as they are",
        "null, a share such as 0.3, or a whole number of rows",
    )
    nli: NliSection | None = leaf(
        None,
        "how NLI rows become triplets; null for other shapes and for the defaults",
        "null or a mapping with max_per_premise, neutral, keep_pairs",
    )
    leaks: Literal["drop", "error", "keep"] = leaf(
        "drop",
        "what becomes of training rows that show what dev or test asks for: an anchor (a text, for classes), or the "
        "whole pair of labelled, scored and NLI rows",
        "drop, error or keep",
    )
    near_duplicates: Annotated[float, Field(ge=0.5, le=1)] | None = leaf(
        0.8,
        "from which Jaccard similarity of their words and word pairs two texts count as near duplicates",
        "null (none are looked for) or a number from 0.5 to 1",
    )
    augment: AugmentSection | None = leaf(
        None,
        "changed copies of training rows that join them; null makes none",
        "null or a mapping such as {synonyms: 0.2, thesaurus: wordnet}",
    )
    balance: Balance | None = leaf(
        None,
        "what is done about classes or labels of unequal size: oversample repeats training rows of small ones, "
        "undersample leaves out rows of large ones, batches draws them evenly into each batch, weights lets their rows "
        "count more or less in the loss (batches, where the loss cannot)",
        "null, oversample, undersample, batches or weights",
    )
    negatives: NegativesSection | None = leaf(
        None,
        "hard negatives that join the training rows; null mines none, {} mines one for each anchor",
        "null or a mapping with num_negatives, relative_margin …",
    )


class LossOptions(Section):
    """Settings of the loss; each loss takes only its own."""

    scale: Annotated[float, Field(gt=0)] | None = leaf(None, "multiplies the similarity", "a number above 0")
    margin: Annotated[float, Field(ge=0)] | None = leaf(
        None, "the margin, in units of the distance", "a number of at least 0"
    )
    symmetric: bool | None = leaf(None, "also let every positive find its anchor", "true or false")
    distance: Literal["cosine", "euclidean", "manhattan"] | None = leaf(
        None, "the distance between two texts", "cosine, euclidean or manhattan"
    )


class TrainSection(Section):
    """How the model learns."""

    loss: Auto | LossName = leaf("auto", "the loss", f"auto or one of {', '.join(get_args(LossName))}")
    loss_options: LossOptions | None = leaf(
        None, "settings of the loss named in train.loss", "null or a mapping such as {scale: 20.0}"
    )
    known_positives: Auto | KnownPositives | None = leaf(
        "auto",
        "what becomes of rows whose texts would be false negatives of each other (a text in common, a positive known "
        "for the anchor, the same group): apart keeps equal texts out of one batch, mask takes them out of the loss, "
        "ignore does nothing; null where the batch gives no negatives",
        "auto, apart, mask, ignore or null",
    )
    guide: Literal["base"] | None = leaf(
        None,
        "also mask what the model as it was before training finds nearer to the anchor than its positive",
        "null or base (with train.known_positives: mask)",
    )
    guide_margin: Annotated[float, Field(ge=0, le=1)] | None = leaf(
        None,
        "mask already what comes as near as this to the positive, in cosines under the guide; null is 0",
        "null or a number from 0 to 1",
    )
    epochs: Auto | Annotated[float, Field(gt=0)] | None = leaf(
        "auto", "passes over the training rows", "auto, a number above 0, or null with train.max_steps"
    )
    seed: SeedNumber | None = leaf(
        None,
        "decides what training draws, the order of batches, dropout and first weights of heads, and leaves only data "
        "and splits to seed; null takes seed for these as well",
        "null or a whole number from 0",
    )
    max_steps: Annotated[int, Field(ge=1)] | None = leaf(
        None, "optimizer steps, instead of epochs", "null or a whole number of at least 1"
    )
    batch_size: Auto | Annotated[int, Field(ge=2)] = leaf(
        "auto", "rows (pairs for classes) in a batch", "auto or a whole number of at least 2"
    )
    learning_rate: Auto | Annotated[float, Field(gt=0, le=1)] = leaf(
        "auto", "the highest rate, after warm-up", "auto or a number above 0, such as 2e-5"
    )
    scale_rate: Annotated[int, Field(ge=1)] | None = leaf(
        None,
        "the rows of a step for which learning_rate is meant; the rate is multiplied by those there are over it",
        "null or a whole number of rows, such as 64",
    )
    optimizer: OptimizerName = leaf(
        "adamw", "what makes a step of the gradients", f"one of {', '.join(get_args(OptimizerName))}"
    )
    optimizer_options: OptimizerOptions | None = leaf(
        None, "settings of the optimizer named in train.optimizer", "null or a mapping such as {betas: [0.9, 0.98]}"
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)] = leaf(
        0.01,
        "weight decay, decoupled in adamw and added to the gradient in others; norms and biases have none",
        "a number from 0 to 1",
    )
    schedule: ScheduleName = leaf(
        "linear", "how the rate falls after warm-up", f"one of {', '.join(get_args(ScheduleName))}"
    )
    schedule_options: ScheduleOptions | None = leaf(
        None, "settings of the schedule named in train.schedule", "null or a mapping such as {cycles: 3}"
    )
    warmup: Annotated[float, Field(ge=0, lt=1)] | StretchText = leaf(
        0.1,
        "how long the rate rises from 0 (one_cycle: from its first rate): a share of all steps, or so many",
        "a share from 0 to below 1, or steps or epochs: '100 steps', '0.5 epoch'",
    )
    floor: Annotated[float, Field(gt=0, le=1)] | None = leaf(
        None,
        "the rate to which the highest one falls in the end; other layers fall to the same share of theirs",
        "null or a rate below the highest, such as 1e-6",
    )
    gradient_clip: Annotated[float, Field(gt=0)] | None = leaf(
        1.0, "largest norm of all gradients together, heads of losses included", "null or a number above 0"
    )
    accumulate: Annotated[int, Field(ge=1)] = leaf(
        1, "batches whose gradients are added up before a step", "a whole number of at least 1"
    )
    matryoshka: Matryoshka = leaf(
        None,
        "train vectors that can be cut off: the loss is also that of their first so many numbers, and so is test",
        "null, a list of lengths such as [256, 128, 64], or a mapping {dimensions: [128, 64], weights: [1, 0.5]}",
    )
    chunk: Auto | Annotated[int, Field(ge=1)] | None = leaf(
        "auto",
        "tokens that are embedded at a time, so that a large batch fits in memory (gradient caching); null takes the "
        "whole batch; auto is null where the longest batch fits, else the most that does",
        "auto, null or a whole number of tokens",
    )
    layer_decay: Auto | Annotated[float, Field(gt=0, lt=1)] | None = leaf(
        None,
        "every layer has this share of the rate of the one above it; the embeddings come last",
        "null, auto or a number between 0 and 1, such as 0.9",
    )
    layer_rates: Annotated[Mapping[str, Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] | None = leaf(
        None,
        "highest rates of single layers: embeddings, top, head, loss, 'block 3', 'blocks 0-5', or a pattern for names "
        "of parameters; of two keys that meet a parameter, the later counts",
        "null or a mapping such as {embeddings: 5e-6, blocks 0-5: 1e-5}",
    )
    freeze: Freeze = leaf(
        None,
        "what is not trained: so many layers from below with the embeddings, or a mapping that says more",
        "null, auto, a number of layers, a share such as 0.5, 'all but 1', or a mapping {layers: 6, embeddings: false}",
    )
    unfreeze: Unfreeze = leaf(
        None,
        "give frozen layers back to training, from the top of them, one at a time",
        "null, '1 epoch', '200 steps', plateau, or a mapping {every: 1 epoch, layers: 2}",
    )
    prefix_cache: Auto | Literal["float16", "float32"] | None = leaf(
        "auto",
        "keep what frozen layers give for each text in the cache, in numbers of this type, and read it instead of "
        "computing it again; auto is float16 where counting says that it pays",
        "auto, null, float16 or float32",
    )
    average: Annotated[float, Field(gt=0, lt=1)] | None = leaf(
        None,
        "keep a moving average of the weights with this decay; it is what dev measures and what is saved",
        "null or a number between 0 and 1, such as 0.999",
    )
    keep_general: KeepGeneral = leaf(
        "auto",
        "how much of the model as it came is mixed into the weights that are saved, so that it keeps what it could do; "
        "of several shares, and the average of best states, the one that keeps most where dev falls by no more than a "
        "standard error; null saves the best state, or the base",
        "auto, null, a share such as 0.3, or a list of up to three to choose from, such as [0.2, 0.4]",
    )
    save_every: EveryText | None = leaf(
        "auto",
        "how often all that training knows is written down, so that it goes on after a kill; it also is after every "
        "phase; auto is a tenth of the run, but at least 100 steps; null never",
        "auto, null, or steps or a share of an epoch: '500 steps', '0.25 epoch'",
    )
    keep_checkpoints: Annotated[int, Field(ge=1)] | None = leaf(
        2,
        "how many of these checkpoints stay while training goes on; null with save_every: null",
        "a whole number of at least 1, or null",
    )
    precision: Auto | Precision = leaf(
        "auto",
        "what products are done in, in training and on dev; weights, loss and test stay float32; auto measures",
        "auto, float32, bfloat16, float16 or tf32 (the last two with a CUDA GPU)",
    )
    report_to: ReportTo = leaf(
        (), "trackers that follow the run; each must be installed", "a list out of tensorboard, wandb, mlflow, trackio"
    )
    extra: Mapping[str, Any] = leaf(
        {}, "further arguments for the underlying trainer; those that embertune sets are refused", "a mapping"
    )


class EvaluateSection(Section):
    """What is measured before and after."""

    primary: str | None = leaf(
        "auto",
        "the one metric the verdict rests on; null where there is no test",
        "auto or a metric such as help-test_cosine_ndcg@10",
    )
    test: bool = leaf(
        True,
        "measure test; false holds its rows out all the same and reads no figure of them: the verdict is unmeasured",
        "true or false",
    )
    similarity: Annotated[tuple[Similarity, ...], AS_TUPLE, Field(min_length=1)] = leaf(
        ("cosine", "dot", "manhattan", "euclidean"),
        "the similarity functions to measure under",
        "a list out of cosine, dot, manhattan, euclidean",
    )
    retention: str | Mapping[str, str] | None = leaf(
        "auto",
        "what the model could do before and should still do, scored before and after; bundled are general pairs that "
        "come with embertune",
        "auto, bundled, a path, {name: path}, or null",
    )


class ReportSection(Section):
    """What the report shows."""

    examples: bool = leaf(True, "show texts of the data in audit and report", "true or false")


class Recipe(Section):
    """A whole experiment. `seed` decides over the data and, where `train.seed` is null, over what training draws."""

    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    guard: GuardSection = GuardSection()
    evaluate: EvaluateSection = EvaluateSection()
    report: ReportSection = ReportSection()
    search: SearchSection | None = leaf(
        None, "what `embertune search` varies; null for a run", "null or a mapping such as {space: auto, rows: 0.2}"
    )
    seed: SeedNumber = leaf(0, "decides splits, order and dropout", "a whole number from 0")

    @property
    def training_seed(self) -> int:
        """The seed of what training draws; splits, samples and mining go by `seed`."""
        return self.seed if self.train.seed is None else self.train.seed
