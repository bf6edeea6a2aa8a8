"""New negatives between passes: where a phase ends for them, and batches that stay as many as they were planned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from embertune.errors import Problem, RecipeError
from embertune.recipe.negatives import WHERE
from embertune.training.batches import Batches


def boundaries(every: int, lengths: Sequence[int], batches: int, accumulate: int) -> tuple[int, ...]:
    """The steps before which negatives are mined anew: after every `every` passes, but not at the end.

    `lengths` are the batches of every pass, `batches` how many are trained on. A pass that ends between two steps,
    because gradients are accumulated, ends with the later one. Raises RecipeError where there is no such step.
    """
    passed, found, steps = 0, [], -(-batches // accumulate)
    for number, length in enumerate(lengths, 1):
        passed += length
        step = -(-passed // accumulate)
        if number % every == 0 and step < steps:
            found.append(step)
    if not found:
        raise _too_late(every, len(lengths))
    return tuple(found)


def check_every(every: int, passes: int) -> None:
    """Raise RecipeError where training ends before negatives could be mined anew, as far as passes tell."""
    if every >= passes:
        raise _too_late(every, passes)


def _too_late(every: int, passes: int) -> RecipeError:
    found = f"found {every}, and training ends after {passes} passes"
    return RecipeError(Problem(f"{WHERE}.every", found, "write a smaller number, leave it out, or train longer"))


def as_planned(plan: Callable[[int, int], Batches], lengths: Sequence[int]) -> Callable[[int, int], Batches]:
    """The batches of `plan`, as many in each pass as `lengths` says.

    Which rows may stand together hangs on their negatives, so that new ones may make a batch more or less. Where there
    are too few, the longest is halved; where there are too many, the shortest is left out.
    """

    def exact(seed: int, epoch: int) -> Batches:
        made = plan(seed, epoch)
        if epoch >= len(lengths):
            return made
        while len(made) > lengths[epoch]:
            made.remove(min(made, key=len))
        while len(made) < lengths[epoch]:
            place = max(range(len(made)), key=lambda n: len(made[n]))
            middle = len(made[place]) // 2
            made[place : place + 1] = [made[place][:middle], made[place][middle:]]
        return made

    return exact
