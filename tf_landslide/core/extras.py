"""Packages that only some need: the extras of pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tf_landslide.core.errors import LandslideError


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import what an extra brings; raise ``LandslideError`` with what to install where a package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise LandslideError(f"{error.name} is not installed: pip install 'tf-landslide[{name}]'") from None
