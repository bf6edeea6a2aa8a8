"""Which prompt goes before a text of which role, and how a saved model comes to know it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from sentence_transformers import SentenceTransformer

from embertune.errors import ModelError

#: The roles a text can have, by the side of a search that they stand on. `negative_2`, `negative_3` … are negatives.
QUERIES = ("anchor",)
DOCUMENTS = ("positive", "negative")
SYMMETRIC = ("sentence1", "sentence2", "premise", "hypothesis", "text")
ROLES = (*QUERIES, *DOCUMENTS, *SYMMETRIC)

#: The names under which published models keep the prompts of the two sides.
_QUERY_NAMES = ("query",)
_DOCUMENT_NAMES = ("document", "passage", "corpus")

#: `auto` is the model's own, `none` (in Python also None) is no prompt, a mapping goes from role to text.
Prompts = Literal["auto", "none"] | Mapping[str, str] | None

_NUMBERED = re.compile(r"^negative_\d+$")


def role_of(column: str) -> str:
    """The role of the texts of a column: its name, without the number of a further negative."""
    return "negative" if _NUMBERED.match(column) else column


def prompt_of(role_prompts: Mapping[str, str], role: str) -> str:
    """The prompt for a text of `role`, "" for none; all negatives share one."""
    return role_prompts.get(role_of(role), "")


def column_prompts(role_prompts: Mapping[str, str], columns: Iterable[str]) -> dict[str, str]:
    """Column to prompt, for columns that have one."""
    found = {column: prompt_of(role_prompts, column) for column in columns}
    return {column: prompt for column, prompt in found.items() if prompt}


def role_prompts(model: SentenceTransformer, prompts: Prompts) -> dict[str, str]:
    """The prompt of every role that has one; nothing is changed in `model`. Raises ModelError for a role unknown."""
    if isinstance(prompts, Mapping):
        return _given(prompts)
    return _own(model) if prompts == "auto" else {}


def _own(model: SentenceTransformer) -> dict[str, str]:
    default = model.prompts.get(model.default_prompt_name, "") if model.default_prompt_name else ""
    query = _first(model.prompts, _QUERY_NAMES)
    document = _first(model.prompts, _DOCUMENT_NAMES)
    if not query and not document:
        query = document = default
    sides = {QUERIES: query, DOCUMENTS: document, SYMMETRIC: default}
    return {role: prompt for roles, prompt in sides.items() for role in roles if prompt}


def _first(prompts: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _given(prompts: Mapping[str, str]) -> dict[str, str]:
    unknown = [role for role in prompts if role not in ROLES and not _NUMBERED.match(role)]
    if unknown:
        found = f"no text has the role {unknown[0]!r}"
        raise ModelError("model.prompts", found, "the roles are " + ", ".join(ROLES))
    numbered = [role for role in prompts if _NUMBERED.match(role)]
    if numbered:
        raise ModelError("model.prompts", f"{numbered[0]!r} has no prompt of its own", "write it for `negative`")
    given = dict(prompts)
    if "positive" in given:
        given.setdefault("negative", given["positive"])  # both are documents
    return {role: prompt for role, prompt in given.items() if prompt}


def install(model: SentenceTransformer, prompts: Prompts, by_role: Mapping[str, str]) -> None:
    """Change `model.prompts`, which is saved with the model, so that the host applies what `by_role` says.

    `encode_query` and `encode_document` read "query" and "document"; `encode(prompt_name=role)` reads the role. What
    else the model names stays under `auto`; otherwise its own prompts and its default give way.
    """
    kept = dict(model.prompts) if prompts == "auto" else {}
    sides = {"query": prompt_of(by_role, "anchor"), "document": prompt_of(by_role, "positive")}
    model.prompts = kept | sides | {role: prompt_of(by_role, role) for role in ROLES}
    if prompts != "auto":
        model.default_prompt_name = _default(by_role)


def _default(by_role: Mapping[str, str]) -> str | None:
    """A role whose prompt plain `encode` may use: only where every text of the task has the same one."""
    for roles in (("text",), ("sentence1", "sentence2"), ("premise", "hypothesis")):
        if set(by_role) == set(roles) and len(set(by_role.values())) == 1:
            return roles[0]
    return None
