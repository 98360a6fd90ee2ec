"""One progress bar: on a terminal only, and only on work that lasts."""

import sys
from collections.abc import Iterable, Iterator


def progress(items: Iterable, *, total: int | None = None, label: str = "", unit: str = "patch") -> Iterator:
    """Iterate with a bar on standard error, shown after two seconds; silent where that is not a terminal."""
    from tqdm import tqdm

    return iter(tqdm(items, total=total, desc=label, unit=unit, delay=2, leave=False, disable=not sys.stderr.isatty()))
