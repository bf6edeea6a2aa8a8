"""What is done about classes of unequal size: which settings can take effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from embertune.errors import Problem
from embertune.recipe.losses import LOSSES, LossName

Balance = Literal["oversample", "undersample", "batches", "weights"]

#: The shapes whose rows are classes or labels.
BALANCED_SHAPES = ("classes", "labelled", "nli")


def weighs(balance: Balance | None, loss: LossName | Literal["auto"]) -> bool:
    """Whether the loss, named by now, weighs its rows by their class."""
    return balance == "weights" and loss != "auto" and LOSSES[loss].weighted


def draws_evenly(balance: Balance | None, loss: LossName | Literal["auto"]) -> bool:
    """Whether batches draw classes evenly: as asked, or because the loss can carry no weights."""
    return balance == "batches" or (balance == "weights" and not weighs(balance, loss))


def misfits_of_balance(balance: Balance | None, shape: str, origin: str) -> Iterator[Problem]:
    """`data.balance` where the rows, of `shape` as trained and `origin` in the file, have no classes."""
    if balance is None or shape in BALANCED_SHAPES:
        return
    found = f"found {balance}, and {shape} rows have no classes to balance"
    remedy = "leave it out"
    if origin == "nli":
        found = f"found {balance}, and NLI rows that become triplets have no labels to balance"
        remedy = "leave it out, or write train.loss: softmax, which keeps the labels"
    yield Problem("data.balance", found, remedy)
