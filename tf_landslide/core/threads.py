"""Work on a few threads, its results in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")

READERS = min(4, os.cpu_count() or 1)
"""Threads that read files: enough to keep a disk busy."""


def in_order(function: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[Value]:
    """Map ``function`` over ``items`` on threads; results come in order, with only a few in flight at a time."""
    items = iter(items)
    with ThreadPoolExecutor(READERS) as pool:
        pending = [pool.submit(function, item) for item in islice(items, 2 * READERS)]
        while pending:
            yield pending.pop(0).result()
            pending.extend(pool.submit(function, item) for item in islice(items, 1))
