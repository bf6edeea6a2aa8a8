"""Trackers that follow a run (`train.report_to`): the host's own callbacks, over one life of the run.

Every phase is a `train()` of the host, so its callbacks would begin and end with each of them. Here they begin once,
are told every line of the history with its step in the run, and end once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from transformers import TrainerControl, TrainerState
from transformers.integrations import get_reporting_integration_callbacks

from embertune.errors import Problem, RecipeError
from embertune.recipe import Recipe

#: Takes a line of the history.
Tell = Callable[[Mapping[str, Any]], None]

#: What a run is called in the trackers that sort runs by project, where their environment names none.
PROJECT = "embertune"
#: The folder in the run folder in which event files for TensorBoard are.
EVENTS = "tensorboard"
#: Lines of the history under the host's names; below `eval_` the trackers keep what dev gives.
_OF_STEP = {"loss": "loss", "gradient_norm": "grad_norm", "masked": "masked"}
_OF_LOOK = {
    "dev_loss": "eval_loss",
    "train_loss": "loss_without_dropout",
    "error": "eval_error",
    "cosine": "eval_mean_cosine",
    "rank": "eval_effective_rank",
}


class _Arguments(SentenceTransformerTrainingArguments):  # type: ignore[misc]  # the host ships no complete types
    """The host's arguments, of which trackers are shown the recipe of the run instead."""

    recipe: Recipe

    def to_dict(self) -> dict[str, Any]:
        """The settings of the recipe by dotted path, what is no number as text."""
        sections = {"": {"seed": self.recipe.seed}, **self.recipe.model_dump(exclude={"seed", "search"})}
        return {
            f"{section}.{name}".strip("."): value if isinstance(value, int | float) else str(value)
            for section, settings in sections.items()
            for name, value in settings.items()
        }


@contextmanager
def reporting(recipe: Recipe, out: Path, model: SentenceTransformer, note: Callable[[str], None]) -> Iterator[Tell]:
    """Inside, what is told goes to the trackers of the recipe; `note` hears of one that failed on the way.

    `RecipeError` for one that cannot begin, so that this is to be entered before anything is measured. One that fails
    later is left alone from then on: it ends no run.
    """
    if not recipe.train.report_to:
        yield lambda _: None
        return
    trackers = _Trackers(recipe, out, model, note)
    try:
        yield trackers.tell
    finally:
        trackers.end()


class _Trackers:
    """The callbacks that have begun."""

    def __init__(self, recipe: Recipe, out: Path, model: SentenceTransformer, note: Callable[[str], None]) -> None:
        self.model, self.note = model, note
        self.args = _Arguments(output_dir=str(out), report_to="none", run_name=out.name, project=PROJECT)
        self.args.recipe = recipe
        self.state, self.control = TrainerState(), TrainerControl()
        self.callbacks: dict[str, Any] = {}
        self.own_wandb = False
        for name in recipe.train.report_to:
            try:
                (kind,) = get_reporting_integration_callbacks([name])
                made = kind()
                if name == "tensorboard":
                    made.logging_dir = made.logging_dir or str(out / EVENTS)
                if name == "wandb":
                    self.own_wandb = import_module("wandb").run is None
                made.on_train_begin(self.args, self.state, self.control, model=model)
            except Exception as error:
                self.end()
                found, remedy = f"{name} cannot begin: {error}", f"set it up, or leave {name} out"
                raise RecipeError(Problem("train.report_to", found, remedy)) from error
            self.callbacks[name] = made

    def tell(self, record: Mapping[str, Any]) -> None:
        """A line of the history, as numbers of its step."""
        if logs := logs_of(record):
            self.state.global_step, self.state.epoch = record["step"], record.get("epoch")
            self.call("on_log", logs={**logs, "epoch": record.get("epoch") or 0.0})

    def end(self) -> None:
        """The run is over, for all of them; the host leaves that of wandb open, which the next would write into."""
        self.call("on_train_end")
        if self.own_wandb:
            import_module("wandb").finish()

    def call(self, event: str, **more: Any) -> None:
        """Hand an event to all of them."""
        for name, callback in list(self.callbacks.items()):
            try:
                getattr(callback, event)(self.args, self.state, self.control, model=self.model, **more)
            except Exception as error:  # whatever a service does, the run goes on
                del self.callbacks[name]
                self.note(f"train.report_to: {name} failed and is told nothing more: {error}")


def logs_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of the history under the names that trackers sort by; empty where it has none."""
    signs = record.get("signs") or {}
    logs = {f"eval_{name}": value for name, value in (record.get("dev") or {}).items()}
    logs |= {name: signs.get(key) for key, name in _OF_LOOK.items()}
    logs |= {name: record.get(key) for key, name in _OF_STEP.items()}
    logs |= {f"rate/{row}": rate for row, rate in (record.get("rates") or {}).items()}
    return {name: float(value) for name, value in logs.items() if isinstance(value, int | float)}
