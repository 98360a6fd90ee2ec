"""Texts of some length, from Jinja templates beside the module that fills them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def render(template: Path, **values: Any) -> str:
    """Fill a template; a value that is not given is an error, and in ``.html`` values are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        autoescape=".html" in template.suffixes,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(**values)
