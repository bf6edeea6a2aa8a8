"""`data.fold`: which fold of how many is held out as test; and the recipes of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator

from embertune.errors import Problem

_PATTERN = re.compile(r"\s*(\d+)\s+of\s+(\d+)\s*")


def parse_fold(text: str) -> tuple[int, int]:
    """`'2 of 5'` as (2, 5); `ValueError` with the right spelling for anything else."""
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError("needs a fold and how many there are, such as '2 of 5'")
    number, folds = int(found[1]), int(found[2])
    if folds < 2 or not 1 <= number <= folds:
        raise ValueError("counts from '1 of n' to 'n of n', with n at least 2")
    return number, folds


def _check(text: str) -> str:
    parse_fold(text)
    return text


FoldText = Annotated[str, AfterValidator(_check)]


def problems_of_fold(fold: str | None, test: object) -> Iterator[Problem]:
    """A fold is the test set: no other can be named beside it; and without one, test cannot be null."""
    if fold is not None and test not in (None, "auto"):
        yield Problem("data.fold", f"found {fold} next to data.test: {test}", "leave one of them out")
