"""Work on a few threads, its results in order; and memory that many threads share."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")

_M_ARENA_MAX = -8  # malloc.h
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


def share_heaps(heaps: int = 2) -> None:
    """Have all threads that are started from now on allocate from a few heaps, with GNU's C library; elsewhere nothing.

    It gives threads up to eight heaps a core, and what one of them frees there stays with the process: where many short
    tasks wander over many threads, as on the page, its memory grows for hours though nothing is kept. Must be called
    before threads are started. ``MALLOC_ARENA_MAX`` in the environment goes first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, heaps)
