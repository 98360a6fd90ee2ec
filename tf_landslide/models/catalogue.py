"""What ``tf-landslide models`` lists, read from a committed table, so that it answers without TensorFlow.

``python -m tf_landslide.jobs.catalogue`` writes the table anew from the built models; a test holds the two together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tf_landslide.core.tables import markdown_table

TABLE = Path(__file__).parent / "catalogue.json"
Catalogue = dict[str, list[dict[str, Any]]]


def load_catalogue() -> Catalogue:
    """The table: ``models``, ``architectures`` and ``encoders``, each a list of rows."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def catalogue_markdown(catalogue: Catalogue) -> str:
    """The table as Markdown."""
    return "\n\n".join(f"## {title}\n\n{_section(rows)}" for title, rows in catalogue.items())


def _section(rows: list[dict[str, Any]]) -> str:
    keys = list(rows[0])
    return markdown_table([key.replace("_", " ") for key in keys], [[_cell(row[key]) for key in keys] for row in rows])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
