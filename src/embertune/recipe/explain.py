"""Writing a recipe as YAML, every leaf in place, with the reason of a decision as a comment beside it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from embertune.recipe.sections import Recipe

#: What the writer leaves bare and the reader takes for a key: a question mark or colon that no word follows or begins.
_MARK = re.compile(r"^[?:]|[?:](?![\w\s/\\])")


def to_yaml(recipe: Recipe, reasons: Mapping[str, str], header: str = "") -> str:
    """The recipe as YAML 1.2; `reasons` maps dotted paths to comments, `header` goes on top, line by line."""
    writer = YAML()
    writer.width = 4096
    writer.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    out = io.StringIO()
    writer.dump(_commented(recipe, reasons, ""), out)
    top = "".join(f"# {_one_line(line)}".rstrip() + "\n" for line in header.splitlines())
    return top + out.getvalue()


def _commented(section: BaseModel, reasons: Mapping[str, str], prefix: str) -> CommentedMap:
    written = CommentedMap()
    for name in type(section).model_fields:
        value = getattr(section, name)
        path = prefix + name
        written[name] = _commented(value, reasons, path + ".") if isinstance(value, BaseModel) else _plain(value)
        if reason := _one_line(reasons.get(path, "")):
            written.yaml_add_eol_comment("# " + reason, name)
    return written


def _one_line(text: str) -> str:
    """What can stand in a comment: one line, without the characters that YAML does not allow."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        plain = CommentedMap((_plain(k), _plain(v)) for k, v in value.items())
        plain.fa.set_flow_style()
        return plain
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, str) and (not value.isprintable() or _MARK.search(value)):
        return DoubleQuotedScalarString(value)  # line breaks of every kind are escaped, and read back as they are
    return value
