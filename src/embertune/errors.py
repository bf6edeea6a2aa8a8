"""What can go wrong on the user's side, each as one message that says where, what was found and what would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class EmbertuneError(Exception):
    """A mistake or an obstacle that the user can do something about; shown as one message, without a traceback."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One finding about a recipe: `where` is a dotted path, `found` what stands there, `remedy` what would do."""

    where: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; {self.remedy}" if self.remedy else f"{self.where}: {self.found}"


class RecipeError(EmbertuneError):
    """A recipe that cannot be run; holds all problems found, not only the first."""

    def __init__(self, problems: Sequence[Problem] | Problem, source: str = "recipe") -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.source = source
        if len(self.problems) == 1:
            super().__init__(f"{source}: {self.problems[0]}")
        else:
            lines = "\n".join(f"  {problem}" for problem in self.problems)
            super().__init__(f"{source}: {len(self.problems)} problems\n{lines}")


class PlacedError(EmbertuneError):
    """An error with the three parts that every message needs."""

    def __init__(self, where: str, found: str, remedy: str) -> None:
        self.where, self.found, self.remedy = where, found, remedy
        super().__init__(str(Problem(where, found, remedy)))


class DataError(PlacedError):
    """Rows, columns or files that cannot be used as they are."""


class ModelError(PlacedError):
    """A model that cannot be found, loaded or used for this work."""


class RunFolderError(PlacedError):
    """A run folder that is in use by something else, or that cannot be written."""


class CacheError(PlacedError):
    """A cache that cannot be what was asked for."""


class TrainingError(PlacedError):
    """Training that cannot start or go on."""


class Interrupted(EmbertuneError):  # noqa: N818 not an error, an outcome
    """The user stopped the run; `again` is the command that goes on."""

    exit_code = 130

    def __init__(self, again: str) -> None:
        self.again = again
        super().__init__(f"interrupted; nothing is lost that was written. Go on with: {again}")
