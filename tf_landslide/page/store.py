"""What the page remembers between clicks and over a reload: results by a key that only their browser knows."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from tf_landslide.page.analysis import Analysis

EACH = 2**29  # bytes of uploads and results that one run may keep
ALL = 2**31  # bytes of all that are kept
SECONDS = 3600.0  # that results are kept after they were last looked at
REPLACED = 300.0  # seconds for the results that a new run replaces: another tab of the browser may show them still
SPARE = 2**26  # bytes of all that are replaced


@dataclass(frozen=True)
class _Kept:
    analysis: Analysis
    nbytes: int
    looked_at: float


class Store:
    """Analyses by key, bounded in bytes and in time; replaced ones go first, then the least recently seen.

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
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the least recently seen first
        self._replaced: OrderedDict[str, _Kept] = OrderedDict()  # by others, in that order
        self._lock = threading.Lock()

    def put(self, analysis: Analysis, instead_of: str | None = None) -> str:
        """Keep an analysis. Returns its key.

        The one that it replaces is forgotten after ``REPLACED`` seconds, or sooner for others that are, unless it is
        asked for until then: tabs of a browser share a key, and one that was not told of the new run asks by the old
        one.
        """
        key = secrets.token_urlsafe(18)
        with self._lock:
            now = self._clock()
            if old := self._kept.pop(instead_of or "", None):
                self._replaced[instead_of or ""] = replace(old, looked_at=now)
            self._kept[key] = _Kept(analysis, analysis.nbytes, now)
            self._sweep(now)
        return key

    def get(self, key: str | None) -> Analysis | None:
        """An analysis, or None where it is not kept (any longer)."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            kept = self._kept.pop(key or "", None) or self._replaced.pop(key or "", None)
            if kept is None:
                return None
            self._kept[key or ""] = _Kept(kept.analysis, kept.analysis.nbytes, now)  # refining adds to it
            return kept.analysis

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return _bytes(self._kept) + _bytes(self._replaced)

    def _sweep(self, now: float) -> None:
        for table, seconds in ((self._kept, self._seconds), (self._replaced, REPLACED)):
            while table and now - next(iter(table.values())).looked_at > seconds:
                table.popitem(last=False)
        while self._replaced and (_bytes(self._replaced) > SPARE or self.nbytes > self._all):
            self._replaced.popitem(last=False)
        while len(self._kept) > 1 and self.nbytes > self._all:
            self._kept.popitem(last=False)


def _bytes(table: OrderedDict[str, _Kept]) -> int:
    return sum(kept.nbytes for kept in table.values())
