"""The host's trainer with our batches, optimizer and rate, and one callback through which a run looks at itself.

`HostTrainer` overrides a short list of documented methods and nothing else (a test holds it to that).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.losses.merged_forward import column_merging_disabled
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import BatchSampler
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from embertune.engine.flat import merge, merges
from embertune.engine.tokens import TokenStore


@dataclass
class PairCollator(SentenceTransformerDataCollator):  # type: ignore[misc]  # the host ships no complete types
    """Turns rows that stand side by side (of one class) into anchor, positive and class, before they are tokenised."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        pairs = zip(features[::2], features[1::2], strict=True)
        rows = [{"anchor": a["text"], "positive": p["text"], "label": a["label"]} for a, p in pairs]
        batch: dict[str, Any] = super().__call__(rows)
        return batch


@dataclass(frozen=True)
class Plan:
    """What the trainer is given to run: batches, the optimizer of the run, and the factor of the rate.

    `factor` takes the row of the table of layers and the step of this phase.
    """

    batches: BatchSampler
    optimizer: torch.optim.Optimizer
    factor: Callable[[str, int], float]
    collator: SentenceTransformerDataCollator
    model: SentenceTransformer
    scaler: torch.amp.GradScaler


class HostTrainer(SentenceTransformerTrainer):  # type: ignore[misc]  # the host ships no complete types
    """Runs one phase. `step_losses` holds the true losses of the current step, one per accumulated batch."""

    optimizer: Any
    lr_scheduler: Any

    def __init__(self, plan: Plan, **arguments: Any) -> None:
        self.plan = plan
        self.step_losses: list[torch.Tensor] = []
        self.model_card_callback_class = _NoCard
        super().__init__(data_collator=plan.collator, **arguments)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_batch_sampler(self, *_: Any, **__: Any) -> BatchSampler:
        """Our own stream of batches."""
        return self.plan.batches

    def create_optimizer(self, *_: Any, **__: Any) -> Any:
        """The one of the run, whose state goes on from phase to phase."""
        if self.optimizer is None:
            self.optimizer = self.plan.optimizer
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Our factor of the highest rate."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer
            rows = [group["row"] for group in optimizer.param_groups]
            factors: list[Callable[[int], float]] = [partial(self.plan.factor, row) for row in rows]
            self.lr_scheduler = LambdaLR(optimizer, factors)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def collect_features(self, inputs: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
        """The host's features, column by column, marked so that a packed model runs them all at once."""
        features, labels = super().collect_features(inputs)
        merge(features)
        return features, labels

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The host's loss, remembered as it is (the host's log replaces NaN by an average), and scaled for float16."""
        with column_merging_disabled() if merges(self.plan.model) else nullcontext():
            loss = super().compute_loss(*args, **kwargs)
        self.step_losses.append(loss.detach())
        return self.plan.scaler.scale(loss)


def features_of(batch: dict[str, Any]) -> tuple[list[dict[str, Any]], torch.Tensor | None]:
    """What a collator made, as losses take it: features column by column, and labels where rows have some."""
    host: Any = SentenceTransformerTrainer
    found: tuple[list[dict[str, Any]], torch.Tensor | None] = host.collect_features(None, batch)
    return found


def loss_of(
    model: SentenceTransformer, loss: torch.nn.Module, columns: list[dict[str, Any]], labels: torch.Tensor | None
) -> torch.Tensor:
    """The loss of a batch outside the host's loop, a scalar; of a loss in several parts the sum, as the host has it."""
    merge(columns)
    with column_merging_disabled() if merges(model) else nullcontext():
        found = loss(columns, labels)
    return torch.stack(list(found.values())).sum() if isinstance(found, dict) else found


class _NoCard(TrainerCallback):  # type: ignore[misc]  # the host ships no complete types
    """Stands where the host would collect rows for a model card of its own, with a bar; ours is written at the end."""

    def __init__(self, _defaults: Any) -> None:
        super().__init__()

    def on_init_end(self, *_: Any, **__: Any) -> None:
        """Nothing."""


class Adapter(TrainerCallback):  # type: ignore[misc]  # the host ships no complete types
    """Joins the host's loop to ours: tells that a step begins, clips, and asks `after_step` whether to stop."""

    def __init__(self, begin: Callable[[], None], clip: Callable[[], None], after_step: Callable[[int], bool]) -> None:
        self.begin, self.clip, self.after_step = begin, clip, after_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The batches of the step are there, and nothing is drawn by chance yet."""
        self.begin()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """All gradients are there, the step is not done."""
        self.clip()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """`state.global_step` steps are done."""
        if self.after_step(state.global_step):
            control.should_training_stop = True


def arguments(*, folder: str, seed: int, batch_size: int, accumulate: int, extra: dict[str, Any]) -> Any:
    """The host's training arguments: what embertune does itself is switched off there, mixed precision included."""
    backends: Any = torch.backends
    products = backends.fp32_precision
    try:
        made = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulate,
            max_grad_norm=0.0,
            eval_strategy="no",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_nan_inf_filter=False,
            seed=seed,
            **{"dataloader_pin_memory": torch.cuda.is_available(), **extra},
        )
    finally:
        backends.fp32_precision = products  # with torch_compile the host turns tf32 on for the whole process
    made.mixed_precision = "no"  # it reads the environment of accelerate; train.precision decides
    made._n_gpu = min(made.n_gpu, 1)  # several visible GPUs would turn into DataParallel
    return made


def release(model: SentenceTransformer) -> None:
    """Take the host's mark off `model`, in place: with it another trainer would not set up mixed precision for it."""
    vars(model).pop("_is_accelerate_prepared", None)


def collator(
    model: SentenceTransformer, prompts: dict[str, str], pairs_of_classes: bool, tokens: TokenStore | None = None
) -> Any:
    """The host's collator with a prompt per column; for pairs of classes the prompts are those of `text`.

    With `tokens`, the store of this very model, no text is tokenised in a step.
    """
    kind = PairCollator if pairs_of_classes else SentenceTransformerDataCollator
    if pairs_of_classes and "text" in prompts:
        prompts = {"anchor": prompts["text"], "positive": prompts["text"]}
    return kind(preprocess_fn=tokens.preprocess if tokens is not None else model.preprocess, prompts=prompts)
