"""The keys of a config as they stand in the docs."""

from __future__ import annotations

import json

from pydantic import BaseModel

from tf_landslide.core.tables import markdown_table
from tf_landslide.runs.sections import Config


def config_table() -> str:
    """The keys of a config as a Markdown table, for the docs."""
    rows: list[tuple[str, str, str]] = []

    def add(section: type[BaseModel], prefix: str) -> None:
        defaults = section().model_dump()
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                add(field.annotation, f"{prefix}{name}.")
            else:
                rows.append((f"`{prefix}{name}`", f"`{json.dumps(defaults[name])}`", field.description or ""))

    add(Config, "")
    return markdown_table(("key", "default", ""), rows)
