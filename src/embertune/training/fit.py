"""Training a model in place: the phases of its course one after the other, and its best state at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sentence_transformers import SentenceTransformer
from torch import Tensor

from embertune.data.prepared import Note, Prepared
from embertune.model.freezing import find_frozen
from embertune.model.layers import find_layers
from embertune.recipe import Recipe
from embertune.training.checkpoint import Found
from embertune.training.course import Course, plan_course
from embertune.training.diagnosis import Diagnosis
from embertune.training.finite import refuse
from embertune.training.looking import Dev
from embertune.training.masked import masked_note
from embertune.training.remedies import Remedy
from embertune.training.session import Session, Surroundings
from embertune.training.survival import gone_on
from embertune.watch import LayerLine


@dataclass(frozen=True)
class Fit:
    """What training gives back. The model passed in holds the best state on dev, or the last one without dev.

    `best_step` is 0 where nothing beat the model as it came; `notes` tell of what was masked and what was skipped,
    `layers` of what was trained. `diagnosis` is that of the last look. `skipped` steps changed nothing, because
    something in them was not finite. `dev` is what the best look said, `average` the mean of the states that were the
    best at their time, None for fewer than two.
    """

    steps: int
    best_step: int
    stopped: str
    seconds: float
    notes: tuple[Note, ...] = ()
    layers: tuple[LayerLine, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    diagnosis: Diagnosis | None = None
    skipped: int = 0
    dev: Dev | None = None
    average: Mapping[str, Tensor] | None = None


def fit(
    model: SentenceTransformer, train: Prepared, recipe: Recipe, around: Surroundings, course: Course | None = None
) -> Fit:
    """Train `model` in place by the resolved `recipe`, and leave it in its best state on dev.

    `course` is what `plan_course` says, where it was asked already. All that is drawn is by `recipe.training_seed`.
    Raises `TrainingError` for a model whose weights are not finite.
    """
    course = course or plan_course(train, recipe, find_frozen(find_layers(model), recipe.train.freeze))
    found = around.checkpoints.newest() if around.checkpoints else Found(None)
    with gone_on(around.history, found, around.watch) as history:
        session = Session(model, train, recipe, course, around, history)
        around.watch.layers(session.layers.lines())
        if not session.survival.resume(found):
            session.look(0)
        started = time.perf_counter()
        for phase in course.phases:
            session.run(phase)
        session.survival.finish()
        session.treatment.finish()
        seconds = time.perf_counter() - started
    best = session.looking.stopping.best
    if best:
        session.keeper.give(model)
    else:
        session.layers.settle()
        refuse(session.layers.parameters, "after training", "lower train.learning_rate, and give data.dev")
    model.eval()
    notes = (*masked_note(session.masked, session.negatives), *session.treatment.notes())
    layers, treatment = session.layers.lines(done=True), session.treatment
    told = (notes, layers, tuple(treatment.remedies), session.looking.diagnosis, treatment.skips.total)
    kept = (session.looking.best_dev, session.keeper.average.tensors if session.keeper.average else None)
    step = best.step if best else session.done
    return Fit(session.done, step, session.stopped, seconds, *told, *kept)
