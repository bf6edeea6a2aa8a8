"""Writing a recipe as YAML, every leaf in place, with the reason of a decision as a comment beside it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from embertune.recipe.sections import Recipe


def to_yaml(recipe: Recipe, reasons: Mapping[str, str], header: str = "") -> str:
    """The recipe as YAML 1.2; `reasons` maps dotted paths to comments, `header` goes on top, line by line."""
    writer = YAML()
    writer.width = 4096
    writer.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    out = io.StringIO()
    writer.dump(_commented(recipe, reasons, ""), out)
    top = "".join(f"# {line}\n" if line else "#\n" for line in header.splitlines())
    return top + out.getvalue()


def _commented(section: BaseModel, reasons: Mapping[str, str], prefix: str) -> CommentedMap:
    written = CommentedMap()
    for name in type(section).model_fields:
        value = getattr(section, name)
        path = prefix + name
        written[name] = _commented(value, reasons, path + ".") if isinstance(value, BaseModel) else _plain(value)
        if path in reasons:
            written.yaml_add_eol_comment(" ".join(reasons[path].split()), name)
    return written


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        plain = CommentedMap((k, _plain(v)) for k, v in value.items())
        plain.fa.set_flow_style()
        return plain
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
