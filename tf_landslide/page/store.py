"""What the page remembers between clicks and over a reload: results by a key that only their browser knows."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tf_landslide.page.analysis import Analysis

EACH = 2**29  # bytes of uploads and results that one run may keep
ALL = 2**31  # bytes of all that are kept
SECONDS = 3600.0  # that results are kept after they were last looked at


@dataclass
class _Kept:
    analysis: Analysis
    nbytes: int
    looked_at: float


class Store:
    """Analyses by key, bounded in bytes and in time; the least recently seen go first.

    Args:
        each: bytes that one analysis may have; who reads uploads stops there.
        all_: bytes of all of them together.
        seconds: that an analysis is kept after it was last asked for.
        clock: tells the time in seconds.
    """

    def __init__(
        self, each: int = EACH, all_: int = ALL, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ):
        self.each, self._all, self._seconds, self._clock = each, all_, seconds, clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, analysis: Analysis, instead_of: str | None = None) -> str:
        """Keep an analysis; the one that it replaces is forgotten. Returns its key."""
        key = secrets.token_urlsafe(18)
        with self._lock:
            self._kept.pop(instead_of or "", None)
            self._kept[key] = _Kept(analysis, analysis.nbytes, self._clock())
            self._sweep()
        return key

    def get(self, key: str | None) -> Analysis | None:
        """An analysis, or None where it is not kept (any longer)."""
        with self._lock:
            self._sweep()
            kept = self._kept.get(key or "")
            if kept is None:
                return None
            kept.looked_at, kept.nbytes = self._clock(), kept.analysis.nbytes  # refining adds to it
            self._kept.move_to_end(key or "")
            return kept.analysis

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(kept.nbytes for kept in self._kept.values())

    def _sweep(self) -> None:
        oldest = self._clock() - self._seconds
        while self._kept:
            key, kept = next(iter(self._kept.items()))
            if kept.looked_at >= oldest and (self.nbytes <= self._all or len(self._kept) == 1):
                return
            del self._kept[key]
