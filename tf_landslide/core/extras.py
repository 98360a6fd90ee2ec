"""Packages that only some need: the extras of pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from tf_landslide.core.errors import LandslideError


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import what an extra brings; raise ``LandslideError`` with what to install where a package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing(str(error.name), name) from None


def require(package: str, name: str) -> None:
    """Raise ``LandslideError``, with what to install, where a package of an extra is missing; imports nothing."""
    if find_spec(package) is None:
        raise _missing(package, name)


def _missing(package: str, name: str) -> LandslideError:
    return LandslideError(f"{package} is not installed: pip install 'tf-landslide[{name}]'")
