"""The one exception a user's mistake raises, the one warning, and how an unknown name is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")
_LONGEST = 300  # characters of another library's message


class LandslideError(Exception):
    """Bad input or usage, told in one line: which file, what was found, what was expected, what to do.

    The command line prints it as ``error: …`` and exits with status 2; a caller of the Python API catches it.
    What is not to be printed is escaped: a stranger's file may put names into it that end lines or steer a terminal.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))


def printable(text: str) -> str:
    """A text with every character that is not to be printed as Python's escape of it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LandslideWarning(UserWarning):
    """What a user should know and may go on with; the command line prints it as ``warning: …``."""


def warn(text: str) -> None:
    """Say what a user should know, once."""
    warnings.warn(printable(text), LandslideWarning, stacklevel=2)


def first_line(error: BaseException) -> str:
    """What another library's exception says, on one line of a bounded length: some quote a file at large."""
    said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def lookup(table: Mapping[str, Value], name: str, what: str) -> Value:
    """The entry of a table. Raises ``LandslideError`` for an unknown name, with the nearest known one."""
    require_known(name, table, what)
    return table[name]


def require_known(name: str, known: Iterable[str], what: str) -> None:
    """Raise ``LandslideError`` unless ``name`` is one of the known names."""
    known = list(known)
    if name not in known:
        raise LandslideError(unknown(name, known, what))


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """One line refusing ``name``, with the nearest known name where one is close, else all of them."""
    known = sorted(known)
    close = get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    return f"unknown {what} {name!r}; {hint}"
