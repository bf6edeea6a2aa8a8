"""What the guard sees at a look: numbers only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signs:
    """One look at a run in training; None where something was not measured.

    `loss` is the mean of the true step losses since the look before, dropout and all; `train_loss` and `dev_loss` are
    those of fixed samples without dropout. `value` is the dev metric. `error`, `train_error` and `dev_loss_error` are
    standard errors of the paired difference (same items) of dev metric, train loss and dev loss from the look that was
    best on dev before this one. `gradient_norm` is the largest since the look before, `rate` the highest of any layer.
    `cosine` is the mean over all pairs of sampled embeddings, `rank` their effective rank. `skipped` counts the steps
    of the run that changed nothing because something was not finite.
    """

    step: int
    epoch: float
    loss: float | None = None
    train_loss: float | None = None
    dev_loss: float | None = None
    value: float | None = None
    error: float | None = None
    gradient_norm: float | None = None
    rate: float | None = None
    cosine: float | None = None
    rank: float | None = None
    skipped: int = 0
    train_error: float | None = None
    dev_loss_error: float | None = None
