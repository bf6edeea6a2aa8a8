"""`embertune audit`: what is found in some data, without training and without a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embertune.data.audit import audit_record
from embertune.data.findings import Finding
from embertune.data.keyed import named
from embertune.data.prepare import Given, prepare
from embertune.data.prepared import Note
from embertune.data.shapes import describe
from embertune.errors import ModelError
from embertune.evaluate.scene import arrange
from embertune.examine import examine
from embertune.model.build import Built
from embertune.model.load import load
from embertune.model.tokens import open_tokens
from embertune.plan import facts_of
from embertune.recipe import Recipe, replace
from embertune.recipe.guidance import decide
from embertune.rundir import AUDIT, told_plainly, write_json
from embertune.tokenise import texts_of, tokenise
from embertune.watch import Silent, Watcher


@dataclass(frozen=True)
class Audited:
    """What the audit of some data found; `sides` are rows by side, `examples` says whether texts may be shown."""

    shape: str
    sides: Mapping[str, int]
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    examples: bool

    def as_record(self) -> dict[str, Any]:
        """What audit.json and `--json` hold."""
        record = audit_record(self.notes, self.findings, examples=self.examples)
        return {"shape": self.shape, "rows": dict(self.sides), **record}


def audit_data(recipe: Recipe, given: Given | None = None, watch: Watcher | None = None) -> Audited:
    """Read, shape and split the data as a run of the recipe would, and look at every side.

    Lengths are in the tokens of the recipe's model; in words where the recipe names none and the default is not there.
    """
    watch = watch or Silent()
    watch.stage("data", str(recipe.data.train or "handed over"))
    data = prepare(recipe, given)
    sizes = {name: len(prepared) for name, prepared in named(data.sides)}
    watch.rows(data.origin, sizes, describe(data.sides.train) if recipe.report.examples else ())
    built = _model(recipe, watch)
    scene = arrange(data.sides, recipe.evaluate.similarity)
    resolved = decide(replace(recipe, dict(data.settings)), facts_of(data, scene)).recipe
    store = None
    if built is not None:
        store = open_tokens(built.model)
        tokenise(store, texts_of(data.sides.train, scene, built.role_prompts), watch)
    found = examine(data.sides, resolved, built, store, watch)
    return Audited(data.origin, sizes, found, data.notes, recipe.report.examples)


def _model(recipe: Recipe, watch: Watcher) -> Built | None:
    """The model whose tokens count; None where nobody named one and the default is not there."""
    watch.stage("model", str(recipe.model.name))
    try:
        return load(recipe.model, None)
    except ModelError as error:
        if "name" in recipe.model.model_fields_set:
            raise
        watch.note(f"lengths are in words, for the default model is not there ({error})")
        return None


def keep_audit(audited: Audited, out: Path) -> Path:
    """Write audit.json into a folder, which is made; what else is there stays."""
    with told_plainly(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(out / AUDIT, audited.as_record())
    return out / AUDIT
