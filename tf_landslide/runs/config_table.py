"""The keys of a config as they stand in the docs."""

from __future__ import annotations

import json
from typing import get_args

from pydantic import BaseModel

from tf_landslide.core.tables import markdown_table
from tf_landslide.runs.sections import Config

Row = tuple[str, str, str]


def config_table() -> str:
    """The keys of a config as a Markdown table, for the docs."""
    return markdown_table(("key", "default", ""), _rows(Config, ""))


def _rows(section: type[BaseModel], prefix: str, of: str = "") -> list[Row]:
    defaults = section.model_construct().model_dump()
    rows: list[Row] = []
    for name, field in section.model_fields.items():
        kinds = [kind for kind in get_args(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += _rows(field.annotation, f"{prefix}{name}.")
        elif kinds:  # a union, told apart by name
            rows += _rows_of_kinds(kinds, defaults[name]["name"], f"{prefix}{name}.")
        elif not (of and name == "name"):
            default = "" if field.is_required() else f"`{json.dumps(defaults[name])}`"
            rows.append((f"`{prefix}{name}`{of}", default, field.description or ""))
    return rows


def _rows_of_kinds(kinds: list[type[BaseModel]], default: str, prefix: str) -> list[Row]:
    """A row of the name, and one for each setting of each kind."""
    names = [kind.model_fields["name"].default for kind in kinds]
    rows: list[Row] = [(f"`{prefix}name`", f"`{json.dumps(default)}`", ", ".join(names))]
    for name, kind in zip(names, kinds, strict=True):
        rows += _rows(kind, prefix, f" of {name}")
    return rows
