"""The README.md of the saved model, with the metadata that the Hub reads; no text of the data is ever in it."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from embertune.report.facts import Facts
from embertune.report.loading import snippet
from embertune.report.markdown import retention_table, table
from embertune.report.markdown_seen import figures_seen
from embertune.report.results import BEFORE, Group, groups
from embertune.report.shown import begun, code, fenced, prose, visible

#: What stands in the snippet of the card for the model: a reader has it somewhere else than the run had.
PLACE = "path/to/this/model"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LONGEST_ID = 96
_DIGITS = 6

#: Shape to the Hub's task type and its name, as the sentence-transformers evaluators give them.
_TASKS = {
    "triplets": ("triplet", "Triplet"),
    "nli": ("triplet", "Triplet"),
    "pairs": ("information-retrieval", "Information Retrieval"),
    "retrieval": ("information-retrieval", "Information Retrieval"),
    "scored": ("semantic-similarity", "Semantic Similarity"),
    "labelled": ("binary-classification", "Binary Classification"),
    "classes": ("nearest-neighbour-classification", "Nearest Neighbour Classification"),
}


def to_card(facts: Facts) -> str:
    """The model card. Its metrics are those of the model that is saved: of the base, where that was chosen."""
    found = groups(facts)
    parts = [
        f"---\n{_yaml(metadata(facts))}---",
        f"# {prose(_name(facts))}",
        f"A [sentence-transformers](https://www.sbert.net) model{_origin(facts)}. It maps texts to vectors, so that "
        "what belongs together lies close together.",
        "## Usage",
        fenced(snippet(facts, PLACE), "python"),
        "## Evaluation",
        f"{prose(begun(facts.proof.sentence))}.",
    ]
    if found:
        parts.append(table(found))
        if facts.choice.chosen == "base":
            parts.append("Both columns are the same model: the one that came.")
    parts += figures_seen(facts.seen)
    if facts.proof.retention:
        parts += ["### What it could do before", BEFORE, retention_table(facts.proof.retention)]
    parts += ["## Training", "\n".join(_training(facts))]
    return "\n\n".join(parts) + "\n"


def metadata(facts: Facts) -> dict[str, Any]:
    """The front matter, as the Hub's model card specification has it."""
    found: dict[str, Any] = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "feature-extraction", "embertune"],
    }
    if is_hub_id(facts.base_model):
        found["base_model"] = facts.base_model
    if facts.datasets:
        found["datasets"] = list(facts.datasets)
    results = [result for group in groups(facts) if (result := _result(facts, group))["metrics"]]
    if results:
        found["model-index"] = [{"name": _name(facts), "results": results}]
    return found


def is_hub_id(name: str) -> bool:
    """Whether a name looks like `owner/model` and is no folder here."""
    return len(name) <= _LONGEST_ID and bool(_HUB_ID.fullmatch(name)) and not Path(name).exists()


def _result(facts: Facts, group: Group) -> dict[str, Any]:
    shape = next((side.shape for side in facts.sides if side.role == "test" and side.name == group.name), "")
    kind, task = _TASKS.get(shape, ("feature-extraction", "Feature Extraction"))
    rows = (*group.main, *group.further)
    values = ((row, row.baseline if facts.choice.chosen == "base" else row.tuned) for row in rows)
    return {
        "task": {"type": kind, "name": task},
        "dataset": {"name": visible(group.name), "type": "unknown"},
        "metrics": [
            {"type": visible(row.label), "value": round(value, _DIGITS), "name": _title(row.label)}
            for row, value in values
            if math.isfinite(value)
        ],
    }


def _name(facts: Facts) -> str:
    return " ".join(visible(facts.title).split()) or "model"


def _title(metric: str) -> str:
    """`cosine_accuracy@1` as `Cosine Accuracy@1`."""
    return " ".join(word[:1].upper() + word[1:] for word in visible(metric).split("_"))


def _origin(facts: Facts) -> str:
    """Where the model comes from; of a local folder only the last name, the rest is nobody's business."""
    if is_hub_id(facts.base_model):
        base = f"[{facts.base_model}](https://huggingface.co/{facts.base_model})"
    else:
        base = code(Path(facts.base_model).name or "a local model")
    if facts.choice.chosen == "base":
        return f": {base}, unchanged, since training did not make it better"
    return f" fine-tuned from {base} with embertune"


def _training(facts: Facts) -> list[str]:
    lines = [f"- {side.role}: {code(side.name)}, {side.shape}, {side.rows:,} rows" for side in facts.sides]
    return [*lines, f"- steps: {facts.steps:,}", f"- choice: {prose(facts.choice.reason)}"]


def _yaml(record: dict[str, Any]) -> str:
    writer = YAML()
    writer.width = 4096
    writer.default_flow_style = False
    out = io.StringIO()
    writer.dump(record, out)
    return out.getvalue()
