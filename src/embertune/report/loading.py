"""How to load the saved model, in three lines that need nothing of embertune."""

from __future__ import annotations

import json

from embertune.report.facts import Facts

#: Shapes in which one side asks and the other answers.
_SEARCH = ("pairs", "triplets", "retrieval")


def snippet(facts: Facts, model: str) -> str:
    """Python that loads `model` and embeds two texts; for shapes with two sides, a question and an answer."""
    place = json.dumps(model, ensure_ascii=False)
    first = f"from sentence_transformers import SentenceTransformer\n\nmodel = SentenceTransformer({place})\n"
    shape = next((side.shape for side in facts.sides if side.role == "train"), "")
    if shape in _SEARCH:
        embed = 'model.encode_query("a question"), model.encode_document("an answer")'
    else:
        embed = 'model.encode(["one text", "another text"])'
    return f"{first}one, other = {embed}\nprint(model.similarity(one, other))"
