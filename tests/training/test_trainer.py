"""Our phase in the host's loop: what is overridden, and that the weights are those of a plain run of the host."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MultipleNegativesRankingLoss
from torch.utils.data import BatchSampler

from embertune.engine.pack import unpack
from embertune.engine.paths import path_of
from embertune.training.batches import SAMPLERS, Stream
from embertune.training.trainer import HostTrainer
from tests import tiny
from tests.training.made import distance, planned, trained, weights

Loader = Callable[[], SentenceTransformer]

ALLOWED = {
    "__init__",
    "create_optimizer",
    "create_scheduler",
    "get_batch_sampler",
    "get_data_collator",
    "collect_features",
    "compute_loss",
    "log",
}


def test_the_trainer_overrides_nothing_but_the_written_list() -> None:
    ours = {name for name, value in vars(HostTrainer).items() if inspect.isfunction(value)}
    assert ours <= ALLOWED
    inherited = {name for name in set(vars(HostTrainer)) - ours if hasattr(SentenceTransformerTrainer, name)}
    assert {name for name in inherited if not name.startswith("_")} == set()


class Plain(SentenceTransformerTrainer):
    """The host's trainer, fed with given batches and otherwise as it is."""

    batches: BatchSampler

    def get_batch_sampler(self, *_: Any, **__: Any) -> BatchSampler:
        return self.batches


def without_dropout(model: SentenceTransformer) -> SentenceTransformer:
    """The same model, in place."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


CASES = {
    "ranking": (tiny.toy_pairs, "distinct", lambda m: MultipleNegativesRankingLoss(m, scale=20.0)),
    "cosent": (tiny.toy_scored, "shuffled", lambda m: CoSENTLoss(m, scale=20.0)),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("case", "clip", "accumulate"),
    [("ranking", None, 1), ("ranking", 0.5, 2), ("cosent", 0.5, 1), ("cosent", None, 2)],
)
def test_the_weights_after_training_are_those_of_a_plain_run_of_the_host(
    tiny_model: Loader, tmp_path: Path, case: str, clip: float | None, accumulate: int, packed: bool
) -> None:
    """Unpacked bit for bit, dropout included, where nothing is clipped: the norm is summed in another order.

    Packed, sums run over fewer terms and dropout draws other numbers, so it is off. The gradient of a key's bias is
    zero in theory, so its last bits decide over its steps: it is left out there.
    """
    rows, sampler, loss = CASES[case]

    def fresh() -> SentenceTransformer:
        return without_dropout(tiny_model()) if packed else tiny_model()

    made = planned(
        fresh(), rows(40), train__max_steps=6, train__batch_size=8, train__learning_rate=1e-3, seed=7,
        train__weight_decay=0.05, train__warmup=0.3, train__gradient_clip=clip, train__accumulate=accumulate,
    )  # fmt: skip
    train = made.data.sides.train
    start = weights(made.built.model)
    assert path_of(made.built.model) is not None
    if not packed:
        unpack(made.built.model)
    trained(made)

    plain = fresh()
    target = ["score"] if case == "cosent" else []
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=1, per_device_train_batch_size=8, learning_rate=1e-3,
        weight_decay=0.05, warmup_steps=2, lr_scheduler_type="linear", max_grad_norm=clip or 0.0, seed=7,
        gradient_accumulation_steps=accumulate, save_strategy="no", logging_strategy="no", report_to="none",
        disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    Plain.batches = Stream(SAMPLERS[sampler](train, 8), 7, 6 * accumulate)
    trainer = Plain(
        model=plain,
        args=arguments,
        train_dataset=train.rows.select_columns([*train.text_columns, *target]),
        loss=loss(plain),
    )
    trainer.train()
    assert trainer.state.global_step == 6
    ours, theirs = (
        {n: w for n, w in weights(m).items() if not n.endswith("key.bias")} for m in (made.built.model, plain)
    )
    assert distance(ours, theirs) < (1e-5 if packed else 1e-6)
    assert packed or clip is not None or distance(weights(made.built.model), weights(plain)) == 0.0
    assert distance(start, weights(plain)) > 1e-3
