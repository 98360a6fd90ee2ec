"""Names: told apart, and shown as they are."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import PurePath

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def literal(text: str) -> str:
    """Text as Markdown that shows it letter for letter: no emphasis, link, picture or tag that it might spell.

    What comes from outside (file names, what files hold, what another program says) goes through here. CommonMark takes
    a backslash before any ASCII punctuation.
    """
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def distinct(name: str, taken: Container[str]) -> str:
    """The name, or where it is taken the first free one of ``NAME_2``, ``NAME_3`` …; a suffix stays at the end.

    Args:
        name: of a file or model.
        taken: casefolded names: files that differ in case alone are one file on many disks.
    """
    path, found, number = PurePath(name), name, 2
    while found.casefold() in taken:
        found, number = f"{path.stem}_{number}{path.suffix}", number + 1
    return found


def listed(names: list[str], most: int = 3) -> str:
    """Names in words: ``a, b, c and 4 more``."""
    shown, rest = names[:most], len(names) - most
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
