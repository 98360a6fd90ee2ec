"""One progress bar: on a terminal only, and only on work that lasts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(
    items: Iterable[Item], *, total: int | None = None, label: str = "", unit: str = "patch"
) -> Iterator[Item]:
    """Iterate with a bar on standard error, shown after two seconds; silent where that is not a terminal."""
    return iter(tqdm(items, total=total, desc=label, unit=unit, delay=2, leave=False, disable=not sys.stderr.isatty()))
