"""`pack(model)`: the fastest path that gives what the plain one gives, on any Sentence Transformer, in place."""

from __future__ import annotations

import logging
import warnings

from sentence_transformers import SentenceTransformer

from embertune.engine.parity import SAMPLE, check
from embertune.engine.paths import attach, detach, open_paths, path_of, why_not
from embertune.errors import EmbertuneError

_log = logging.getLogger(__name__)


def pack(model: SentenceTransformer) -> SentenceTransformer:
    """Make `model` padding-free in `encode` and in any trainer, in place, and return it.

    Vectors, losses and gradients stay what they were, and saving writes a plain model. Each path is checked against
    the plain one on a few texts; where one fails, the next slower is taken, with a warning that says so.
    """
    if path_of(model) is None:
        for note in choose_path(model):
            warnings.warn(note, stacklevel=2)
    return model


def unpack(model: SentenceTransformer) -> SentenceTransformer:
    """Undo `pack`, in place, and return the model; one that is not packed stays as it is."""
    detach(model)
    return model


def choose_path(model: SentenceTransformer) -> list[str]:
    """Switch on the fastest path that passes its check, in place; notes say which were passed over, and why."""
    if reason := why_not(model):
        return [f"runs with padding: {reason}"]
    notes = []
    for path in open_paths(model):
        attach(model, path)
        try:
            found = check(model, SAMPLE if path.name == "packed" else 2 * SAMPLE)  # enough for more than one bucket
        except (EmbertuneError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            _log.debug("path %s", path.name, exc_info=True)
            notes.append(f"not {path.name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            continue
        if found.passed:
            return notes
        notes.append(
            f"not {path.name}: differs from the plain path (loss {found.loss:.1e}, gradient of {found.worst} "
            f"{found.gradients:.1f} times the bound)"
        )
    detach(model)
    return [*notes, "runs with padding"]
